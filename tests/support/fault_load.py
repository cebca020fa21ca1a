"""Load for the fault tests: writers that repeat an append under its command id until it is acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from uuid import uuid4

from support.fault_domain import Deposited
from support.fault_system import System
from support.waiting import DEADLINE_S, until

from headrace.errors import Unavailable
from headrace.event_store.append import Appended
from headrace.event_store.event_store import EventStore
from headrace.events.event import Metadata
from headrace.events.position import START, Position

WRITERS = 4
EVENTS_MAX = 8
PAUSE_S = 0.02  # some 600 events a second: load that a worker on a busy machine still keeps up with
CHUNK_EVENTS = 1000


@dataclass
class Acknowledged:
    """What the store said is durable: each event's place with its content, and the last position."""

    events: dict[tuple[str, int], Deposited] = field(default_factory=dict)
    position: Position = START

    def add(self, appended: Appended, events: list[Deposited]) -> None:
        for version, event in enumerate(events, appended.first_version):
            place = (appended.stream, version)
            assert place not in self.events, f"{place} was acknowledged twice"
            self.events[place] = event
        self.position = max(self.position, appended.position)

    async def more(self, count: int) -> None:
        """Wait until `count` more events are acknowledged."""
        goal = len(self.events) + count

        async def reached() -> bool:
            return len(self.events) >= goal

        await until(reached)


@asynccontextmanager
async def writing(system: System, acknowledged: Acknowledged, *, pause_s: float = PAUSE_S) -> AsyncIterator[None]:
    """Writers append for as long as the block runs; at its end every append is acknowledged."""
    stopping = asyncio.Event()
    async with EventStore(system.postgres.url) as store:
        writers = [asyncio.create_task(_write(store, n, acknowledged, stopping, pause_s)) for n in range(WRITERS)]
        try:
            yield
            stopping.set()
            async with asyncio.timeout(DEADLINE_S):
                await asyncio.gather(*writers)
        finally:
            for writer in writers:
                writer.cancel()
            await asyncio.gather(*writers, return_exceptions=True)


async def _write(
    store: EventStore, writer: int, acknowledged: Acknowledged, stopping: asyncio.Event, pause_s: float
) -> None:
    draw = Random(writer)
    while not stopping.is_set():
        events = some_events(draw, f"a{writer}", draw.randint(1, EVENTS_MAX))
        acknowledged.add(await append(store, f"account-a{writer}", events), events)
        await asyncio.sleep(pause_s)


async def append_many(system: System, acknowledged: Acknowledged, count: int) -> None:
    """`count` events in a few large appends."""
    draw = Random(count)
    async with EventStore(system.postgres.url) as store:
        for _ in range(0, count, CHUNK_EVENTS):
            events = some_events(draw, "old", CHUNK_EVENTS)
            acknowledged.add(await append(store, "account-old", events), events)


async def append(store: EventStore, stream: str, events: list[Deposited]) -> Appended:
    """Append once, however often PostgreSQL fails meanwhile."""
    metadata = Metadata(command_id=uuid4())
    while True:
        try:
            return await store.append(stream, events, metadata=metadata)
        except Unavailable:
            await asyncio.sleep(PAUSE_S)


def some_events(draw: Random, account: str, count: int) -> list[Deposited]:
    return [
        Deposited(account=account, amount=draw.randint(0, 1000), note=f"it's \\ {draw.randrange(50)} ü")
        for _ in range(count)
    ]
