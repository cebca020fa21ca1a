"""A page that moves, and what it says when it does not."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable

import pytest
from playwright.async_api import Page, expect

from headrace.warehouse.client import ClickHouse

pytestmark = pytest.mark.browser
OpenPage = Callable[..., Awaitable[Page]]
CompleteUpTo = Callable[[int], Awaitable[None]]


async def test_new_rows_move_the_tiles_without_a_reload(
    open_page: OpenPage, clickhouse: ClickHouse, complete_up_to: CompleteUpTo
) -> None:
    await complete_up_to(0x1FFF)
    page = await open_page()
    await expect(page.locator("[data-status-word]")).to_have_text("Live")
    await page.evaluate("window.notReloaded = true")
    latest = page.locator('section.tile:has(h2:text-is("Latest workouts"))')
    await latest.locator("summary").click()
    await clickhouse.execute(
        "INSERT INTO workouts_view VALUES (generateUUIDv4(), 'user-live', 'run', 3600, 10.5, now64(6), 'Monday', 0)"
    )
    await complete_up_to(0x2000)
    await expect(latest.locator("tbody tr").first).to_contain_text("user-live")
    await expect(latest.locator("details.behind")).to_have_attribute("open", "")
    await expect(page.locator("[data-watermark]")).to_have_text("0/2000")
    assert await page.evaluate("window.notReloaded")


async def test_a_chart_keeps_its_canvas_when_its_numbers_change(
    open_page: OpenPage, clickhouse: ClickHouse, complete_up_to: CompleteUpTo
) -> None:
    page = await open_page()
    chart = page.locator('section.tile:has(h2:text-is("Workout duration"))')
    await chart.locator("canvas").evaluate("c => { c.dataset.same = 'yes' }")
    await chart.locator("details.twin summary").click()
    before = await chart.locator("tbody").inner_text()
    await clickhouse.execute(
        "INSERT INTO workouts_view "
        "SELECT generateUUIDv4(), 'user-x', 'run', 9000, 10.5, now64(6), 'Monday', 0 FROM numbers(500)"
    )
    await complete_up_to(0x3000)
    await expect(chart.locator("tbody")).not_to_have_text(before)
    await expect(chart.locator("details.twin")).to_have_attribute("open", "")
    assert await chart.locator("canvas").get_attribute("data-same") == "yes"


async def test_the_lag_is_told_and_a_stalled_read_side_is_called_so(
    open_page: OpenPage, complete_up_to: CompleteUpTo
) -> None:
    await complete_up_to(0x4000)
    page = await open_page()
    await expect(page.locator("[data-lag]")).to_have_text(re.compile(r"\d+(\.\d)? s behind"))
    await expect(page.locator("[data-status]")).to_have_attribute("data-state", "stalled", timeout=20_000)
    await expect(page.locator("[data-status-word]")).to_have_text("Stalled")
    await expect(page.locator("[data-lag]")).to_contain_text("nothing new for")
    await complete_up_to(0x4001)
    await expect(page.locator("[data-status-word]")).to_have_text("Live")


async def test_a_lost_connection_is_said_and_then_found_again(open_page: OpenPage, site: str) -> None:
    line = Line(site)
    await line.connect()
    page = await open_page(address=line.address, failing=True)
    word = page.locator("[data-status-word]")
    await expect(word).to_have_text(re.compile("Live|Stalled"))
    await line.cut()
    await expect(word).to_have_text("Reconnecting")
    await line.connect()
    await expect(word).to_have_text(re.compile("Live|Stalled"), timeout=15_000)
    await line.cut()


class Line:
    """A wire between browser and site that can be cut and mended."""

    def __init__(self, site: str) -> None:
        self._port = int(site.rsplit(":", 1)[1])
        self._listening_port = 0
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self._pumps: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._listening_port}"

    async def connect(self) -> None:
        self._server = await asyncio.start_server(self._join, "127.0.0.1", self._listening_port)
        self._listening_port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, far_writer]
        for source, target in ((reader, far_writer), (far_reader, writer)):
            pump = asyncio.create_task(self._pump(source, target))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65_536):
                target.write(data)
                await target.drain()
        target.close()
