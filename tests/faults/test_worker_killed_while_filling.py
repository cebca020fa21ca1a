"""The worker is killed while it reads events that are older than its slot, and while it fills read models."""

from __future__ import annotations

import asyncio
import signal
from random import Random

import pytest
from support.fault_load import Acknowledged, append_many, writing
from support.fault_proof import assert_whole, wait_until_ready
from support.fault_system import STATEMENTS, TIMEOUT_S, running_system
from support.waiting import ROUNDS, until

from headrace.warehouse.definitions import FILLING, read_definitions

STEPS = ("planned", "events_inserted", "watermark_written")
PAGE_ROWS = 250
START_MAX_S = 3.0  # a worker is up by then
FILL_MAX_S = 0.3


@pytest.mark.timeout(TIMEOUT_S)
async def test_events_older_than_the_slot_are_loaded_once_whenever_the_worker_dies() -> None:
    acknowledged = Acknowledged()
    draw = Random(2)
    async with running_system(HEADRACE_CAPTURE__BATCH_ROWS_MAX=str(PAGE_ROWS)) as system:
        await append_many(system, acknowledged, 20 * PAGE_ROWS * ROUNDS)
        async with writing(system, acknowledged):
            for _ in range(ROUNDS):
                worker = await system.worker()
                await asyncio.sleep(draw.uniform(0, START_MAX_S))  # anywhere: also while it makes slot and tables
                await worker.kill()
                for step in STEPS:
                    worker = await system.dying_worker(step, draw.randint(1, 4))
                    assert await worker.wait() == -signal.SIGKILL, worker.log.read_text()[-4000:]
        await system.worker()
        await assert_whole(system, acknowledged)


@pytest.mark.timeout(TIMEOUT_S)
async def test_changed_read_models_are_filled_whenever_the_worker_dies() -> None:
    """Each round changes a stream, so that it and the table that reads it are built and filled anew."""
    acknowledged = Acknowledged()
    draw = Random(3)
    async with running_system(HEADRACE_CAPTURE__BATCH_ROWS_MAX=str(PAGE_ROWS)) as system:
        clickhouse = await system.connect()

        async def filling() -> bool:
            stored = await read_definitions(clickhouse, system.settings.project)
            return any(row.state == FILLING for row in stored.values())

        await append_many(system, acknowledged, 40 * PAGE_ROWS)  # more batches than are filled in one piece
        async with writing(system, acknowledged):
            worker = await system.worker()
            await wait_until_ready(system, clickhouse)
            await worker.stop()
            for number in range(ROUNDS):
                text = STATEMENTS.replace("amount > 10", f"amount > {100 + number}")
                (system.root / "streams" / "ledger.sql").write_text(text)
                for _ in range(3):
                    worker = await system.worker()
                    await until(filling)
                    await asyncio.sleep(draw.uniform(0, FILL_MAX_S))
                    await worker.kill()
                    if not await filling():
                        break
        await system.worker()
        await assert_whole(system, acknowledged)
