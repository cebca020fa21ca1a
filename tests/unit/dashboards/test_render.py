from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from headrace.dashboards.definition import Dashboards, Tile, parse_dashboard
from headrace.dashboards.page import Lag, Page
from headrace.dashboards.render import Renderer
from headrace.dashboards.tile_view import Cell, ColumnView, TileView, failed, loading
from headrace.errors import Unavailable, Unknown
from headrace.queries.catalog import Catalog, parse_query

NOW = datetime(2026, 3, 1, tzinfo=UTC)
HOSTILE = "<script>alert('x')</script>\" onload=\""
CATALOG = Catalog({"q": parse_query("q", "SELECT '<b>' AS text, {user:String} AS user", Path("q.sql"))})


def page(sent: dict[str, list[str]]) -> Page:
    data = {
        "title": HOSTILE,
        "parameters": [{"name": "user"}],
        "tiles": [{"title": HOSTILE, "query": "q", "kind": "bar", "x": "text", "y": "n"}],
    }
    return Page.of(parse_dashboard("p", data, Path("p.toml"), CATALOG), CATALOG, sent, NOW)


def render(shown: Page, view: TileView) -> str:
    return Renderer().page(
        shown, [view], Lag("0/1", 0.5), dashboards=Dashboards([shown.dashboard]), has_time=True, now=NOW
    )


def test_nothing_that_comes_from_outside_becomes_markup() -> None:
    shown = page({"user": [HOSTILE], "from": ["2026-01-01"], "to": ["2026-02-01"]})
    tile = shown.tiles[0].tile
    columns = [ColumnView("text", HOSTILE, "text")]
    view = TileView("tile-0", tile, "ready", columns, [[Cell(HOSTILE, HOSTILE)]])
    html = render(shown, view) + render(shown, failed("tile-0", tile, Unavailable(HOSTILE, HOSTILE, HOSTILE)))
    assert "<script>alert" not in html
    assert '" onload="' not in html
    assert "<b>" not in html
    assert " style=" not in html


def test_a_page_without_script_says_how_old_it_is() -> None:
    shown = page({})
    html = render(shown, loading("tile-0", shown.tiles[0].tile))
    assert "0.5 s behind" in html
    assert "Still computing" in html


def test_the_index_and_the_error_page_say_what_to_do_next() -> None:
    renderer = Renderer()
    assert "dashboards/NAME.toml" in renderer.index(Dashboards([]))
    assert "Did you mean &#39;p&#39;?" in renderer.error(Unknown("No", "", "Did you mean 'p'?"), Dashboards([]))


def test_every_asset_is_found_and_named_by_its_contents() -> None:
    renderer = Renderer()
    assert {"page.css", "page.js", "chart.js", "theme.js", "mark.svg"} <= set(renderer.assets)
    assert "vendor/uplot-1.6.32/uPlot.iife.min.js" in renderer.assets
    html = renderer.tile(loading("t", Tile("T", "q", "number", y="n")))
    assert "noscript" in html


def test_the_api_call_of_a_tile_is_spelled_out() -> None:
    assert page({"user": ["a&b"]}).tiles[0].href == "/queries/q?user=a%26b"
    assert page({}).tiles[0].href == "/queries/q"
