"""Reactors at work: commands that happen once, order per key, refusals, commands for later, loss of the database."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from uuid import uuid4

import psycopg
from support.reacting import caught_up, events_of, has, numbers_of, reacting, until, write
from support.reactor_domain import Copy, Written

from headrace import Command, Later, StoredEvent, reactor
from headrace.event_store.event_store import EventStore
from headrace.events.event import Metadata


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
    assert (first.actor, first.command) == ("reactor copies", "Copy")
    assert (first.causation_id, first.correlation_id) == ("notes-a@1", "notes-a@1")


async def test_after_a_reset_every_event_is_handled_again_and_no_command_happens_twice(
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
        await until(has(seen, 6))
        await caught_up(store, "copies")
    assert seen == [1, 2, 3, 1, 2, 3]
    assert await numbers_of(store, "copy-a") == [1, 2, 3]


async def test_a_command_that_the_domain_refuses_is_no_failure(store: EventStore, url: str) -> None:
    @reactor("copies")
    def copies(event: Written) -> Iterable[Command]:
        yield Copy(topic="a", number=event.number, refuse=event.number == 2)

    await write(store, "a", 1, 2, 3)
    async with reacting(url, copies):
        await caught_up(store, "copies")
    assert await numbers_of(store, "copy-a") == [1, 3]
    assert await store.subscriptions.letters() == []


async def test_events_of_one_key_come_in_order_and_of_different_keys_at_the_same_time(
    store: EventStore, url: str
) -> None:
    together, seen = asyncio.Barrier(8), list[tuple[str, int]]()

    @reactor("meeting", key="topic")
    async def meeting(event: Written, at: StoredEvent) -> None:
        if event.number == 0:
            await together.wait()
        assert at.stream == f"notes-{event.topic}"
        seen.append((event.topic, event.number))

    topics = "abcdefgh"
    for topic in topics:
        await write(store, topic, 0, 1, 2, 3)
    async with reacting(url, meeting):
        await caught_up(store, "meeting")
    for topic in topics:
        assert [number for each, number in seen if each == topic] == [0, 1, 2, 3]


async def test_a_slow_key_keeps_the_checkpoint_and_lets_the_others_run_ahead(store: EventStore, url: str) -> None:
    seen: list[str] = []
    never = asyncio.Event()

    @reactor("effects")
    async def stuck(event: Written) -> None:
        if event.topic == "slow":
            await never.wait()
        seen.append(event.topic)

    @reactor("effects")
    async def well_again(event: Written) -> None:
        seen.append(event.topic)

    await write(store, "slow", 1)
    async with reacting(url, stuck):
        for number in range(30):
            await write(store, f"fast-{number}", 1)
        await until(has(seen, 30))
    assert (await store.subscriptions.count_new((await store.subscriptions.read())[0].checkpoint, None)) == 31
    async with reacting(url, well_again):
        await caught_up(store, "effects")
    assert "slow" in seen
    assert len(set(seen)) == 31


async def test_a_paused_reactor_takes_up_nothing_until_it_is_resumed(store: EventStore, url: str) -> None:
    seen: list[int] = []

    @reactor("effects")
    async def effects(event: Written) -> None:
        seen.append(event.number)

    async with reacting(url, effects):
        await write(store, "a", 1)
        await caught_up(store, "effects")
        await store.subscriptions.set_state("effects", "paused")
        async with reacting(url, effects):  # waits for the first
            await write(store, "a", 2)
            assert (await store.subscriptions.read())[0].state == "paused"
    async with reacting(url, effects):
        assert seen == [1]
        await store.subscriptions.set_state("effects", "active")
        await caught_up(store, "effects")
    assert seen == [1, 2]


async def test_a_second_process_takes_over_when_the_first_one_ends(store: EventStore, url: str) -> None:
    handled_by: list[str] = []

    @reactor("effects")
    async def first(event: Written) -> None:
        handled_by.append("first")

    @reactor("effects")
    async def second(event: Written) -> None:
        handled_by.append("second")

    async with reacting(url, first):
        await write(store, "a", 1)
        await caught_up(store, "effects")
        async with asyncio.TaskGroup() as group:
            stop = asyncio.Event()

            async def run_second() -> None:
                async with reacting(url, second):
                    await stop.wait()

            group.create_task(run_second())
            await write(store, "a", 2)
            await caught_up(store, "effects")
            assert handled_by == ["first", "first"]
            async with await psycopg.AsyncConnection.connect(url, autocommit=True) as killer:
                await killer.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
                )
            await write(store, "a", 3, 4)
            await caught_up(store, "effects")
            stop.set()
    assert len(handled_by) >= 4


async def test_lost_connections_are_made_again_and_nothing_is_skipped_or_doubled(store: EventStore, url: str) -> None:
    @reactor("copies")
    def copies(event: Written) -> Iterable[Command]:
        yield Copy(topic=event.topic, number=event.number)

    async with reacting(url, copies), await psycopg.AsyncConnection.connect(url, autocommit=True) as killer:
        for number in range(60):
            await write(store, f"{number % 7}", number)
            if number % 20 == 10:
                await killer.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
                )
        await caught_up(store, "copies")
    for topic in range(7):
        assert await numbers_of(store, f"copy-{topic}") == [n for n in range(60) if n % 7 == topic]


async def test_a_command_for_later_happens_once_when_its_time_has_come(store: EventStore, url: str) -> None:
    @reactor("reminders")
    def reminders(event: Written) -> Iterable[Command | Later]:
        yield Later(Copy(topic="soon", number=event.number), after=timedelta(milliseconds=50))
        yield Later(Copy(topic="far", number=event.number), after=timedelta(days=300))

    await write(store, "a", 1, 2)
    async with reacting(url, reminders):
        await caught_up(store, "reminders")

        async def both() -> bool:
            return len(await numbers_of(store, "copy-soon")) == 2

        await until(both)
        await store.subscriptions.reset("reminders")
        await caught_up(store, "reminders")

        async def only_far() -> bool:
            return (await store.subscriptions.read())[0].scheduled == 2

        await until(only_far)
    assert sorted(await numbers_of(store, "copy-soon")) == [1, 2]
    assert await numbers_of(store, "copy-far") == []


async def test_a_command_that_a_dying_process_had_taken_is_due_again(store: EventStore, url: str) -> None:
    """The process is gone between taking and carrying out: its lease ends, and another one carries the command out."""
    command_id = uuid4()
    metadata, data = Metadata(command_id=command_id), b'{"topic": "a", "number": 7}'
    await store.scheduled_commands.add("reminders", "Copy", data, metadata, timedelta(0))
    (taken,) = await store.scheduled_commands.take_due(timedelta(milliseconds=300))
    assert taken.command_id == command_id
    assert await store.scheduled_commands.take_due(timedelta(0)) == []
    async with reacting(url):

        async def carried_out() -> bool:
            return await numbers_of(store, "copy-a") == [7]

        await until(carried_out)


async def test_reactions_that_meet_in_one_stream_wait_for_their_turn_and_none_is_set_aside(
    store: EventStore, url: str
) -> None:
    """Transfers into one account once became dead letters: a stream that many append to is not the event's fault."""

    @reactor("meeting", key="number")
    def meeting(event: Written) -> Iterable[Command]:
        yield Copy(topic="one", number=event.number)

    await write(store, "a", *range(1000))
    async with reacting(url, meeting):
        await caught_up(store, "meeting")
    assert await store.subscriptions.letters("meeting") == []
    assert sorted(await numbers_of(store, "copy-one")) == list(range(1000))
