"""The pages of examples/wellness over a real ClickHouse, in real Chromium.

Every page that a test opens is watched: a console error, an exception or a violated content policy fails the test.
Without Debian's `chromium` these tests are skipped, and say so.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import uvicorn
from playwright.async_api import Browser, Page, async_playwright

from headrace.dashboards.definition import Dashboards
from headrace.embedded.clickhouse.process import EmbeddedClickHouse
from headrace.events.position import Position
from headrace.http.app import create_app
from headrace.http.dashboards import dashboard_routes
from headrace.http.queries import query_routes
from headrace.queries.catalog import Catalog
from headrace.queries.execute import Executor
from headrace.queries.live import LiveClients
from headrace.settings import Query as Limits
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.schema import create_schema
from headrace.warehouse.watermark import WatermarkReader, write_watermark

SOURCE = "wellness"
ROOT = Path(__file__).parents[3]
TABLES = ROOT / "tests" / "integration" / "queries" / "wellness_tables.sql"
CHROMIUM = shutil.which("chromium")

STATES_QUERIES = {
    "nothing": "SELECT number AS n FROM numbers(0)",
    "not_there": "SELECT * FROM not_there_yet",
    "slow": "SELECT count() + sum(sleepEachRow(0.5)) AS n FROM numbers(8) SETTINGS max_block_size = 1",
    "hostile": "SELECT '<script>alert(1)</script><img src=x onerror=alert(2)>' AS text, 1 AS n",
    "two_columns": "SELECT 1 AS a, 2 AS b",
}
STATES_PAGE = """
title = "States <b>&amp;</b>"
order = 9
tiles = [
  { title = "Empty", query = "nothing", kind = "number", y = "n" },
  { title = "Failing", query = "not_there", kind = "table" },
  { title = "Wrong column", query = "two_columns", kind = "number", y = "c" },
  { title = "Slow", query = "slow", kind = "number", y = "n" },
  { title = "Hostile", query = "hostile", kind = "bar", x = "text", y = "n" },
  { title = "Well", query = "two_columns", kind = "number", y = "a" },
]
"""


@pytest.fixture(scope="session")
async def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ClickHouse]:
    server = EmbeddedClickHouse(tmp_path_factory.mktemp("clickhouse"), password="secret")
    await server.start()
    try:
        url = server.url.replace("http://", "http://headrace:secret@")
        client = await ClickHouse.connect(url, database="wellness_analytics")
        try:
            await create_schema(client)
            for statement in TABLES.read_text().split("\n;\n"):
                await client.execute(statement)
            yield client
        finally:
            await client.close()
    finally:
        await server.stop()


@pytest.fixture(scope="session")
def complete_up_to(clickhouse: ClickHouse) -> Callable[[int], Awaitable[None]]:
    """Write a watermark, as the worker does after a batch."""

    async def write(lsn: int) -> None:
        await write_watermark(clickhouse, SOURCE, batch=lsn, position=Position(lsn), committed_at=datetime.now(UTC))

    return write


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wellness example, and a page of tiles in every state."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "examples" / "wellness" / "queries", folder / "queries")
    shutil.copytree(ROOT / "examples" / "wellness" / "dashboards", folder / "dashboards")
    for name, text in STATES_QUERIES.items():
        (folder / "queries" / f"{name}.sql").write_text(text)
    (folder / "dashboards" / "states.toml").write_text(STATES_PAGE)
    return folder


@pytest.fixture(scope="session")
async def site(
    clickhouse: ClickHouse, project: Path, complete_up_to: Callable[[int], Awaitable[None]]
) -> AsyncIterator[str]:
    """The address of the running site."""
    catalog = Catalog.load(project / "queries")
    dashboards = Dashboards.load(project / "dashboards", catalog)
    watermarks = WatermarkReader(clickhouse=clickhouse, source=SOURCE)
    executor = Executor(clickhouse=clickhouse, watermarks=watermarks, limits=Limits())
    clients = LiveClients()
    routes = [
        *query_routes(catalog=catalog, executor=executor, clients=clients),
        *dashboard_routes(dashboards=dashboards, catalog=catalog, executor=executor, clients=clients),
    ]
    app = create_app(title="test", version="0", routes=routes, body_bytes_max=1 << 20)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, ws="none"))
    running = asyncio.create_task(server.serve())
    async with asyncio.timeout(10):
        while not server.started:  # noqa: ASYNC110  uvicorn offers nothing to wait for
            await asyncio.sleep(0.01)
    await complete_up_to(100)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    clients.close()
    server.should_exit = True
    await running


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("the page is not tested: Debian's chromium is not installed (apt-get install chromium)")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest.fixture
async def open_page(browser: Browser, site: str) -> AsyncIterator[Callable[..., Awaitable[Page]]]:
    """Open a path of the site in a fresh browser context, whose options may be given."""
    complaints: list[str] = []
    contexts = []

    async def open_(
        path: str = "/dashboards/wellness", *, address: str = site, failing: bool = False, **options: object
    ) -> Page:
        context = await browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})  # type: ignore[arg-type]
        contexts.append(context)
        page = await context.new_page()
        page.set_default_timeout(15_000)
        if not failing:
            page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.goto(address + path)
        return page

    yield open_
    for context in contexts:
        await context.close()
    assert complaints == []
