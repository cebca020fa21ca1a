"""A ClickHouse with the tables of the wellness example, and the read side's HTTP API over it. Nothing writes to it but
the tests: there is no PostgreSQL and no worker here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import uvicorn

from headrace.embedded.clickhouse.process import EmbeddedClickHouse
from headrace.events.position import Position
from headrace.http.app import create_app
from headrace.http.queries import query_routes
from headrace.queries.catalog import Catalog
from headrace.queries.execute import Executor
from headrace.queries.live import LiveClients
from headrace.settings import Query as Limits
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.schema import create_schema
from headrace.warehouse.watermark import WatermarkReader, write_watermark

SOURCE = "wellness"
TABLES = Path(__file__).with_name("wellness_tables.sql")

QUERIES = {
    "echo": (
        "-- default text: ''\n-- default numbers: [1,2]\n"
        "SELECT {text:String} AS text, {numbers:Array(Int32)} AS numbers"
    ),
    "every_type": (
        "SELECT {i:Int8} AS i, {f:Float64} AS f, {d:Decimal(10, 2)} AS d, {b:Bool} AS b, {u:UUID} AS u,"
        " {day:Date} AS day, {t:DateTime} AS t, {tz:DateTime('Europe/Berlin')} AS tz, {t64:DateTime64(6)} AS t64,"
        " {n:Nullable(Int32)} AS n"
    ),
    "counter": "SELECT count() AS count FROM counted",
    "cached": "-- cache_s: 60\nSELECT count() AS count FROM counted",
    "rows": "-- default count: 5\nSELECT number, toString(number) AS text FROM numbers({count:UInt32})",
    "endless": "-- time_max_s: 0.3\nSELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 1",
    "greedy": "SELECT groupArray(number) FROM numbers(100000000)",
    "missing_table": "SELECT * FROM not_there_yet",
    "missing_column": "SELECT nonsense FROM counted",
    "breaks_midway": (
        "-- rows_max: 2000000\n"
        "SELECT throwIf(number = 900000) AS a FROM numbers(1000000) SETTINGS max_block_size = 1000, max_threads = 1"
    ),
    "writes": "SELECT 1 SETTINGS readonly = 0",
}


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
            await client.execute("CREATE TABLE counted (n UInt64) ENGINE = MergeTree ORDER BY n")
            yield client
        finally:
            await client.close()
    finally:
        await server.stop()


def make_executor(clickhouse: ClickHouse, limits: Limits) -> Executor:
    watermarks = WatermarkReader(clickhouse=clickhouse, source=SOURCE)
    return Executor(clickhouse=clickhouse, watermarks=watermarks, limits=limits)


@pytest.fixture(scope="session")
def complete_up_to(clickhouse: ClickHouse) -> Callable[[int], Awaitable[None]]:
    """Write a watermark, as the worker does after a batch."""

    async def write(lsn: int) -> None:
        await write_watermark(clickhouse, SOURCE, batch=lsn, position=Position(lsn), committed_at=datetime.now(UTC))

    return write


@pytest.fixture(scope="session")
async def http(
    clickhouse: ClickHouse,
    complete_up_to: Callable[[int], Awaitable[None]],
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[httpx.AsyncClient]:
    """The API over `QUERIES`, with small limits and at most three live clients."""
    folder = tmp_path_factory.mktemp("queries")
    for name, text in QUERIES.items():
        (folder / f"{name}.sql").write_text(text)
    limits = Limits(time_max_s=10, rows_max=10_000, memory_bytes_max=64 << 20, wait_max_s=0.5)
    clients = LiveClients(clients_max=3)
    routes = query_routes(catalog=Catalog.load(folder), executor=make_executor(clickhouse, limits), clients=clients)
    app = create_app(title="test", version="0", routes=routes, body_bytes_max=1 << 20)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, ws="none"))
    running = asyncio.create_task(server.serve())
    async with asyncio.timeout(10):
        while not server.started:  # noqa: ASYNC110  uvicorn offers nothing to wait for
            await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    await complete_up_to(100)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        yield client
    clients.close()
    server.should_exit = True
    await running


@pytest.fixture(scope="session")
def executor(clickhouse: ClickHouse) -> Executor:
    """The same ClickHouse with the usual limits and no HTTP between."""
    return make_executor(clickhouse, Limits())
