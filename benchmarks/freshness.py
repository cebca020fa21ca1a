"""Freshness: one thousand events a second, from commit to visible in ClickHouse.

Appends run in this process, the worker in one of its own, as in production. The commit time is taken when the append
returns, so the figure holds all of capture, load and watermark; an event counts as visible when a query can see it
*and* the watermark vouches for it, which is seen by polling. Polling adds up to its own period to each figure.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from contextlib import AsyncExitStack
from pathlib import Path

from benchmarks.events import measured_events
from headrace.event_store.event_store import EventStore
from headrace.events.position import Position
from headrace.runtime.databases import open_databases
from headrace.runtime.stack import run_roles
from headrace.settings import Settings
from headrace.testing.databases import project_folder
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.schema import create_schema
from headrace.warehouse.watermark import read_watermark

EVERY_S = 0.01
POLL_S = 0.002
WARM_UP_S = 3.0
DRAIN_MAX_S = 30.0

DOMAIN = "from benchmarks.events import Measured\n"
STREAM = """
CREATE STREAM measurements AS SELECT user_id, kind, amount, measured_at FROM Measured WITH (order_by = 'user_id');
CREATE TABLE per_user AS SELECT user_id, COUNT(*) AS times, SUM(amount) AS total FROM measurements GROUP BY user_id;
"""


async def append_steadily(
    store: EventStore, per_s: int, seconds: float, committed: list[tuple[Position, float]]
) -> None:
    """Append `per_s` events a second for a while, one batch of appends every `EVERY_S`; note when each came back."""
    count = max(1, round(per_s * EVERY_S))
    events = measured_events(int(per_s * seconds))
    began = time.perf_counter()

    async def append(stream: str, event: object) -> None:
        appended = await store.append(stream, [event])  # type: ignore[list-item]
        committed.append((appended.position, time.perf_counter()))

    async with asyncio.TaskGroup() as group:
        for tick in range(int(seconds / EVERY_S)):
            await asyncio.sleep(max(0.0, began + tick * EVERY_S - time.perf_counter()))
            for _ in range(count):
                group.create_task(append(*next(events)))


async def measure(settings: Settings, per_s: int, seconds: float) -> list[float]:
    """The delay of each event, in milliseconds."""
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        databases = await stack.enter_async_context(open_databases(settings))
        store = await stack.enter_async_context(EventStore(databases.addresses.postgres_url))
        clickhouse = await ClickHouse.connect(databases.addresses.clickhouse_url, database=settings.database)
        stack.push_async_callback(clickhouse.close)
        await create_schema(clickhouse)
        await stack.enter_async_context(run_roles(settings, ["worker"], stop, log_level="warning"))
        warming: list[tuple[Position, float]] = []
        await append_steadily(store, per_s, WARM_UP_S, warming)
        await seen(clickhouse, settings, warming, asyncio.Event(), len(warming))
        committed: list[tuple[Position, float]] = []
        done = asyncio.Event()
        watching = asyncio.create_task(seen(clickhouse, settings, committed, done, int(per_s * seconds)))
        await append_steadily(store, per_s, seconds, committed)
        done.set()
        return await watching


async def seen(
    clickhouse: ClickHouse,
    settings: Settings,
    committed: list[tuple[Position, float]],
    done: asyncio.Event,
    count: int,
) -> list[float]:
    """Poll the watermark until it has passed `count` commits; the delay of each in milliseconds."""
    delays: list[float] = []
    deadline = time.monotonic() + DRAIN_MAX_S + WARM_UP_S + count
    while len(delays) < count:
        assert time.monotonic() < deadline, f"{len(delays)} of {count} events became visible"
        watermark = await read_watermark(clickhouse, settings.project)
        now = time.perf_counter()
        while len(delays) < len(committed) and committed[len(delays)][0] <= watermark.position:
            delays.append((now - committed[len(delays)][1]) * 1000)
        await asyncio.sleep(POLL_S)
    return delays


def main(per_s: int, seconds: float) -> dict[str, object]:
    with project_folder({"domain.py": DOMAIN, "streams/measured.sql": STREAM}) as root:
        delays = asyncio.run(measure(Settings.load(root), per_s, seconds))
    cuts = statistics.quantiles(delays, n=100)
    return {
        "scenario": "freshness",
        "events": len(delays),
        "events_per_s": per_s,
        "read_models": 2,
        "p50_ms": round(cuts[49], 1),
        "p99_ms": round(cuts[98], 1),
        "max_ms": round(max(delays), 1),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=Path(__file__).stem)
    parser.add_argument("--per-s", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=30.0)
    arguments = parser.parse_args()
    print(json.dumps(main(arguments.per_s, arguments.seconds)))
