from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from headrace.dashboards.definition import Dashboard, Dashboards, Tile, missing_column, parse_dashboard, values_for
from headrace.errors import InvalidConfiguration, Unknown
from headrace.queries.catalog import Catalog, parse_query

PATH = Path("dashboards/page.toml")
QUERY = parse_query(
    "trend", "-- default to: now\nSELECT {user_id:String}, {from:DateTime}, {to:DateTime}", Path("trend.sql")
)
NEEDY = parse_query("needy", "SELECT {limit:UInt8}", Path("needy.sql"))
CATALOG = Catalog({"trend": QUERY, "needy": NEEDY})
PAGE = """
title = "Page"
[[parameters]]
name = "user_id"
[[tiles]]
title = "Trend"
query = "trend"
kind = "line"
x = "day"
y = "km"
"""


def parse(text: str) -> Dashboard:
    return parse_dashboard("page", tomllib.loads(text), PATH, CATALOG)


def test_a_file_becomes_a_page() -> None:
    page = parse(PAGE)
    assert (page.name, page.title, page.range, page.tiles[0].width) == ("page", "Page", "30d", 6)
    assert page.has_time(CATALOG)


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ('kind = "line"', 'kind = "pie"', "$.tiles[0].kind"),
        ('kind = "line"', 'kind = "line"\nheight = 3', "unknown field `height`"),
        ('kind = "line"', 'kind = "line"\nwidth = 13', "$.tiles[0].width"),
        ('title = "Page"', 'title = "Page"\nrange = "soon"', "$.range"),
        ('query = "trend"', 'query = "trends"', "tiles[0].query: There is no query 'trends'"),
        ('x = "day"', "", "a line needs x and y"),
        ('y = "km"', 'y = ["km", "h"]\nseries = "type"', "series splits one y"),
        ('y = "km"', 'y = "km"\nparams = { user = "a" }', "has no parameter 'user'"),
        ('name = "user_id"', 'name = "user"', "nothing gives the query 'trend' its parameter 'user_id'"),
        ('query = "trend"', 'query = "needy"', "its parameter 'limit'"),
    ],
)
def test_a_file_that_cannot_work_is_refused_with_file_and_key(before: str, after: str, says: str) -> None:
    with pytest.raises(InvalidConfiguration) as raised:
        parse(PAGE.replace(before, after))
    assert str(PATH) in str(raised.value)
    assert says in str(raised.value)


def test_pages_are_in_order_and_names_are_suggested(tmp_path: Path) -> None:
    (tmp_path / "b.toml").write_text("order = -1\n" + PAGE)
    (tmp_path / "a.toml").write_text(PAGE)
    pages = Dashboards.load(tmp_path, CATALOG)
    assert [page.name for page in pages] == ["b", "a"]
    with pytest.raises(Unknown):
        pages.get("c")


def test_broken_toml_names_its_file(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("title = ")
    with pytest.raises(InvalidConfiguration, match=r"a\.toml is not valid TOML"):
        Dashboards.load(tmp_path, CATALOG)


def test_a_missing_column_is_named_with_those_that_exist() -> None:
    tile = Tile("Trend", "trend", "line", x="day", y=["km", "hour"])
    problem = missing_column(tile, ["day", "km", "hours"])
    assert problem is not None
    assert "'hour'" in problem.message
    assert problem.hint == "Did you mean 'hours'?"
    assert missing_column(tile, ["day", "km", "hour"]) is None


def test_fixed_parameters_win_over_those_of_the_page() -> None:
    tile = Tile("Trend", "trend", "table", params={"user_id": "fixed"})
    values = values_for(tile, QUERY, {"user_id": ["page"], "from": ["now-7d"], "other": ["x"]})
    assert values == {"user_id": ["fixed"], "from": ["now-7d"]}
    assert Tile("T", "q", "table", params={"a": True, "b": [1, 2]}).fixed == {"a": ["true"], "b": ["1", "2"]}
