"""Reactors at work inside a test, and what to wait for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence, Sized
from contextlib import asynccontextmanager
from functools import partial
from types import ModuleType

from support import reactor_domain, waiting
from support.reactor_domain import Written

from headrace.commands.domain import Domain
from headrace.event_store.event_store import EventStore
from headrace.events.event import StoredEvent
from headrace.runtime.reactor import react
from headrace.subscriptions.reactor import Reactor, find_reactors

DEADLINE_S = 30.0
until = partial(waiting.until, deadline_s=DEADLINE_S)
DOMAIN = Domain.from_module(reactor_domain)


def reactors_of(*functions: Callable[..., object]) -> list[Reactor]:
    """Marked functions, as those of a module."""
    module = ModuleType("reactors")
    vars(module).update({f"function_{number}": function for number, function in enumerate(functions)})
    return find_reactors([module], DOMAIN.events)


@asynccontextmanager
async def reacting(url: str, *functions: Callable[..., object]) -> AsyncIterator[None]:
    """These reactors run for as long as the block does, as in a process of their own. What ends them is raised."""
    async with EventStore(url) as store:
        running = asyncio.create_task(react(reactors_of(*functions), DOMAIN, url, store))
        try:
            yield
            assert not running.done(), "reactors run until they are stopped"
        finally:
            if not running.done():
                running.cancel()
            await asyncio.wait([running])
            if not running.cancelled() and (error := running.exception()) is not None:
                raise error


def has(found: Sized, count: int) -> Callable[[], Awaitable[bool]]:
    """The condition that so many have come."""

    async def reached() -> bool:
        return len(found) >= count

    return reached


async def write(store: EventStore, topic: str, *numbers: int) -> None:
    """Notes of one topic, in a stream of their own."""
    await store.append(f"notes-{topic}", [Written(topic=topic, number=number) for number in numbers])


async def events_of(store: EventStore, stream: str) -> list[StoredEvent]:
    return [event async for event in store.read_stream(stream)]


async def numbers_of(store: EventStore, stream: str) -> list[int]:
    """The numbers of a stream's notes, in order."""
    return [getattr(DOMAIN.events.decode(event), "number") for event in await events_of(store, stream)]  # noqa: B009


async def caught_up(store: EventStore, name: str, types: Sequence[str] | None = ("Written",)) -> None:
    """Wait until every event of these types is handled or set aside, and that is saved."""

    async def done() -> bool:
        states = {state.name: state for state in await store.subscriptions.read()}
        return name in states and await store.subscriptions.count_new(states[name].checkpoint, types) == 0

    await until(done)
