"""The worker is killed behind every step of the load protocol, in turn, while events are being appended."""

from __future__ import annotations

import signal
from random import Random

import pytest
from support.fault_load import Acknowledged, writing
from support.fault_proof import assert_whole, wait_until_ready
from support.fault_system import ROUNDS, TIMEOUT_S, System, running_system

STEPS = ("planned", "events_inserted", "advanced:deposits", "advanced:balances", "watermark_written", "confirmed")
OCCURRENCE_MAX = 4  # 1 is the first batch after a start: often the repetition of one that was cut off


@pytest.mark.timeout(TIMEOUT_S)
async def test_every_event_is_loaded_once_whatever_step_the_worker_dies_at() -> None:
    acknowledged = Acknowledged()
    draw = Random(1)
    async with running_system() as system:
        async with writing(system, acknowledged):
            await _make_read_models(system, acknowledged)
            for _ in range(ROUNDS):
                for step in STEPS:
                    worker = await system.dying_worker(step, draw.randint(1, OCCURRENCE_MAX))
                    assert await worker.wait() == -signal.SIGKILL, worker.log.read_text()[-4000:]
        await system.worker()
        await assert_whole(system, acknowledged)


@pytest.mark.timeout(TIMEOUT_S)
async def test_batch_whose_repetition_is_killed_at_every_step_is_loaded_once() -> None:
    """One batch is begun and never finished: each attempt dies one step later than the one before."""
    acknowledged = Acknowledged()
    async with running_system() as system:
        async with writing(system, acknowledged):
            await _make_read_models(system, acknowledged)
            for _ in range(ROUNDS):
                for step in STEPS:
                    worker = await system.dying_worker(step, 1)
                    assert await worker.wait() == -signal.SIGKILL, worker.log.read_text()[-4000:]
        await system.worker()
        await assert_whole(system, acknowledged)


async def _make_read_models(system: System, acknowledged: Acknowledged) -> None:
    """A first worker deploys and fills; only read models that are ready are advanced with each batch."""
    worker = await system.worker()
    await acknowledged.more(100)
    await wait_until_ready(system, await system.connect())
    await worker.stop()
