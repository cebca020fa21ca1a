"""ClickHouse is killed in the middle of inserts, while the worker goes on and while nothing runs."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from support.fault_load import Acknowledged, writing
from support.fault_proof import assert_whole, wait_for_batches, wait_until_ready
from support.fault_system import TIMEOUT_S, kill_and_keep, running_system
from support.waiting import ROUNDS

INSERT_MAX_S = 0.05
START_MAX_S = 3.0


@pytest.mark.timeout(TIMEOUT_S)
async def test_killed_under_load_it_comes_back_with_every_event_once() -> None:
    acknowledged = Acknowledged()
    draw = Random(4)
    async with running_system() as system:
        clickhouse = await system.connect()
        worker = await system.worker()
        async with writing(system, acknowledged):
            await acknowledged.more(100)
            await wait_until_ready(system, clickhouse)
            for _ in range(ROUNDS * 2):
                await wait_for_batches(system, clickhouse, 3)
                await asyncio.sleep(draw.uniform(0, INSERT_MAX_S))  # anywhere in a batch
                await kill_and_keep("clickhouse", system.clickhouse_server)
            await wait_for_batches(system, clickhouse, 3)
        await assert_whole(system, acknowledged)
        assert worker.running
        assert worker.says("load_waits") + worker.says("heartbeat_waits")


@pytest.mark.timeout(TIMEOUT_S)
async def test_killed_while_the_worker_starts_together_with_it_and_while_nothing_runs() -> None:
    acknowledged = Acknowledged()
    draw = Random(5)
    async with running_system() as system:
        clickhouse = await system.connect()
        async with writing(system, acknowledged):
            for _ in range(ROUNDS):
                worker = await system.worker()
                await asyncio.sleep(draw.uniform(0, START_MAX_S))  # while it starts: it must wait, not end
                await kill_and_keep("clickhouse", system.clickhouse_server)
                await acknowledged.more(100)
                await wait_until_ready(system, clickhouse)
                await wait_for_batches(system, clickhouse, 3)
                await asyncio.sleep(draw.uniform(0, INSERT_MAX_S))
                await asyncio.gather(kill_and_keep("clickhouse", system.clickhouse_server), worker.kill())
                await kill_and_keep("clickhouse", system.clickhouse_server)
        await system.worker()
        await assert_whole(system, acknowledged)
