"""Capture: the same committed events by `pg_recvlogical` into a file, and by us into ClickHouse, in turn.

Both read the write-ahead log through a slot of their own that was made before the rows. Ours ends when the watermark
is written: the rows are on disk in ClickHouse, once. No streams or tables are defined; `--read-models` deploys two.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from pathlib import Path
from uuid import uuid4

from benchmarks.events import Measured, measured_events
from headrace.bus.batch import Batch, Idle
from headrace.capture.source import Source
from headrace.embedded.postgres_install import binary
from headrace.event_store.event_store import EventStore
from headrace.events.event_types import EventTypes
from headrace.events.position import START, Position
from headrace.read_models.advance import Advance
from headrace.read_models.deploy import Deployer
from headrace.read_models.keeper import Keeper
from headrace.read_models.loader import Loader
from headrace.read_models.model import ReadModels
from headrace.settings import Capture
from headrace.streaming_sql.definition import define_all
from headrace.streaming_sql.parser import parse
from headrace.testing.databases import TemporaryDatabases, temporary_databases
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.event_views import create_event_views
from headrace.warehouse.schema import create_schema

SECONDS_MAX = 120

READ_MODELS = """
CREATE STREAM measurements AS SELECT user_id, kind, amount, measured_at FROM Measured WITH (order_by = 'user_id');
CREATE TABLE per_user AS SELECT user_id, COUNT(*) AS times, SUM(amount) AS total FROM measurements GROUP BY user_id;
"""


def make_source(url: str, slot: str) -> Source:
    limits = Capture()
    return Source(
        postgres_url=url,
        slot=slot,
        publication=slot,
        tables=["headrace.events"],
        buffer_bytes_max=limits.buffer_bytes_max,
        batch_rows_max=limits.batch_rows_max,
    )


async def theirs(databases: TemporaryDatabases, slot: str, end: Position) -> float:
    """Seconds that pg_recvlogical needs to write every message up to `end` into a file."""
    path = databases.folder / f"{slot}.bin"
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        str(binary("pg_recvlogical")),
        *("-d", databases.postgres.socket_url, "--slot", slot, "--start", "--no-loop", "-f", str(path)),
        *("--endpos", str(Position(end.lsn + 1)), "-o", "proto_version=1", "-o", f"publication_names={slot}"),
    )
    assert await process.wait() == 0
    seconds = time.perf_counter() - began
    path.unlink()
    return seconds


async def ours(databases: TemporaryDatabases, slot: str, end: Position, *, read_models: bool) -> float:
    """Seconds that we need until the watermark in ClickHouse has passed `end`."""
    clickhouse = await ClickHouse.connect(databases.clickhouse.url, database=f"capture_{uuid4().hex[:8]}")
    await create_schema(clickhouse)
    await create_event_views(clickhouse, [Measured])
    models, advance = ReadModels(), Advance(clickhouse=clickhouse, source=slot)
    loader = Loader(clickhouse=clickhouse, source=slot, models=models, advance=advance, events=EventTypes([Measured]))
    if read_models:
        deployer = Deployer(clickhouse=clickhouse, source=slot, models=models, event_types=["Measured"])
        await deployer.resume()
        await deployer.deploy(define_all(parse(READ_MODELS), deployer.aggregates))
        await Keeper(
            clickhouse=clickhouse, source=slot, models=models, loader=loader, advance=advance, deployer=deployer
        ).fill_all()
    source = make_source(databases.postgres.socket_url, slot)
    began = time.perf_counter()
    await source.prepare()
    await source.start(after=START)
    async with asyncio.timeout(SECONDS_MAX):
        while loader.watermark.position < end:
            got = await source.next_batch(wait_s=1.0)
            if isinstance(got, Batch):
                await loader.load(got)
                source.confirm(got.confirm_lsn)
            elif isinstance(got, Idle):
                await loader.vouch(got.position)
    seconds = time.perf_counter() - began
    await source.close()
    await clickhouse.execute(f"DROP DATABASE `{clickhouse.database}`")
    await clickhouse.close()
    return seconds


async def main(rows: int, rounds: int, read_models: bool) -> dict[str, object]:
    async with temporary_databases() as databases, EventStore(databases.postgres.url) as store:
        for number in range(rounds):
            for side in ("ours", "theirs"):
                source = make_source(databases.postgres.socket_url, f"{side}_{number}")
                await source.prepare()
        appended = await store.bulk_append(measured_events(rows))
        end = appended.position
        seconds: dict[str, list[float]] = {"theirs": [], "ours": []}
        for number in range(rounds):
            seconds["theirs"].append(await theirs(databases, f"theirs_{number}", end))
            seconds["ours"].append(await ours(databases, f"ours_{number}", end, read_models=read_models))
            print({side: round(values[-1], 2) for side, values in seconds.items()})
    pairs = zip(seconds["theirs"], seconds["ours"], strict=True)
    return {
        "scenario": "capture",
        "rows": rows,
        "rounds": rounds,
        "read_models": read_models,
        "pg_recvlogical_rows_per_s": round(rows / statistics.median(seconds["theirs"])),
        "ours_rows_per_s": round(rows / statistics.median(seconds["ours"])),
        "ratio_streaming": round(statistics.median(their / our for their, our in pairs), 3),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=Path(__file__).stem)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--read-models", action="store_true")
    arguments = parser.parse_args()
    print(json.dumps(asyncio.run(main(arguments.rows, arguments.rounds, arguments.read_models))))
