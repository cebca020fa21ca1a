"""States from snapshots: the same as those without, whatever happened to the snapshots."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, ClassVar, Self
from uuid import uuid4

import msgspec
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace import Command, decider
from headrace.commands.decider import Decider, find_decider
from headrace.commands.dispatch import Dispatcher
from headrace.commands.domain import Domain
from headrace.commands.load import Loaded, StateLoader
from headrace.event_store.event_store import EventStore
from headrace.events.event import Event


class Add(Command, stream="sum-{name}"):
    name: str
    amounts: list[int]


class Added(Event):
    amount: int


class Sum(msgspec.Struct, frozen=True):
    snapshot_every_events: ClassVar[int] = 5

    total: int = 0
    history: tuple[int, ...] = ()

    def evolve(self, event: Added) -> Self:
        return type(self)(self.total + event.amount, (*self.history, event.amount))


@decider(Add)
def add(command: Add, state: Sum) -> Iterable[Event]:
    return [Added(amount=amount) for amount in command.amounts]


FOUND = find_decider(add)
assert FOUND is not None
DECIDER: Decider = FOUND
DOMAIN = Domain(events=[Added], commands=[Add], deciders=[DECIDER])


async def load(store: EventStore, stream: str = "sum-a") -> Loaded:
    """By a process that remembers nothing."""
    return await StateLoader(store=store, events=DOMAIN.events).load(stream, DECIDER, fresh=True)


async def saved(url: str) -> list[Any]:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        return await (await connection.execute("SELECT stream, version FROM headrace.snapshots")).fetchall()


async def execute(url: str, statement: str) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(statement.encode())


async def add_many(store: EventStore, url: str, count: int) -> None:
    """One command an event, and then all snapshots that were due are there."""
    dispatcher = Dispatcher(store=store, domain=DOMAIN)
    for amount in range(1, count + 1):
        await dispatcher.dispatch(Add(name="a", amounts=[amount]))
    async with asyncio.timeout(10):
        while count >= 5 and (await saved(url)) != [("sum-a", count // 5 * 5)]:  # noqa: ASYNC110  saved beside the command
            await asyncio.sleep(0.01)


async def test_a_state_is_saved_by_its_policy_and_loaded_from_there(store: EventStore, url: str) -> None:
    await add_many(store, url, 12)
    loaded = await load(store)
    assert (loaded.state, loaded.version, loaded.saved_version) == (Sum(78, tuple(range(1, 13))), 12, 10)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_with_and_without_snapshots_agree(store: EventStore, url: str, data: st.DataObject) -> None:
    name = uuid4().hex  # all examples share the store, and a drawn name can be drawn again
    dispatchers = [Dispatcher(store=store, domain=DOMAIN) for _ in range(2)]
    expected: list[int] = []
    for amounts in data.draw(st.lists(st.lists(st.integers(-9, 9), max_size=7), max_size=12)):
        dispatcher = data.draw(st.sampled_from(dispatchers))
        await dispatcher.dispatch(Add(name=name, amounts=amounts))
        expected += amounts
        if data.draw(st.booleans()):
            stream = f"sum-{name}"
            loaded = await load(store, stream)
            folded = Sum()
            async for event in store.read_stream(stream):
                folded = folded.evolve(msgspec.json.decode(event.data, type=Added))
            assert loaded.state == folded
            assert folded.history[-len(expected) :] == tuple(expected[-len(folded.history) :])


@pytest.mark.parametrize(
    "harm",
    [
        "UPDATE headrace.snapshots SET data = 'nonsense'",
        "UPDATE headrace.snapshots SET data = substr(data, 1, 20)",
        "UPDATE headrace.snapshots SET data = set_byte(data, 30, 57)",
        "UPDATE headrace.snapshots SET version = 11",
        "UPDATE headrace.snapshots SET version = 99",
        "UPDATE headrace.snapshots SET fingerprint = fingerprint + 1",
        "DELETE FROM headrace.snapshots",
    ],
)
async def test_a_snapshot_that_is_not_right_is_passed_over(store: EventStore, url: str, harm: str) -> None:
    await add_many(store, url, 12)
    await execute(url, harm)
    loaded = await load(store)
    assert (loaded.state, loaded.version) == (Sum(78, tuple(range(1, 13))), 12)
    await Dispatcher(store=store, domain=DOMAIN).dispatch(Add(name="a", amounts=[13]))


async def test_a_snapshot_of_a_future_that_was_lost_is_passed_over(store: EventStore, url: str) -> None:
    """PostgreSQL restored from an older backup, and the snapshots from a newer one."""
    await add_many(store, url, 10)
    await execute(url, "ALTER TABLE headrace.events DISABLE TRIGGER append_only")
    await execute(url, "DELETE FROM headrace.events WHERE version > 7")
    assert (await load(store)).version == 7
    appended = await Dispatcher(store=store, domain=DOMAIN).dispatch(Add(name="a", amounts=[1]))
    assert appended.version == 8
