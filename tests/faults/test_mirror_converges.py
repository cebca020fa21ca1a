"""Everything is killed at random moments while random transactions run; in the end the mirror equals its source.

`HEADRACE_FAULT_SEED=1000` runs others than the default ones.
"""

from __future__ import annotations

import asyncio
import signal
from random import Random

import pytest
from support.fault_system import TIMEOUT_S, System
from support.mirror_load import Writer, create_pgbench_tables, create_tables, more, run_pgbench, writing
from support.mirror_oracle import assert_mirrored
from support.mirror_system import SEED, Killer, mirrored_by, mirroring_system
from support.mirror_workload import Table, Workload, draw_tables
from support.waiting import ROUNDS

STRIKES = 4
STEPS = ("planned", "tables_loaded", "watermark_written", "confirmed")
BIG_ROWS = 5_000
STEPS_PAUSE_S = 0.1  # a worker that dies after three batches falls behind all the time
SMALL_BATCHES = {"HEADRACE_CAPTURE__BATCH_ROWS_MAX": "500"}
PGBENCH_TABLES = [f"public.pgbench_{name}" for name in ("accounts", "branches", "tellers", "history")]
Writers = list[tuple[Writer, Workload]]


def some_writers(system: System, seed: int, tables: list[Table], count: int = 2) -> Writers:
    return [
        (Writer(system.postgres.url, n), Workload(Random(seed * 10 + n), tables, writer=n, big_rows=BIG_ROWS))
        for n in range(count)
    ]


@pytest.mark.timeout(TIMEOUT_S)
@pytest.mark.parametrize("seed", range(SEED, SEED + ROUNDS))
async def test_it_equals_its_source_whatever_is_killed(seed: int) -> None:
    draw = Random(seed)
    tables = draw_tables(draw)
    names = [table.name for table in tables]
    async with mirroring_system(names, **SMALL_BATCHES) as system:
        await create_tables(system.postgres.url, tables)
        killer = Killer(system, draw)
        await killer.start()
        mirrored = await mirrored_by(system, names)
        await mirrored.wait_until_ready()
        writers = some_writers(system, seed, tables)
        async with writing(writers):
            for _ in range(STRIKES):
                await more(writers, 20)
                await killer.strike()
        await mirrored.assert_whole()


@pytest.mark.timeout(TIMEOUT_S)
@pytest.mark.parametrize("seed", range(SEED, SEED + ROUNDS))
async def test_it_equals_its_source_whatever_is_killed_while_it_is_copied(seed: int) -> None:
    """Rows are there before, and some are written, moved and deleted while their pages are read."""
    draw = Random(seed + 1)
    tables = draw_tables(draw)
    names = [table.name for table in tables]
    async with mirroring_system(names, **SMALL_BATCHES) as system:
        await create_tables(system.postgres.url, tables)
        before = Writer(system.postgres.url, 9)
        await before.run(Workload(Random(seed), tables, writer=9, big_rows=BIG_ROWS).transactions(100))
        mirrored = await mirrored_by(system, names)
        writers = some_writers(system, seed, tables)
        async with writing(writers):
            killer = Killer(system, draw)
            await killer.start()
            for _ in range(STRIKES):
                await killer.strike(moment_max_s=1.5)
            await more(writers, 20)
        await mirrored.assert_whole(from_empty=False)


@pytest.mark.timeout(TIMEOUT_S)
@pytest.mark.parametrize("seed", range(SEED, SEED + ROUNDS))
async def test_it_follows_schema_changes_although_the_worker_is_killed(seed: int) -> None:
    """Or says that it cannot, when several come while the worker is away: then a resync brings the table back."""
    draw = Random(seed)
    tables = draw_tables(draw)
    names = [table.name for table in tables]
    async with mirroring_system(names, **SMALL_BATCHES) as system:
        await create_tables(system.postgres.url, tables)
        killer = Killer(system, draw)
        await killer.start()
        mirrored = await mirrored_by(system, names)
        await mirrored.wait_until_ready()
        writers = [
            (Writer(system.postgres.url), Workload(Random(seed), tables, schema_changes=True, big_rows=BIG_ROWS))
        ]
        async with writing(writers):
            for _ in range(STRIKES):
                await more(writers, 20)
                await killer.strike("worker", "clickhouse", "worker and clickhouse")
        await mirrored.assert_whole(from_empty=False, resync=True)


@pytest.mark.timeout(TIMEOUT_S)
async def test_it_equals_its_source_whatever_step_the_worker_dies_at() -> None:
    tables = draw_tables(Random(SEED + 2))
    names = [table.name for table in tables]
    async with mirroring_system(names, **SMALL_BATCHES) as system:
        await create_tables(system.postgres.url, tables)
        worker = await system.worker()
        mirrored = await mirrored_by(system, names)
        await mirrored.wait_until_ready()
        await worker.stop()
        draw = Random(SEED)
        async with writing(some_writers(system, SEED, tables), pause_s=STEPS_PAUSE_S):
            for step in STEPS * ROUNDS:
                worker = await system.dying_worker(step, draw.randint(1, 3))
                assert await worker.wait() == -signal.SIGKILL, worker.log.read_text()[-4000:]
        await system.worker()
        await mirrored.assert_whole()


@pytest.mark.timeout(TIMEOUT_S)
async def test_it_equals_pgbench_under_full_load() -> None:
    draw = Random(SEED)
    async with mirroring_system(PGBENCH_TABLES) as system:
        await create_pgbench_tables(system.postgres.url, 1)
        killer = Killer(system, draw)
        await killer.start()
        mirrored = await mirrored_by(system, PGBENCH_TABLES)
        load = asyncio.create_task(run_pgbench(system.postgres.url, seconds=6 * ROUNDS))
        try:
            for _ in range(2 * ROUNDS):
                await killer.strike("worker", "clickhouse", "worker and clickhouse", moment_max_s=2.0)
            await load
        finally:
            load.cancel()
            await asyncio.gather(load, return_exceptions=True)
        await mirrored.wait()
        await assert_mirrored(system.postgres.url, mirrored.clickhouse, PGBENCH_TABLES)
