"""The proof after every fault: nothing lost, nothing doubled, every read model equal to its definition."""

from __future__ import annotations

from typing import Any

import msgspec
import psycopg
from support.fault_domain import Deposited
from support.fault_load import Acknowledged
from support.fault_system import System
from support.waiting import DEADLINE_S, until

from headrace.errors import Unavailable
from headrace.read_models.deploy import aggregate_functions
from headrace.streaming_sql.definition import define_all
from headrace.streaming_sql.generate import batch_sql
from headrace.streaming_sql.parser import parse
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.dead_letters import read_dead_letters
from headrace.warehouse.definitions import READY, read_definitions
from headrace.warehouse.watermark import NOTHING, Watermark, WatermarkReader, read_watermark

_STORED = (
    "SELECT stream, version, type, schema_version, data::text, metadata::text, "
    "(extract(epoch FROM recorded_at) * 1000000)::bigint FROM headrace.events"
)
_LOADED = (
    "SELECT stream, version, type, schema_version, data, metadata, toUnixTimestamp64Micro(recorded_at) "
    "FROM `{database}`.events"
)


async def assert_whole(system: System, acknowledged: Acknowledged) -> None:
    """A worker runs and nobody writes: when it has caught up, both sides hold exactly what was acknowledged."""
    clickhouse = await system.connect()
    source = system.settings.project
    await WatermarkReader(clickhouse=clickhouse, source=source).wait_for(acknowledged.position, timeout_s=DEADLINE_S)
    await wait_until_ready(system, clickhouse)
    stored = await read_stored(system)
    assert len(stored) == len(acknowledged.events)
    assert {(row[0], row[1]): msgspec.json.decode(row[4], type=Deposited) for row in stored} == acknowledged.events
    loaded = await clickhouse.rows(_LOADED.format(database=clickhouse.database))
    assert sorted(tuple(row) for row in loaded) == stored
    assert not await read_dead_letters(clickhouse, source)
    await assert_read_models_equal_their_definitions(system, clickhouse)


async def read_stored(system: System) -> list[tuple[Any, ...]]:
    """PostgreSQL's events, in the order of their streams."""
    async with await psycopg.AsyncConnection.connect(system.postgres.url) as connection:
        return sorted(await (await connection.execute(_STORED)).fetchall())


async def assert_read_models_equal_their_definitions(system: System, clickhouse: ClickHouse) -> None:
    """Each of the project's statements, run as one query, gives what its read model holds."""
    text = "\n".join(path.read_text() for path in sorted((system.root / "streams").glob("*.sql")))
    for definition in define_all(parse(text), await aggregate_functions(clickhouse)):
        held = await clickhouse.rows(f"SELECT * FROM `{clickhouse.database}`.`{definition.name}` ORDER BY ALL")
        batch = f"SELECT * FROM ({batch_sql(definition, clickhouse.database)}) ORDER BY ALL"
        assert held == await clickhouse.rows(batch), definition.name
        assert held, definition.name


async def wait_until_ready(system: System, clickhouse: ClickHouse) -> None:
    """Every read model exists, is filled, and has no problem."""

    async def ready() -> bool:
        stored = await read_definitions(clickhouse, system.settings.project)
        states = {row.name: (row.state, row.problem) for row in stored.values()}
        assert all(problem == "" for _, problem in states.values()), states
        return bool(states) and all(state == READY for state, _ in states.values())

    await until(ready)


async def wait_for_batches(system: System, clickhouse: ClickHouse, count: int) -> Watermark:
    """Wait until `count` more batches are complete, however often ClickHouse is away; the watermark then."""

    async def look() -> Watermark:
        try:
            return await read_watermark(clickhouse, system.settings.project)
        except Unavailable:
            return NOTHING

    seen = begun = NOTHING

    async def reached() -> bool:
        nonlocal seen, begun
        seen = await look()
        begun = begun if begun is not NOTHING else seen
        return begun is not NOTHING and seen.batch >= begun.batch + count

    await until(reached)
    return seen
