"""Both databases are away for a while: everything waits, says so, and goes on by itself."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from support.fault_load import Acknowledged, writing
from support.fault_proof import assert_whole, wait_until_ready
from support.fault_system import TIMEOUT_S, Process, free_port, running_system
from support.waiting import ROUNDS, until

COMMAND = {"account": "b", "amount": 20}


@pytest.mark.timeout(TIMEOUT_S)
async def test_everything_waits_says_so_and_catches_up() -> None:
    acknowledged = Acknowledged()
    port = free_port()
    async with running_system() as system, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
        worker, api = await system.worker(), await system.api(port)
        await until(lambda: _answers(http, "/readyz", 200))
        for number in range(ROUNDS):
            async with writing(system, acknowledged):
                await acknowledged.more(500)
            await wait_until_ready(system, await system.connect())
            await asyncio.gather(system.postgres.stop(), system.clickhouse_server.stop())
            await until(lambda: _waits(worker, number + 1))  # noqa: B023, awaited at once
            await _assert_says_what_is_away(http)
            await asyncio.gather(system.postgres.start(), system.clickhouse_server.start())
            await until(lambda: _answers(http, "/readyz", 200))
        refused = await http.post("/commands/Deposit", json=COMMAND, headers={"X-Headrace-Expected-Version": "1"})
        assert refused.status_code == 409, "nothing was written while PostgreSQL was away"
        await assert_whole(system, acknowledged)
        assert worker.running
        assert api.running


async def _assert_says_what_is_away(http: httpx.AsyncClient) -> None:
    command = await http.post("/commands/Deposit", json=COMMAND)
    assert command.status_code == 503, command.text
    assert command.json()["error"] == "Unavailable"
    assert "PostgreSQL" in command.json()["message"]
    assert command.json()["hint"]
    ready = await http.get("/readyz")
    assert ready.status_code == 503
    problems = " ".join(ready.json()["problems"])
    assert "PostgreSQL" in problems
    assert "ClickHouse" in problems
    assert (await http.get("/healthz")).status_code == 200


async def _answers(http: httpx.AsyncClient, path: str, status: int) -> bool:
    try:
        return (await http.get(path)).status_code == status
    except httpx.TransportError:
        return False


async def _waits(worker: Process, times: int) -> bool:
    """It says that it waits for each of the two."""
    clickhouse = worker.says("heartbeat_waits") + worker.says("load_waits") + worker.says("read_models_wait")
    return clickhouse >= times and worker.says("capture_connection_lost") >= times
