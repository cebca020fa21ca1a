"""HTML from templates, and the page's own files. Everything that a user, a query or a row says is escaped here.

The policy in `CONTENT_SECURITY_POLICY` allows no inline script and no inline style, so a text that slipped through
would still not run. Templates and assets are read as resources of the package, once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable

import jinja2
import msgspec

from headrace.dashboards.definition import Dashboards
from headrace.dashboards.page import Lag, Page
from headrace.dashboards.tile_view import TileView
from headrace.dashboards.time_range import CHOICES, link
from headrace.errors import Error

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
)

_MEDIA_TYPES = {
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file of the page. `version` changes with its contents, so that a browser may keep it for ever."""

    data: bytes
    media_type: str
    version: str


class Renderer:
    """The templates and assets of all pages, held in memory."""

    def __init__(self) -> None:
        package = files("headrace.dashboards")
        self.assets = dict(_assets(package / "assets"))
        templates = {entry.name: entry.read_text("utf-8") for entry in (package / "templates").iterdir()}
        self._environment = jinja2.Environment(
            loader=jinja2.DictLoader(templates),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals["asset"] = self._asset_url
        self._environment.globals["choices"] = CHOICES
        self._tile = self._environment.get_template("tile_answer.html")

    def page(
        self,
        page: Page,
        views: list[TileView],
        lag: Lag | None,
        *,
        dashboards: Dashboards,
        has_time: bool,
        now: datetime,
    ) -> str:
        """A whole page, complete without JavaScript."""
        since, until = page.time_range.ends(now)
        return self._environment.get_template("page.html").render(
            page=page,
            dashboard=page.dashboard,
            pages=list(dashboards),
            tiles=list(zip(page.tiles, views, strict=True)),
            lag=lag,
            now=now,
            has_time=has_time,
            since=since,
            until=until,
            range_link=lambda choice: link(page.values, range=choice),
            live_href=f"/dashboards/{page.dashboard.name}/live{_query(page)}",
        )

    def tile(self, view: TileView) -> str:
        """The part of a tile that changes with its answer."""
        return self._tile.render(view=view, tile=view.tile)

    def index(self, dashboards: Dashboards) -> str:
        """The list of pages, or how to write the first one."""
        return self._environment.get_template("index.html").render(pages=list(dashboards), dashboard=None)

    def error(self, error: Error, dashboards: Dashboards) -> str:
        """A page that says what went wrong and what to do."""
        return self._environment.get_template("error.html").render(
            pages=list(dashboards), dashboard=None, error=error.as_dict()
        )

    def _asset_url(self, path: str) -> str:
        return f"/assets/{path}?v={self.assets[path].version}"


def tile_event(html: str, view: TileView) -> bytes:
    """The data of a `tile` event."""
    return msgspec.json.encode({"id": view.id, "state": view.state, "html": html})


def _query(page: Page) -> str:
    if page.time_range.relative is not None:
        return link(page.values, range=page.time_range.relative)
    return link(page.values, **{"from": page.time_range.since, "to": page.time_range.until})


def _assets(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, Asset]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _assets(entry, f"{prefix}{entry.name}/")
        elif (suffix := entry.name.rsplit(".", 1)[-1]) in _MEDIA_TYPES:
            data = entry.read_bytes()
            yield f"{prefix}{entry.name}", Asset(data, _MEDIA_TYPES[suffix], sha256(data).hexdigest()[:12])
