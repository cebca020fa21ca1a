"""The API is killed under commands; clients repeat them under the same Idempotency-Key until they are answered."""

from __future__ import annotations

import asyncio
from random import Random

import httpx
import msgspec
import pytest
from support.fault_domain import Deposited
from support.fault_load import Acknowledged
from support.fault_proof import assert_whole
from support.fault_system import TIMEOUT_S, free_port, running_system
from support.waiting import DEADLINE_S, ROUNDS

from headrace.event_store.append import Appended
from headrace.events.position import Position
from headrace.http.commands import Answer

CLIENTS = 16
ACCOUNTS = 4  # fewer than clients, so that commands meet in a stream


@pytest.mark.timeout(TIMEOUT_S)
async def test_each_command_happens_once_however_often_the_api_dies() -> None:
    acknowledged, stopping, draw = Acknowledged(), asyncio.Event(), Random(7)
    port = free_port()
    async with running_system() as system, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
        await system.worker()
        api = await system.api(port)
        clients = [asyncio.create_task(_send_commands(http, n, acknowledged, stopping)) for n in range(CLIENTS)]
        try:
            for _ in range(ROUNDS * 2):
                await acknowledged.more(draw.randint(100, 300))
                await api.kill()
                api = await system.api(port)
            await acknowledged.more(100)
            stopping.set()
            async with asyncio.timeout(DEADLINE_S):
                await asyncio.gather(*clients)
        finally:
            for client in clients:
                client.cancel()
            await asyncio.gather(*clients, return_exceptions=True)
        await assert_whole(system, acknowledged)


async def _send_commands(
    http: httpx.AsyncClient, client: int, acknowledged: Acknowledged, stopping: asyncio.Event
) -> None:
    account, number = f"a{client % ACCOUNTS}", 0
    while not stopping.is_set():
        number += 1
        note = f"{client}-{number}"
        body = {"account": account, "amount": number, "note": note}
        answer = await _send(http, body, note)
        appended = Appended(answer.stream, answer.version, answer.version - 1, Position.parse(answer.position), ())
        parts = [Deposited(account=account, amount=number, note=f"{note}:{part}") for part in ("first", "second")]
        acknowledged.add(appended, parts)


async def _send(http: httpx.AsyncClient, body: dict[str, object], key: str) -> Answer:
    """Send until it is answered: a client cannot know whether a request without an answer happened."""
    while True:
        try:
            answer = await http.post("/commands/Deposit", json=body, headers={"Idempotency-Key": key})
        except httpx.TransportError:
            await asyncio.sleep(0.05)
            continue
        assert answer.status_code in (201, 409, 503), answer.text
        if answer.status_code == 201:
            return msgspec.json.decode(answer.content, type=Answer)
