"""A tile as the page shows it: the answer of its query turned into texts, or the reason why there is none. Pure.

A chart has no data of its own: it is drawn from the table behind it, so the two can never disagree.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date
from statistics import fmean
from typing import Any, Literal

import msgspec

from headrace.dashboards.definition import Tile, missing_column
from headrace.dashboards.number import as_number, decimals_for, format_headline, format_number
from headrace.errors import Error, LimitExceeded
from headrace.queries.answer import Answer, Column
from headrace.warehouse.watermark import NOTHING

POINTS_MAX = 5_000
TABLE_ROWS_MAX = 200
SPARK_POINTS_MAX = 60
SPARK_WIDTH, SPARK_HEIGHT = 120.0, 28.0

ColumnKind = Literal["number", "time", "date", "text"]
State = Literal["ready", "empty", "error", "loading"]


@dataclass(frozen=True, slots=True)
class ColumnView:
    """A column of the table: `key` as the query names it, `label` as a person reads it."""

    key: str
    label: str
    kind: ColumnKind


@dataclass(frozen=True, slots=True)
class Cell:
    """`text` to read, `value` for the chart: a plain number, an ISO time, or the text itself."""

    text: str
    value: str


@dataclass(frozen=True, slots=True)
class TileView:
    """Everything that the template of one tile needs. Which fields are filled follows from `state`."""

    id: str
    tile: Tile
    state: State
    columns: list[ColumnView] = field(default_factory=list)
    rows: list[list[Cell]] = field(default_factory=list)
    more_rows: int = 0
    headline: str = ""
    caption: str = ""
    spark: str = ""
    error: dict[str, str] = field(default_factory=dict)
    nothing_loaded: bool = False


def loading(id_: str, tile: Tile) -> TileView:
    """The tile while its query still runs."""
    return TileView(id_, tile, "loading")


def failed(id_: str, tile: Tile, error: Error) -> TileView:
    """The tile when its query cannot be answered."""
    return TileView(id_, tile, "error", error=error.as_dict())


def view(id_: str, tile: Tile, answer: Answer) -> TileView:
    """The tile with its answer, or empty, or failed when the answer does not suit the tile."""
    columns = answer.column_list()
    if problem := missing_column(tile, (column.name for column in columns)):
        return failed(id_, tile, problem)
    if tile.kind in ("line", "bar") and answer.rows > POINTS_MAX:
        return failed(id_, tile, _too_many(tile, answer.rows))
    shown = _shown(tile, columns)
    records = answer.records() if answer.rows else []
    if not records or (tile.kind == "number" and as_number(records[-1][tile.y_columns[0]]) is None):
        return TileView(id_, tile, "empty", shown, nothing_loaded=answer.watermark == NOTHING)
    kept = _kept(tile, records)
    cells = _cells(shown, kept, tile.decimals)
    return TileView(
        id_,
        tile,
        "ready",
        shown,
        cells,
        more_rows=len(records) - len(kept),
        headline=_headline(tile, records),
        caption=cells[-1][0].text if tile.kind == "number" and tile.x is not None else "",
        spark=_spark(tile, records),
    )


def column_kind(type_: str) -> ColumnKind:
    """What a ClickHouse type is to a reader."""
    bare = re.sub(r"^(?:(?:Nullable|LowCardinality)\()+", "", type_)
    if bare.startswith("DateTime"):
        return "time"
    if bare.startswith("Date"):
        return "date"
    return "number" if re.match(r"U?Int\d|Float|Decimal|BFloat", bare) else "text"


def _shown(tile: Tile, columns: list[Column]) -> list[ColumnView]:
    chosen = [name for name in (tile.x, tile.series, *tile.y_columns) if name is not None]
    if tile.kind == "table" and not tile.y_columns:
        chosen = []
    by_name = {column.name: column for column in columns}
    return [
        ColumnView(name, name.replace("_", " "), column_kind(by_name[name].type)) for name in (chosen or list(by_name))
    ]


def _kept(tile: Tile, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of the table: all that a chart draws, the last ones of a number, the first ones of a table."""
    if tile.kind in ("line", "bar"):
        return records
    return records[-TABLE_ROWS_MAX:] if tile.kind == "number" else records[:TABLE_ROWS_MAX]


def _cells(columns: list[ColumnView], records: list[dict[str, Any]], wanted: int | None) -> list[list[Cell]]:
    by_column = [_column_cells(column, [record[column.key] for record in records], wanted) for column in columns]
    return [list(row) for row in zip(*by_column, strict=True)]


def _column_cells(column: ColumnView, values: list[Any], wanted: int | None) -> list[Cell]:
    if column.kind == "number":
        numbers = [as_number(value) for value in values]
        decimals = decimals_for([number for number in numbers if number is not None] or [0.0], wanted)
        return [Cell("–", "") if n is None else Cell(format_number(n, decimals), f"{n:.15g}") for n in numbers]
    if column.kind == "date":
        monthly = column.key == "month" or (len(values) > 1 and all(str(value).endswith("-01") for value in values))
        return [Cell("–", "") if value is None else Cell(_day(str(value), monthly), str(value)) for value in values]
    if column.kind == "time":
        return [Cell("–", "") if value is None else Cell(_moment(str(value)), str(value)) for value in values]
    return [Cell("–", "") if value is None else Cell(_text(value), _text(value)) for value in values]


def _day(value: str, monthly: bool) -> str:
    day = date.fromisoformat(value)
    return f"{day:%b %Y}" if monthly else f"{day.day} {day:%b %Y}"


def _moment(value: str) -> str:
    return value[:16].replace("T", " ")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _headline(tile: Tile, records: list[dict[str, Any]]) -> str:
    if tile.kind != "number":
        return ""
    value = as_number(records[-1][tile.y_columns[0]])
    return "" if value is None else format_headline(value, tile.decimals)


def _spark(tile: Tile, records: list[dict[str, Any]]) -> str:
    """The points of a small line as SVG writes them; nothing for fewer than three rows."""
    if tile.kind != "number" or len(records) < 3:
        return ""
    step = -(-len(records) // SPARK_POINTS_MAX)
    all_numbers = [as_number(record[tile.y_columns[0]]) or 0.0 for record in records]
    numbers = [fmean(all_numbers[at : at + step]) for at in range(0, len(all_numbers), step)]
    low, high = min(numbers), max(numbers)
    x_step, spread = SPARK_WIDTH / (len(numbers) - 1), (high - low) or 1.0
    heights = (SPARK_HEIGHT - (number - low) / spread * SPARK_HEIGHT for number in numbers)
    return " ".join(f"{index * x_step:.1f},{height + 2:.1f}" for index, height in enumerate(heights))


def _too_many(tile: Tile, rows: int) -> LimitExceeded:
    return LimitExceeded(
        "There are too many points to draw.",
        f"The query {tile.query!r} answered with {rows} rows; a chart draws at most {POINTS_MAX}.",
        "Choose a shorter range, or group the query by a longer interval.",
    )
