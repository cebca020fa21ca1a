"""Reactors at work: commands that happen once, order per key, refusals, hangs, poison, scheduled commands."""

from __future__ import annotations

from collections.abc import Iterable

from support.reacting import caught_up, events_of, numbers_of, reacting, until
from support.reactor_domain import Copy, Written

from headrace import Command, reactor
from headrace.event_store.event_store import EventStore


async def write(store: EventStore, topic: str, *numbers: int) -> None:
    await store.append(f"notes-{topic}", [Written(topic=topic, number=number) for number in numbers])


async def test_commands_happen_in_order_once_and_name_their_cause(store: EventStore, url: str) -> None:
    @reactor("copies")
    def copies(event: Written) -> Iterable[Command]:
        yield Copy(topic=event.topic, number=event.number)

    await write(store, "a", *range(50))
    async with reacting(url, copies):
        await write(store, "a", *range(50, 100))
        await caught_up(store, "copies")
    assert await numbers_of(store, "copy-a") == list(range(100))
    first = (await events_of(store, "copy-a"))[0].metadata
    assert (first.actor, first.command, first.causation_id, first.correlation_id) == (
        "reactor copies",
        "Copy",
        "notes-a@1",
        "notes-a@1",
    )


async def test_after_a_reset_everything_is_handled_again_and_no_command_happens_twice(
    store: EventStore, url: str
) -> None:
    seen: list[int] = []

    @reactor("copies")
    def copies(event: Written) -> Iterable[Command]:
        seen.append(event.number)
        yield Copy(topic=event.topic, number=event.number)

    await write(store, "a", 1, 2, 3)
    async with reacting(url, copies):
        await caught_up(store, "copies")
        await store.subscriptions.reset("copies")

        async def seen_again() -> bool:
            return len(seen) >= 6

        await until(seen_again)
        await caught_up(store, "copies")
    assert seen == [1, 2, 3, 1, 2, 3]
    assert await numbers_of(store, "copy-a") == [1, 2, 3]
