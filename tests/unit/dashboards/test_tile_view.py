from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from headrace.dashboards.definition import Tile
from headrace.dashboards.tile_view import POINTS_MAX, TABLE_ROWS_MAX, column_kind, view
from headrace.events.position import Position
from headrace.queries.answer import Answer
from headrace.warehouse.watermark import NOTHING, Watermark

WATERMARK = Watermark(1, Position(1), datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))


def answer(types: dict[str, str], rows: list[list[Any]], watermark: Watermark = WATERMARK) -> Answer:
    data = [dict(zip(types, row, strict=True)) for row in rows]
    columns = [{"name": name, "type": type_} for name, type_ in types.items()]
    return Answer("q", msgspec.json.encode(columns), msgspec.json.encode(data), len(rows), watermark, 1.0)


def test_a_number_shows_its_last_row_what_it_is_of_and_a_small_line() -> None:
    tile = Tile("T", "q", "number", x="day", y="n")
    shown = view(
        "tile-0", tile, answer({"day": "Date", "n": "UInt64"}, [[f"2026-01-0{d}", d * 1000] for d in (1, 2, 3)])
    )
    assert (shown.state, shown.headline, shown.caption) == ("ready", "3,000", "3 Jan 2026")
    assert shown.spark == "0.0,30.0 60.0,16.0 120.0,2.0"


def test_cells_have_a_text_to_read_and_a_value_to_draw() -> None:
    types = {"month": "Date", "at": "DateTime64(6, 'UTC')", "km": "Nullable(Float64)", "tags": "Array(String)"}
    rows: list[list[Any]] = [["2026-01-01", "2026-01-31T12:30:15Z", 1234.5, ["a"]], ["2026-02-01", None, None, []]]
    shown = view("tile-0", Tile("T", "q", "table"), answer(types, rows))
    assert [cell.text for cell in shown.rows[0]] == ["Jan 2026", "2026-01-31 12:30", "1,234", '["a"]']
    assert [cell.value for cell in shown.rows[0]] == ["2026-01-01", "2026-01-31T12:30:15Z", "1234.5", '["a"]']
    assert [cell.text for cell in shown.rows[1]] == ["Feb 2026", "–", "–", "[]"]


def test_no_rows_and_no_data_at_all_are_told_apart() -> None:
    tile, types = Tile("T", "q", "number", y="n"), {"n": "UInt8"}
    assert view("t", tile, answer(types, [])).state == "empty"
    assert not view("t", tile, answer(types, [])).nothing_loaded
    assert view("t", tile, answer(types, [], NOTHING)).nothing_loaded
    assert view("t", tile, answer(types, [[None]])).state == "empty"


def test_a_tile_that_names_a_missing_column_fails_alone() -> None:
    shown = view("t", Tile("T", "q", "number", y="m"), answer({"n": "UInt8"}, [[1]]))
    assert shown.state == "error"
    assert "'m'" in shown.error["message"]


def test_a_chart_of_too_many_points_says_so_and_a_table_is_cut() -> None:
    rows = [[number, number] for number in range(POINTS_MAX + 1)]
    types = {"x": "UInt64", "y": "UInt64"}
    assert "too many points" in view("t", Tile("T", "q", "line", x="x", y="y"), answer(types, rows)).error["message"]
    table = view("t", Tile("T", "q", "table"), answer(types, rows))
    assert (len(table.rows), table.more_rows) == (TABLE_ROWS_MAX, POINTS_MAX + 1 - TABLE_ROWS_MAX)


@pytest.mark.parametrize(
    ("type_", "kind"),
    [
        ("Nullable(UInt8)", "number"),
        ("Decimal(18, 2)", "number"),
        ("LowCardinality(Nullable(String))", "text"),
        ("DateTime64(6, 'UTC')", "time"),
        ("Nullable(Date32)", "date"),
        ("Array(UInt8)", "text"),
        ("IntervalDay", "text"),
    ],
)
def test_types_are_numbers_times_dates_or_texts(type_: str, kind: str) -> None:
    assert column_kind(type_) == kind
