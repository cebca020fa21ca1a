"""Time range, parameters, theme, keyboard and small screens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.async_api import Page, expect

pytestmark = pytest.mark.browser
OpenPage = Callable[..., Awaitable[Page]]


def sent(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


async def test_a_range_changes_the_url_and_the_data(open_page: OpenPage) -> None:
    page = await open_page()
    table = page.locator('section.tile:has(h2:text-is("Distance run per month")) tbody tr')
    assert await table.count() >= 12
    await page.get_by_role("link", name="Last 30 days").click()
    await page.wait_for_url("**range=30d*")
    assert await table.count() <= 2
    await expect(page.locator('.ranges [aria-current="true"]')).to_contain_text("30d")


async def test_a_custom_range_is_in_the_viewers_own_zone(open_page: OpenPage) -> None:
    page = await open_page(timezone_id="America/New_York")
    await expect(page.locator("[data-zone]").first).to_have_text("America/New_York")
    await page.locator(".custom summary").click()
    await page.locator('.custom input[name="from"]').fill("2026-01-01T00:00")
    await page.locator('.custom input[name="to"]').fill("2026-02-01T00:00")
    await page.locator(".custom button").click()
    await page.wait_for_url("**from=*")
    assert sent(page)["from"] == ["2026-01-01T05:00:00.000Z"]
    assert sent(page)["to"] == ["2026-02-01T05:00:00.000Z"]
    await expect(page.locator(".custom input[name=from]")).to_have_value("2026-01-01T00:00")


async def test_a_parameter_of_the_page_reaches_every_query_and_keeps_the_range(open_page: OpenPage) -> None:
    page = await open_page("/dashboards/wellness?range=90d")
    await page.get_by_role("textbox", name="User").fill("user-3")
    await page.get_by_role("textbox", name="User").press("Enter")
    await page.wait_for_url("**user_id=user-3*")
    assert sent(page)["range"] == ["90d"]
    users = page.locator('section.tile:has(h2:text-is("Latest workouts")) tbody td:nth-child(2)')
    assert set(await users.all_inner_texts()) == {"user-3"}
    await page.get_by_role("link", name="Last 7 days").click()
    await page.wait_for_url("**range=7d*")
    assert sent(page)["user_id"] == ["user-3"]


async def test_a_range_that_cannot_be_read_is_an_error_page(open_page: OpenPage) -> None:
    page = await open_page("/dashboards/wellness?range=soon", failing=True)
    await expect(page.locator("h1")).to_have_text("The time range cannot be read.")


async def test_dark_follows_the_system_and_the_toggle_is_remembered(open_page: OpenPage) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    page = await open_page(color_scheme="dark")
    dark = await page.evaluate(ground)
    await expect(page.get_by_role("button", name="Dark theme")).to_have_attribute("aria-pressed", "true")
    await page.get_by_role("button", name="Dark theme").click()
    light = await page.evaluate(ground)
    assert light != dark
    await page.reload()
    assert await page.evaluate(ground) == light
    await expect(page.locator("canvas").first).to_be_visible()
    shared = await open_page("/dashboards/wellness?theme=dark")
    assert await shared.evaluate(ground) == dark


async def test_everything_can_be_reached_by_keyboard(open_page: OpenPage) -> None:
    page = await open_page()
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.textContent") == "Skip to the content"
    reached = set()
    for _ in range(60):
        await page.keyboard.press("Tab")
        reached.add(await page.evaluate("(e => e.name || e.className || e.textContent.trim())(document.activeElement)"))
    assert {"user_id", "theme"} <= reached
    assert any("Last 7 days" in name for name in reached)
    assert any(name.startswith("Table") for name in reached)
    assert any(name.startswith("SQL and API") for name in reached)
    summary = page.locator("details.twin summary").first
    await summary.focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("details.twin").first).to_have_attribute("open", "")


async def test_landmarks_and_names_are_there_for_a_screen_reader(open_page: OpenPage) -> None:
    page = await open_page()
    for role, name in (("navigation", "Dashboards"), ("navigation", "Time range"), ("search", "Parameters")):
        await expect(page.get_by_role(role, name=name)).to_be_visible()  # type: ignore[arg-type]
    await expect(page.get_by_role("banner")).to_be_visible()
    await expect(page.get_by_role("main")).to_be_visible()
    await expect(page.get_by_role("region", name="Calories")).to_be_visible()
    await expect(page.get_by_role("img", name="Calories: line chart.", exact=False)).to_be_visible()
    assert await page.locator("[data-status-word]").get_attribute("aria-live") == "polite"


@pytest.mark.parametrize("width", [360, 390, 768, 1440])
async def test_the_page_never_scrolls_sideways(open_page: OpenPage, width: int) -> None:
    page = await open_page(viewport={"width": width, "height": 800})
    await expect(page.locator("canvas").first).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
