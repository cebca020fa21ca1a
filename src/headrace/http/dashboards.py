"""Dashboards over HTTP: the pages, the live feed of each, and their files. HTML for people; the API is elsewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from litestar import MediaType, Request, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response import Redirect, Stream

from headrace.dashboards.definition import Dashboards
from headrace.dashboards.page import Lag, Page, first_views, lag_as_json, read_lag, updates
from headrace.dashboards.render import CONTENT_SECURITY_POLICY, Renderer, tile_event
from headrace.errors import Error, Unknown
from headrace.http.queries import EVENT_STREAM, SSE_HEADERS, sent_values
from headrace.queries.catalog import Catalog
from headrace.queries.execute import Executor
from headrace.queries.live import LiveClients, server_sent_event

PAGE_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def dashboard_routes(
    *, dashboards: Dashboards, catalog: Catalog, executor: Executor, clients: LiveClients
) -> list[HTTPRouteHandler]:
    """Every route of the pages. `clients` is the one given to `query_routes`: all feeds count together."""
    renderer = Renderer()
    return [
        _home_route(dashboards),
        _index_route(dashboards, renderer),
        _page_route(dashboards, catalog, executor, renderer),
        _live_route(dashboards, catalog, executor, clients, renderer),
        _asset_route(renderer),
    ]


def _home_route(dashboards: Dashboards) -> HTTPRouteHandler:
    first = next((f"/dashboards/{page.name}" for page in dashboards), "/dashboards")

    @get("/", include_in_schema=False, sync_to_thread=False)
    def home() -> Redirect:
        return Redirect(first)

    return home


def _index_route(dashboards: Dashboards, renderer: Renderer) -> HTTPRouteHandler:
    @get("/dashboards", include_in_schema=False, sync_to_thread=False)
    def index() -> Response[str]:
        return _html(renderer.index(dashboards))

    return index


def _page_route(dashboards: Dashboards, catalog: Catalog, executor: Executor, renderer: Renderer) -> HTTPRouteHandler:
    @get("/dashboards/{name:str}", include_in_schema=False)
    async def page(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[str]:
        now = datetime.now(UTC)
        try:
            dashboard = dashboards.get(name)
            shown = Page.of(dashboard, catalog, sent_values(request), now)
        except Error as error:
            return _html(renderer.error(error, dashboards), status_code=error.http_status)
        lag = await read_lag(executor)
        views = await first_views(shown, executor)
        has_time = dashboard.has_time(catalog)
        return _html(renderer.page(shown, views, lag, dashboards=dashboards, has_time=has_time, now=now))

    return page


def _live_route(
    dashboards: Dashboards, catalog: Catalog, executor: Executor, clients: LiveClients, renderer: Renderer
) -> HTTPRouteHandler:
    @get("/dashboards/{name:str}/live", include_in_schema=False)
    async def live(request: Request[Any, Any, Any], name: FromPath[str]) -> Stream:
        page = Page.of(dashboards.get(name), catalog, sent_values(request), datetime.now(UTC))
        clients.require_room()
        return Stream(_feed(page, executor, clients, renderer), media_type=EVENT_STREAM, headers=SSE_HEADERS)

    return live


async def _feed(page: Page, executor: Executor, clients: LiveClients, renderer: Renderer) -> AsyncIterator[bytes]:
    async for update in updates(page, executor, clients):
        if isinstance(update, bytes):
            yield update
        elif isinstance(update, Lag):
            yield server_sent_event("lag", lag_as_json(update))
        else:
            yield server_sent_event("tile", tile_event(renderer.tile(update), update))


def _asset_route(renderer: Renderer) -> HTTPRouteHandler:
    @get("/assets/{path:path}", include_in_schema=False, sync_to_thread=False)
    def asset(request: Request[Any, Any, Any], path: FromPath[str]) -> Response[bytes]:
        found = renderer.assets.get(path.lstrip("/"))
        if found is None:
            raise Unknown("There is no such file.", f"/assets{path[:100]}")
        current = request.query_params.get("v") == found.version
        headers = {
            "Cache-Control": "public, max-age=31536000, immutable" if current else "no-cache",
            "X-Content-Type-Options": "nosniff",
        }
        return Response(found.data, media_type=found.media_type, headers=headers)

    return asset


def _html(text: str, *, status_code: int = 200) -> Response[str]:
    return Response(text, media_type=MediaType.HTML, status_code=status_code, headers=PAGE_HEADERS)
