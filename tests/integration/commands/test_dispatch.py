"""Dispatching: deciding again after a conflict, remembered states, and commands racing over one stream."""

from __future__ import annotations

import asyncio
from types import ModuleType
from uuid import uuid4

import pytest

from headrace.commands import load
from headrace.commands.dispatch import Dispatcher
from headrace.commands.domain import Domain
from headrace.errors import Conflict, Rejected
from headrace.event_store import read
from headrace.event_store.append import Appended
from headrace.event_store.event_store import EventStore
from headrace.events.event import Metadata


async def balance(store: EventStore, domain: Domain, stream: str) -> int:
    total = 0
    async for stored in store.read_stream(stream):
        event = domain.events.decode(stored)
        total += getattr(event, "amount") * (1 if stored.type == "Deposited" else -1)  # noqa: B009
    return total


async def test_racing_withdrawals_never_overdraw(
    store: EventStore, url: str, domain: Domain, ledger: ModuleType
) -> None:
    """Two processes, each with its own remembered states, and more withdrawals than there is money."""
    async with EventStore(url) as other_store:
        dispatchers = [Dispatcher(store=one, domain=domain) for one in (store, other_store)]
        await dispatchers[0].dispatch(ledger.Deposit(account_id="a", amount=10))
        outcomes = await asyncio.gather(
            *(dispatchers[n % 2].dispatch(ledger.Withdraw(account_id="a", amount=3)) for n in range(8)),
            return_exceptions=True,
        )
    assert sum(isinstance(outcome, Appended) for outcome in outcomes) <= 3
    assert all(isinstance(outcome, Appended | Rejected | Conflict) for outcome in outcomes)
    assert await balance(store, domain, "account-a") in (1, 4, 7)


async def test_a_remembered_state_that_is_behind_refuses_nothing(
    store: EventStore, url: str, domain: Domain, ledger: ModuleType
) -> None:
    async with EventStore(url) as other_store:
        here, there = (Dispatcher(store=one, domain=domain) for one in (store, other_store))
        await here.dispatch(ledger.Deposit(account_id="a", amount=1))
        await there.dispatch(ledger.Deposit(account_id="a", amount=9))
        assert (await here.dispatch(ledger.Withdraw(account_id="a", amount=10))).version == 3


async def test_a_command_that_changes_nothing_is_checked_against_the_present_version(
    store: EventStore, url: str, domain: Domain, ledger: ModuleType
) -> None:
    async with EventStore(url) as other_store:
        here, there = (Dispatcher(store=one, domain=domain) for one in (store, other_store))
        await here.dispatch(ledger.Deposit(account_id="a", amount=1))
        await there.dispatch(ledger.Deposit(account_id="a", amount=9))
        assert (await here.dispatch(ledger.Touch(account_id="a"))).version == 2


async def test_a_repetition_of_a_command_without_events_is_answered_alike(
    store: EventStore, domain: Domain, ledger: ModuleType
) -> None:
    dispatcher = Dispatcher(store=store, domain=domain)
    metadata = Metadata(command_id=uuid4())
    first = await dispatcher.dispatch(ledger.Touch(account_id="a"), metadata=metadata)
    await dispatcher.dispatch(ledger.Deposit(account_id="a", amount=1))
    again = await dispatcher.dispatch(ledger.Touch(account_id="a"), metadata=metadata)
    assert (first.version, again.version, again.duplicate) == (0, 0, True)


async def test_long_streams_are_folded_over_pages(
    store: EventStore, domain: Domain, ledger: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (read, load):
        monkeypatch.setattr(module, "PAGE_ROWS_MAX", 4)
    await store.append("account-a", [ledger.Deposited(amount=1) for _ in range(11)])
    dispatcher = Dispatcher(store=store, domain=domain)
    with pytest.raises(Rejected, match="Not enough"):
        await dispatcher.dispatch(ledger.Withdraw(account_id="a", amount=12))
    assert (await dispatcher.dispatch(ledger.Withdraw(account_id="a", amount=11))).version == 12


async def test_forgotten_states_are_loaded_again(
    store: EventStore, domain: Domain, ledger: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "REMEMBERED_EVENTS_MAX", 5)
    dispatcher = Dispatcher(store=store, domain=domain)
    for n in range(12):
        await dispatcher.dispatch(ledger.Deposit(account_id=f"a-{n % 4}", amount=1))
    for n in range(4):
        assert (await dispatcher.dispatch(ledger.Withdraw(account_id=f"a-{n}", amount=3))).version == 4


async def test_many_new_streams_at_once_are_loaded_and_appended_together(
    store: EventStore, domain: Domain, ledger: ModuleType
) -> None:
    dispatcher = Dispatcher(store=store, domain=domain)
    commands = [ledger.Deposit(account_id=f"a-{n}", amount=1) for n in range(600)]
    results = await asyncio.gather(*(dispatcher.dispatch(command) for command in commands))
    assert {result.version for result in results} == {1}
