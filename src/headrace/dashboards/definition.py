"""The definition of a page: `dashboards/<name>.toml`, read and checked against the catalog, once, at the start.

    title = "Wellness"
    range = "1y"

    [[parameters]]
    name = "user_id"
    label = "User"

    [[tiles]]
    title = "Distance run per month"
    query = "distance_run_per_month"
    kind = "bar"
    x = "month"
    y = "km"
    unit = "km"
    width = 6

Nothing here knows HTML. What a file may say is what the structs below say, no more.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import msgspec
from msgspec import Meta

from headrace.dashboards.time_range import RANGE_PATTERN, TIME_PARAMETERS
from headrace.errors import Error, InvalidConfiguration, InvalidInput, Unavailable, Unknown
from headrace.queries.catalog import RESERVED, Catalog, Query
from headrace.queries.execute import Executor
from headrace.queries.parameters import Values

COLUMNS = 12

Kind = Literal["number", "line", "bar", "table"]
Text = Annotated[str, Meta(max_length=500)]
Fixed = str | int | float | bool


class PageParameter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A field of the page's form. Every query of the page that has a parameter of this name gets its value."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z_]\w{0,62}$")]
    label: Text = ""
    default: str = ""
    placeholder: Text = ""


class Tile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One answer and how it is shown. `x`, `y`, `series` name columns of the answer; `width` counts twelfths.

    number: the last row's `y`, over a small line of all rows when there are several. line, bar: `y` over `x`, one line
    or bar for each value of `series`, or for each of several `y`. table: all columns, or those of `y`.
    """

    title: Annotated[str, Meta(min_length=1, max_length=120)]
    query: str
    kind: Kind
    description: Text = ""
    x: str | None = None
    y: str | list[str] | None = None
    series: str | None = None
    unit: Annotated[str, Meta(max_length=20)] = ""
    params: dict[str, Fixed | list[Fixed]] = {}
    width: Annotated[int, Meta(ge=2, le=COLUMNS)] = 6
    decimals: Annotated[int, Meta(ge=0, le=9)] | None = None

    @property
    def y_columns(self) -> list[str]:
        return [self.y] if isinstance(self.y, str) else list(self.y or [])

    @property
    def fixed(self) -> dict[str, list[str]]:
        """The fixed parameters as a caller of the query would send them."""
        return {
            name: [_text(v) for v in value] if isinstance(value, list) else [_text(value)]
            for name, value in self.params.items()
        }


class Dashboard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One page. `range` is shown until its reader chooses another; `order` places it among the pages."""

    title: Annotated[str, Meta(min_length=1, max_length=120)]
    tiles: Annotated[list[Tile], Meta(min_length=1, max_length=48)]
    description: Text = ""
    range: Annotated[str, Meta(pattern=RANGE_PATTERN)] = "30d"
    order: int = 0
    parameters: Annotated[list[PageParameter], Meta(max_length=12)] = []
    name: str = ""

    def has_time(self, catalog: Catalog) -> bool:
        """Whether a time range means anything to a query of this page."""
        taken = {p.name for tile in self.tiles for p in catalog.get(tile.query).parameters if p.name not in tile.params}
        return bool(taken & set(TIME_PARAMETERS))


class Dashboards:
    """The pages of a project by name, in the order of their navigation."""

    def __init__(self, pages: Iterable[Dashboard]) -> None:
        self._pages = {page.name: page for page in sorted(pages, key=lambda page: (page.order, page.name))}

    @classmethod
    def load(cls, folder: Path, catalog: Catalog) -> Self:
        """Read `folder/*.toml`; a missing folder is no page. Raises InvalidConfiguration: file and key."""
        return cls(parse_dashboard(path.stem, _read(path), path, catalog) for path in sorted(folder.glob("*.toml")))

    def get(self, name: str) -> Dashboard:
        """The page of that name. Raises Unknown, with the closest name."""
        if name in self._pages:
            return self._pages[name]
        close = get_close_matches(name, list(self._pages), n=1)
        raise Unknown(
            f"There is no dashboard {name[:60]!r}.",
            f"There are {', '.join(self._pages)}." if self._pages else "There are none.",
            f"Did you mean {close[0]!r}?" if close else "Add dashboards/NAME.toml to the project.",
        )

    def __iter__(self) -> Iterator[Dashboard]:
        return iter(self._pages.values())

    def __len__(self) -> int:
        return len(self._pages)


def parse_dashboard(name: str, data: Mapping[str, Any], path: Path, catalog: Catalog) -> Dashboard:
    """Check one file's contents. Raises InvalidConfiguration, naming the file and the key."""
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", name):
        raise InvalidConfiguration(
            f"{path}: {name!r} cannot be the name of a dashboard.", "Use small letters, digits, _ and -."
        )
    try:
        page = msgspec.convert(dict(data), Dashboard)
    except msgspec.ValidationError as error:
        raise InvalidConfiguration(f"{path}: {error}.", hint="docs/reference/dashboards.md lists every key.") from error
    page = msgspec.structs.replace(page, name=name)
    for number, tile in enumerate(page.tiles):
        _check_tile(tile, page, catalog, f"{path}: tiles[{number}]")
    return page


