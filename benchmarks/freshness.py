"""Freshness: one thousand events a second, from commit to visible in ClickHouse.

Appends run in this process, the worker in one of its own, as in production. An event's clock starts when its append
returns. It is visible when its batch's insert into the event log has returned: `SELECT` from its event type finds it.
It is complete when the watermark has passed it: every stream and table that reads it is current, too. Nothing polls, so
measuring costs next to nothing: the worker notes when it took each step.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

from benchmarks.events import measured_events
from headrace.event_store.event_store import EventStore
from headrace.events.position import Position
from headrace.runtime.databases import open_databases
from headrace.settings import Settings
from headrace.testing.databases import project_folder
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.schema import create_schema
from headrace.warehouse.watermark import WatermarkReader

EVERY_S = 0.01
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


async def measure(settings: Settings, per_s: int, seconds: float) -> tuple[list[float], list[float], int]:
    """Milliseconds from commit to visible, and to complete, of each event; and the number of batches."""
    steps = settings.root / "steps"
    async with AsyncExitStack() as stack:
        databases = await stack.enter_async_context(open_databases(settings))
        store = await stack.enter_async_context(EventStore(databases.addresses.postgres_url))
        clickhouse = await ClickHouse.connect(databases.addresses.clickhouse_url, database=settings.database)
        stack.push_async_callback(clickhouse.close)
        await create_schema(clickhouse)
        worker = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.timed_worker", str(settings.root), str(steps)
        )
        try:
            committed: list[tuple[Position, float]] = []
            await append_steadily(store, per_s, WARM_UP_S, committed)
            warm = len(committed)
            watermarks = WatermarkReader(clickhouse=clickhouse, source=settings.project)
            await watermarks.wait_for(await store.read_position(), timeout_s=DRAIN_MAX_S)
            await append_steadily(store, per_s, seconds, committed)
            await watermarks.wait_for(await store.read_position(), timeout_s=DRAIN_MAX_S)
        finally:
            worker.terminate()
            await worker.wait()
        sizes = await clickhouse.rows("SELECT changes FROM headrace.batches FINAL ORDER BY batch")
        return delays([int(size) for (size,) in sizes], steps.read_text(), committed, warm)


def delays(
    sizes: list[int], steps: str, committed: list[tuple[Position, float]], warm: int
) -> tuple[list[float], list[float], int]:
    """Batches hold events in the order of their commits, so the sizes tell which batch brought which event."""
    times: dict[str, list[float]] = {}
    for line in steps.splitlines():
        at, step = line.split(" ", 1)
        times.setdefault(step, []).append(float(at))
    assert len(sizes) == len(times["events_inserted"]) == len(times["watermark_written"])
    assert sum(sizes) == len(committed)
    began = [at for _, at in sorted(committed)]
    visible: list[float] = []
    complete: list[float] = []
    event = 0
    for size, inserted, vouched in zip(sizes, times["events_inserted"], times["watermark_written"], strict=True):
        for commit in began[event : event + size]:
            visible.append((inserted - commit) * 1000)
            complete.append((vouched - commit) * 1000)
        event += size
    return visible[warm:], complete[warm:], len(sizes)


def main(per_s: int, seconds: float) -> dict[str, object]:
    with project_folder({"domain.py": DOMAIN, "streams/measured.sql": STREAM}) as root:
        visible, complete, batches = asyncio.run(measure(Settings.load(root), per_s, seconds))
    cuts, complete_cuts = statistics.quantiles(visible, n=100), statistics.quantiles(complete, n=100)
    return {
        "scenario": "freshness",
        "events": len(visible),
        "events_per_s": per_s,
        "read_models": 2,
        "batches": batches,
        "p50_ms": round(cuts[49], 1),
        "p99_ms": round(cuts[98], 1),
        "complete_p50_ms": round(complete_cuts[49], 1),
        "complete_p99_ms": round(complete_cuts[98], 1),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=Path(__file__).stem)
    parser.add_argument("--per-s", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=30.0)
    arguments = parser.parse_args()
    print(json.dumps(main(arguments.per_s, arguments.seconds)))
