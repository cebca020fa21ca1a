"""PostgreSQL is killed while events are appended and captured."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from support.fault_load import Acknowledged, writing
from support.fault_proof import assert_whole, wait_for_batches, wait_until_ready
from support.fault_system import TIMEOUT_S, kill_and_keep, running_system
from support.waiting import ROUNDS


@pytest.mark.timeout(TIMEOUT_S)
async def test_killed_under_load_it_comes_back_and_capture_goes_on() -> None:
    acknowledged = Acknowledged()
    draw = Random(6)
    async with running_system() as system:
        clickhouse = await system.connect()
        worker = await system.worker()
        async with writing(system, acknowledged):
            await acknowledged.more(100)
            await wait_until_ready(system, clickhouse)
            for _ in range(ROUNDS * 2):
                await acknowledged.more(200)
                await wait_for_batches(system, clickhouse, 3)
                await asyncio.sleep(draw.uniform(0, 0.05))
                await kill_and_keep("postgres", system.postgres)
        await assert_whole(system, acknowledged)
        assert worker.running
        assert worker.says("capture_connection_lost")
