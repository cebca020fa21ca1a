"""What a page shows, with and without JavaScript."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import httpx
import pytest
from playwright.async_api import Page, expect

pytestmark = pytest.mark.browser
OpenPage = Callable[..., Awaitable[Page]]


def tile(title: str) -> str:
    return f'section.tile:has(h2:text-is("{title}"))'


async def test_the_first_page_is_shown_at_the_root(open_page: OpenPage) -> None:
    page = await open_page("/")
    assert page.url.endswith("/dashboards/wellness")
    await expect(page.locator("h1")).to_have_text("Wellness")
    assert await page.locator("section.tile").count() == 12


async def test_charts_are_drawn_from_the_table_behind_them(open_page: OpenPage) -> None:
    page = await open_page()
    chart = page.locator(tile("Distance run per month"))
    await expect(chart.locator("canvas")).to_be_visible()
    inked = await chart.locator("canvas").evaluate(
        """canvas => new Uint32Array(
             canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer
           ).filter(Boolean).length"""
    )
    assert inked > 5_000
    table = chart.locator("table")
    await expect(table).to_be_hidden()
    await chart.get_by_text("Table", exact=False).first.click()
    await expect(table).to_be_visible()
    assert await table.locator("tbody tr").count() >= 12


async def test_hovering_a_chart_tells_its_numbers(open_page: OpenPage) -> None:
    page = await open_page()
    chart = page.locator(tile("Workout duration"))
    await chart.locator(".u-over").hover(position={"x": 120, "y": 100})
    tooltip = chart.locator(".tooltip")
    await expect(tooltip).to_be_visible()
    await expect(tooltip).to_contain_text("weekend")
    await expect(tooltip).to_contain_text("min")


async def test_numbers_carry_their_unit_and_what_they_are_of(open_page: OpenPage) -> None:
    page = await open_page()
    number = page.locator(tile("Distance run in a month"))
    await expect(number.locator(".unit")).to_have_text("km")
    await expect(number.locator("svg.spark polyline")).to_be_attached()
    await expect(number.locator(".answer > p.muted")).to_contain_text("20")


async def test_the_sql_and_the_api_call_stand_behind_every_tile(open_page: OpenPage, site: str) -> None:
    page = await open_page()
    behind = page.locator(tile("Calories")).locator("details.behind")
    await behind.locator("summary").click()
    await expect(behind.locator("pre").first).to_contain_text("FROM meals_view")
    href = await behind.get_by_role("link", name="CSV").get_attribute("href")
    async with httpx.AsyncClient() as client:
        answer = await client.get(site + str(href))
    assert answer.text.startswith('"week","calories_per_day"')


async def test_without_javascript_every_answer_is_a_table(open_page: OpenPage) -> None:
    page = await open_page(java_script_enabled=False)
    chart = page.locator(tile("Distance run per month"))
    await expect(chart.locator("table")).to_be_visible()
    await expect(page.locator("[data-status-word]")).to_contain_text("As of")
    await expect(page.locator(".ranges a").first).to_be_visible()


async def test_an_empty_a_failing_and_a_slow_tile_leave_the_others_alone(open_page: OpenPage) -> None:
    page = await open_page("/dashboards/states")
    slow = page.locator(tile("Slow"))
    await expect(slow).to_contain_text("Still computing")
    await expect(page.locator("h1")).to_have_text("States <b>&amp;</b>")
    await expect(page.locator(tile("Well")).locator(".value")).to_have_text("1")
    await expect(page.locator(tile("Empty"))).to_contain_text("No rows in this range.")
    failing = page.locator(tile("Failing")).get_by_role("alert")
    await expect(failing).to_contain_text("does not exist (yet)")
    await expect(failing.locator(".hint")).to_contain_text("headrace worker")
    await expect(page.locator(tile("Wrong column"))).to_contain_text("Its columns are a, b.")
    await expect(slow.locator(".value")).to_have_text("8")


async def test_what_rows_say_is_text_and_never_markup(open_page: OpenPage) -> None:
    page = await open_page("/dashboards/states")
    hostile = page.locator(tile("Hostile"))
    await expect(hostile.locator("canvas")).to_be_visible()
    await hostile.locator("details.twin summary").click()
    await expect(hostile.locator("tbody td").first).to_have_text(
        "<script>alert(1)</script><img src=x onerror=alert(2)>"
    )
    assert await hostile.locator("tbody img, tbody script").count() == 0


async def test_an_unknown_page_says_so_and_leads_back(open_page: OpenPage) -> None:
    page = await open_page("/dashboards/welness", failing=True)
    await expect(page.locator("h1")).to_contain_text("There is no dashboard")
    await expect(page.locator(".hint")).to_have_text("Did you mean 'wellness'?")
    await page.get_by_role("link", name="Back to the first page").click()
    await expect(page.locator("h1")).to_have_text("Wellness")


async def test_the_policy_forbids_inline_code(site: str) -> None:
    async with httpx.AsyncClient() as client:
        page = await client.get(f"{site}/dashboards/wellness")
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        asset = await client.get(f"{site}/assets/page.css")
        assert asset.headers["cache-control"] == "no-cache"
        assert (await client.get(f"{site}/assets/../pyproject.toml")).status_code == 404
        assert (await client.get(f"{site}/assets/%2e%2e/definition.py")).status_code == 404
