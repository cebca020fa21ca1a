"""The bank's reactor and its API are killed under transfers that expire all the while: no money is lost or made."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest
from support.fault_proof import wait_until_ready
from support.fault_system import TIMEOUT_S, free_port, running_system
from support.running_project import BANK
from support.waiting import DEADLINE_S, ROUNDS, until

KILLS = 5 * ROUNDS
CLIENTS = 4
ACCOUNTS = ("alice", "bob", "carol", "dave")
TARGETS = (*ACCOUNTS, "nobody", "gone")  # the first was never opened, the second is closed
DEPOSIT = 10_000
ENDS = ("TransferCompleted", "TransferFailed")


@pytest.mark.timeout(TIMEOUT_S)
async def test_no_money_is_lost_or_made_and_every_transfer_ends_whenever_the_reactor_and_the_api_die() -> None:
    draw, port = Random(50), free_port()
    async with (
        running_system(project_files()) as system,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http,
    ):
        await system.worker()
        await wait_until_ready(system, await system.connect())
        api, reactor = await system.api(port), await system.reactor()
        await open_accounts(http)
        async with await psycopg.AsyncConnection.connect(system.postgres.url, autocommit=True) as connection:
            bank = Ledger(connection)
            async with transferring(http) as requested:
                for kill in range(KILLS):
                    await bank.more_steps(draw.randint(1, 40))
                    await reactor.kill()
                    if kill % 3 == 2:
                        await api.kill()
                        api = await system.api(port)
                    reactor = await system.reactor()
                await bank.more_steps(40)
            await bank.all_ended()
            await bank.check(requested)
        assert reactor.running
        await check_read_side(http)


def project_files() -> dict[str, str]:
    """The example, with a patience that is about as long as a transfer takes here."""
    files = {str(path.relative_to(BANK)): path.read_text() for path in [*BANK.glob("*.py"), *BANK.glob("*/*.sql")]}
    patience = "PATIENCE = timedelta(minutes=5)"
    assert patience in files["reactors.py"]
    files["reactors.py"] = files["reactors.py"].replace(patience, "PATIENCE = timedelta(milliseconds=100)")
    return files


async def send(http: httpx.AsyncClient, command: str, key: str, **body: Any) -> dict[str, Any]:
    """Send until it is answered: a client cannot know whether a request without an answer happened."""
    while True:
        try:
            answer = await http.post(f"/commands/{command}", json=body, headers={"Idempotency-Key": key})
        except httpx.TransportError:
            await asyncio.sleep(0.05)
            continue
        assert answer.status_code in (201, 409, 503), answer.text
        if answer.status_code == 201:
            found: dict[str, Any] = answer.json()
            return found


async def open_accounts(http: httpx.AsyncClient) -> None:
    for id in (*ACCOUNTS, "gone"):
        await send(http, "OpenAccount", id, id=id, name=id.capitalize())
    for id in ACCOUNTS:
        await send(http, "Deposit", id, id=id, amount=DEPOSIT)
    await send(http, "CloseAccount", "gone", id="gone")


@asynccontextmanager
async def transferring(http: httpx.AsyncClient) -> AsyncIterator[set[UUID]]:
    """Clients request transfers for as long as the block runs; at its end each request is answered."""
    requested: set[UUID] = set()
    stopping = asyncio.Event()
    clients = [asyncio.create_task(request_transfers(http, number, requested, stopping)) for number in range(CLIENTS)]
    try:
        yield requested
        stopping.set()
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.gather(*clients)
    finally:
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)


async def request_transfers(http: httpx.AsyncClient, seed: int, requested: set[UUID], stopping: asyncio.Event) -> None:
    draw = Random(seed)
    while not stopping.is_set():
        id, source = UUID(int=draw.getrandbits(128)), draw.choice(ACCOUNTS)
        target = draw.choice([account for account in TARGETS if account != source])
        amount = draw.randint(1, DEPOSIT // 2)
        await send(http, "RequestTransfer", str(id), transfer_id=str(id), source=source, target=target, amount=amount)
        requested.add(id)
        await asyncio.sleep(0.1)  # some thirty transfers a second: load that two busy cores keep up with


@dataclass
class Ledger:
    """What the event store holds."""

    connection: psycopg.AsyncConnection[Any]

    async def rows(self, statement: str) -> list[tuple[Any, ...]]:
        return await (await self.connection.execute(statement.encode())).fetchall()

    async def more_steps(self, count: int) -> None:
        """Wait until accounts have answered `count` more times: only a reactor that lives makes them."""
        goal: int | None = None

        async def reached() -> bool:
            nonlocal goal
            ((steps,),) = await self.rows("SELECT count(*) FROM headrace.events WHERE data ? 'counterparty'")
            goal = steps + count if goal is None else goal
            return bool(steps >= goal)

        await until(reached)

    async def all_ended(self) -> None:
        async def ended() -> bool:
            ((open,),) = await self.rows(
                "SELECT count(*) FILTER (WHERE type = 'TransferRequested')"
                " - count(*) FILTER (WHERE type IN ('TransferCompleted', 'TransferFailed')) FROM headrace.events"
            )
            return bool(open == 0)

        await until(ended)

    async def check(self, requested: set[UUID]) -> None:
        """Every request is one transfer; each ended once, and took money at most once, which arrived or came back."""
        transfers: dict[UUID, Counter[str]] = {}
        for id, kind in await self.rows(
            "SELECT (data ->> 'transfer_id')::uuid, type FROM headrace.events WHERE data ? 'transfer_id'"
        ):
            transfers.setdefault(id, Counter())[kind] += 1
        assert set(transfers) == requested
        for id, kinds in transfers.items():
            assert kinds["TransferRequested"] == 1, (id, kinds)
            assert sum(kinds[end] for end in ENDS) == 1, (id, kinds)
            assert kinds["AccountDebited"] <= 1, (id, kinds)
            assert kinds["AccountCredited"] == kinds["TransferCompleted"], (id, kinds)
            assert kinds["AccountCredited"] + kinds["AccountRefunded"] == kinds["AccountDebited"], (id, kinds)
        balances = dict(
            await self.rows(
                "SELECT data ->> 'id', sum(coalesce((data ->> 'change')::bigint, 0))::bigint"
                " FROM headrace.events WHERE stream LIKE 'account-%' GROUP BY 1"
            )
        )
        assert min(balances.values()) >= 0
        assert sum(balances.values()) == DEPOSIT * len(ACCOUNTS)
        seen = Counter(kind for kinds in transfers.values() for kind in kinds)
        assert all(seen[kind] for kind in (*ENDS, "TransferExpired", "AccountRefunded")), f"too tame: {seen}"


async def check_read_side(http: httpx.AsyncClient) -> None:
    """The read side says the same as the events."""
    position = (await send(http, "OpenAccount", "last", id="last", name="Last"))["position"]

    async def loaded() -> bool:
        answer = await http.get("/queries/total_money", params={"min_position": position})
        assert answer.status_code in (200, 503, 504), answer.text
        if answer.status_code != 200:
            return False
        (total,) = answer.json()["data"]
        return bool(total == {"paid_in": DEPOSIT * 4, "in_accounts": DEPOSIT * 4, "on_the_way": 0})

    await until(loaded)
