"""One transfer of the bank in every order: events handed over whole, in part or again, the expiry and the closing of
either account at any moment. No sample: every state that can be reached is visited, some hundreds.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from support.running_project import BANK

from headrace import Command, Event, Later, Rejected
from headrace.commands.domain import Domain
from headrace.runtime.project import load_module

ID = UUID(int=1)


class World(NamedTuple):
    """Streams by name, events that are owed a reaction, events that had one, commands that may come at any moment."""

    streams: frozenset[tuple[str, tuple[Any, ...]]] = frozenset()
    owed: frozenset[Event] = frozenset()
    handed: frozenset[Event] = frozenset()
    at_any_moment: frozenset[Command] = frozenset()

    def events(self) -> list[Any]:
        return [event for _, events in self.streams for event in events]


class Rules:
    """What can happen next in a world."""

    def __init__(self) -> None:
        self.bank: ModuleType = load_module(BANK / "domain.py")
        self.transfers = load_module(BANK / "reactors.py").transfers
        self._domain = Domain.from_module(self.bank)
        self._wanted = (self.bank.TransferRequested, self.bank.TransferExpired, self.bank.TransferStep)
        self._ends = (self.bank.TransferCompleted, self.bank.TransferFailed)

    def carry_out(self, world: World, command: Command) -> World:
        streams = dict(world.streams)
        before = streams.get(command.stream(), ())
        decider = self._domain.decider(type(command))
        state = decider.state_type()
        for event in before:
            state = state.evolve(event)
        try:
            decided = tuple(decider.decide(command, state))
        except Rejected:
            return world
        streams[command.stream()] = before + decided
        owed = world.owed | {event for event in decided if isinstance(event, self._wanted)}
        return world._replace(streams=frozenset(streams.items()), owed=owed)

    def next_worlds(self, world: World) -> Iterator[World]:
        for command in world.at_any_moment:
            yield self.carry_out(world, command)
        for event in world.owed | world.handed:
            after = world
            for given in self.transfers(event):
                if isinstance(given, Later):
                    after = after._replace(at_any_moment=after.at_any_moment | {given.command})
                else:
                    after = self.carry_out(after, given)
                yield after  # killed here: it is still owed
            yield after._replace(owed=after.owed - {event}, handed=after.handed | {event})

    def check(self, world: World) -> None:
        bank, events = self.bank, world.events()
        changes = [event for event in events if isinstance(event, bank.AccountEvent)]
        count = {
            kind: sum(isinstance(event, kind) for event in events)
            for kind in (bank.AccountDebited, bank.AccountCredited, bank.AccountRefunded, *self._ends)
        }
        debited, credited, refunded, completed, failed = count.values()
        assert debited <= 1, events
        assert credited + refunded <= debited, events
        assert completed + failed <= 1, events
        assert completed <= credited, events
        paid_in = sum(event.change for event in changes if not isinstance(event, bank.TransferStep))
        on_the_way = 300 * (debited - credited - refunded)
        assert sum(event.change for event in changes) + on_the_way == paid_in, events
        if not world.owed:
            assert completed + failed == 1, events
            assert on_the_way == 0, events


@pytest.mark.parametrize("balance", [300, 299])
@pytest.mark.parametrize("target_exists", [True, False])
def test_in_every_order_money_is_conserved_and_the_transfer_ends_once(balance: int, target_exists: bool) -> None:
    rules = Rules()
    bank = rules.bank
    first = World(at_any_moment=frozenset({bank.CloseAccount(id="alice"), bank.CloseAccount(id="bob")}))
    first = rules.carry_out(first, bank.OpenAccount(id="alice", name="Alice"))
    first = rules.carry_out(first, bank.Deposit(id="alice", amount=balance))
    if target_exists:
        first = rules.carry_out(first, bank.OpenAccount(id="bob", name="Bob"))
    transfer = bank.RequestTransfer(transfer_id=ID, source="alice", target="bob", amount=300)
    first = rules.carry_out(first, transfer)
    seen, left = {first}, [first]
    while left:
        world = left.pop()
        rules.check(world)
        new = set(rules.next_worlds(world)) - seen
        seen |= new
        left += new
    assert len(seen) > 50