async def check_columns(dashboards: Dashboards, catalog: Catalog, executor: Executor) -> None:
    """Ask ClickHouse for the columns of every query and hold the tiles to them. Raises InvalidConfiguration.

    Queries whose tables do not exist yet are skipped: their tiles say so on the page.
    """
    for page in dashboards:
        for number, tile in enumerate(page.tiles):
            try:
                columns = await executor.columns(catalog.get(tile.query))
            except (Unavailable, InvalidInput):
                continue
            if problem := missing_column(tile, columns):
                raise InvalidConfiguration(
                    f"dashboards/{page.name}.toml: tiles[{number}]: {problem.message}", problem.detail, problem.hint
                )


def missing_column(tile: Tile, columns: Iterable[str]) -> Error | None:
    """What is wrong when a tile names a column that its query does not answer with; None when all is well."""
    known = list(columns)
    for key, column in (("x", tile.x), ("series", tile.series), *(("y", y) for y in tile.y_columns)):
        if column is not None and column not in known:
            close = get_close_matches(column, known, n=1)
            return InvalidConfiguration(
                f"{key} names {column!r}, which is no column of the query {tile.query!r}.",
                f"Its columns are {', '.join(known)}.",
                f"Did you mean {close[0]!r}?" if close else "Correct the tile or the query.",
            )
    return None


def _check_tile(tile: Tile, page: Dashboard, catalog: Catalog, where: str) -> None:
    try:
        query = catalog.get(tile.query)
    except Unknown as error:
        raise InvalidConfiguration(f"{where}.query: {error.message}", error.detail, error.hint) from error
    if tile.kind in ("line", "bar") and (tile.x is None or not tile.y_columns):
        raise InvalidConfiguration(f"{where}: a {tile.kind} needs x and y.", "They name columns of the query.")
    if tile.kind == "number" and len(tile.y_columns) != 1:
        raise InvalidConfiguration(f"{where}: a number needs one y.", "It names a column of the query.")
    if tile.series is not None and len(tile.y_columns) > 1:
        raise InvalidConfiguration(f"{where}: series splits one y, not several.", "Leave out series, or keep one y.")
    _check_parameters(tile, query, page, where)


def _check_parameters(tile: Tile, query: Query, page: Dashboard, where: str) -> None:
    known = {parameter.name: parameter for parameter in query.parameters}
    for name in tile.fixed:
        if name not in known:
            raise InvalidConfiguration(
                f"{where}.params: the query {query.name!r} has no parameter {name!r}.",
                f"It has {', '.join(known) or 'none'}.",
            )
    given = {*tile.fixed, *(parameter.name for parameter in page.parameters), *TIME_PARAMETERS}
    for parameter in known.values():
        if parameter.required and parameter.name not in given:
            raise InvalidConfiguration(
                f"{where}: nothing gives the query {query.name!r} its parameter {parameter.name!r}.",
                hint="Add it to the tile's params or to the page's parameters, or give it a default in the query.",
            )


def values_for(tile: Tile, query: Query, page_values: Values) -> dict[str, list[str]]:
    """What the tile sends its query: the page's values that it knows, and over them its own fixed ones."""
    known = {parameter.name for parameter in query.parameters}
    shared = {name: list(sent) for name, sent in page_values.items() if name in known and name not in RESERVED}
    return shared | tile.fixed


def _text(value: Fixed) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidConfiguration(f"{path} is not valid TOML.", str(error)) from error
