"""Remembered states of people: what personal fields said does not stay in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Self

import msgspec
import pytest

from headrace.commands import load
from headrace.commands.decider import Decider, decider, find_decider
from headrace.commands.load import StateLoader
from headrace.event_store.event_store import EventStore
from headrace.events.command import Command
from headrace.events.event import Event
from headrace.events.event_types import EventTypes
from headrace.events.personal import Personal

DEADLINE_S = 20.0


class Register(Command, stream="customer-{who}"):
    who: str
    name: str


class Registered(Event, subject="{who}"):
    who: str
    name: Personal[str]


class Noted(Event):
    text: str = ""


class Customer(msgspec.Struct, frozen=True):
    name: str = ""

    def evolve(self, event: Registered | Noted) -> Self:
        return type(self)(event.name) if isinstance(event, Registered) else self


@decider(Register)
def register(command: Register, customer: Customer) -> Iterable[Event]:
    yield Registered(who=command.who, name=command.name)


@pytest.fixture
def loader(store: EventStore) -> StateLoader:
    return StateLoader(store=store, events=EventTypes([Registered, Noted]))


@pytest.fixture
def registering() -> Decider:
    found = find_decider(register)
    assert found is not None
    return found


async def test_a_state_with_personal_fields_is_folded_again_after_its_lifetime(
    store: EventStore, loader: StateLoader, registering: Decider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "PERSONAL_LIFETIME_S", 1.0)
    await store.append("customer-ada", [Registered(who="ada", name="Ada")])
    assert (await loader.load("customer-ada", registering, fresh=False)).state == Customer("Ada")
    await store.forget("ada")
    async with asyncio.timeout(DEADLINE_S):
        while True:  # events that come in meanwhile do not prolong it
            appended = await store.append("customer-ada", [Noted()])
            loaded = await loader.load("customer-ada", registering, fresh=True)
            assert loaded.version == appended.version
            if loaded.state == Customer("[forgotten]"):
                return
            assert loaded.state == Customer("Ada")


async def test_a_state_that_is_not_asked_for_again_is_dropped_too(
    store: EventStore, loader: StateLoader, registering: Decider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "PERSONAL_LIFETIME_S", 0.1)
    event = Registered(who="ada", name="Ada")
    loaded = await loader.load("customer-ada", registering, fresh=False)
    loader.advance("customer-ada", registering, loaded, [event])
    assert (await loader.load("customer-ada", registering, fresh=False)).state == Customer("Ada")
    async with asyncio.timeout(DEADLINE_S):
        while True:
            if not (await loader.load("customer-ada", registering, fresh=False)).remembered:
                return
            await asyncio.sleep(0.01)


async def test_states_without_personal_fields_are_kept(
    store: EventStore, loader: StateLoader, registering: Decider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "PERSONAL_LIFETIME_S", 0.0)
    await store.append("notes", [Noted()])
    await loader.load("notes", registering, fresh=False)
    assert (await loader.load("notes", registering, fresh=False)).remembered
    await store.append("customer-ada", [Registered(who="ada", name="Ada")])
    await loader.load("customer-ada", registering, fresh=False)
    assert not (await loader.load("customer-ada", registering, fresh=False)).remembered
