"""The worker is killed behind every step of the load protocol, in turn, while events are being appended."""

from __future__ import annotations

import signal
from random import Random

import pytest
from support.fault_load import Acknowledged, writing
from support.fault_proof import assert_whole, wait_until_ready
from support.fault_system import TIMEOUT_S, running_system
from support.waiting import ROUNDS

STEPS = ("planned", "events_inserted", "advanced:deposits", "advanced:balances", "watermark_written", "confirmed")


@pytest.mark.timeout(TIMEOUT_S)
async def test_every_event_is_loaded_once_whatever_step_the_worker_dies_at() -> None:
    """Every other start dies in its first batch, so that repetitions are cut off and repeated too."""
    acknowledged = Acknowledged()
    draw = Random(1)
    async with running_system() as system:
        async with writing(system, acknowledged):
            worker = await system.worker()
            await acknowledged.more(100)
            await wait_until_ready(system, await system.connect())
            await worker.stop()
            for number in range(ROUNDS):
                for index, step in enumerate(STEPS):
                    at_once = (number + index) % 2 == 0
                    worker = await system.dying_worker(step, 1 if at_once else draw.randint(2, 5))
                    assert await worker.wait() == -signal.SIGKILL, worker.log.read_text()[-4000:]
        await system.worker()
        await assert_whole(system, acknowledged)
