"""The bank's transfers in any order: events handed over late, again and in part, expiry at any moment, accounts opened
and closed in between. Money is conserved at every step, and every transfer ends once.

Only the deciders and the reactor of examples/bank run here. What is played is what the reactor process promises: each
event is handed over, at least once, until all of its commands are carried out.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any
from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support.running_project import BANK

from headrace import Command, Event, Later, Rejected
from headrace.commands.domain import Domain
from headrace.runtime.project import load_module

ACCOUNTS = st.sampled_from(["alice", "bob", "carol"])  # carol has no account at first
CENTS = st.integers(1, 60)
NUMBERS = st.integers(0, 1 << 30)  # which of those there are
MOVES = ("Deposited", "Withdrawn")


class Bank(RuleBasedStateMachine):
    """Streams in memory. `to_do` holds what the reactor process still owes: events not yet handed over to the end."""

    domain: ModuleType
    deciders: Domain
    transfers: Any

    def __init__(self) -> None:
        super().__init__()
        self.streams: dict[str, list[Event]] = {}
        self.to_do: list[Event] = []
        self.seen: list[Event] = []
        self.scheduled: list[Command] = []
        self.latest_first = False
        for account, amount in (("alice", 100), ("bob", 50)):
            self.carry_out(self.domain.OpenAccount(id=account, name=account))
            self.carry_out(self.domain.Deposit(id=account, amount=amount))

    def carry_out(self, command: Command) -> None:
        stream = self.streams.setdefault(command.stream(), [])
        decider = self.deciders.decider(type(command))
        state = decider.state_type()
        for event in stream:
            state = state.evolve(event)
        try:
            decided = list(decider.decide(command, state))
        except Rejected:
            return
        stream += decided
        wanted = (self.domain.TransferRequested, self.domain.TransferExpired, self.domain.TransferStep)
        self.to_do += [event for event in decided if isinstance(event, wanted)]

    def react(self, event: Event, commands_max: int = 9) -> None:
        for given in list(self.transfers(event))[:commands_max]:
            if isinstance(given, Later):
                self.scheduled.append(given.command)
            else:
                self.carry_out(given)

    @initialize(latest_first=st.booleans())
    def choose_the_order_at_the_end(self, latest_first: bool) -> None:
        self.latest_first = latest_first

    @rule(accounts=st.tuples(ACCOUNTS, ACCOUNTS), amount=CENTS)
    def request(self, accounts: tuple[str, str], amount: int) -> None:
        id, (source, target) = UUID(int=len(self.streams)), accounts
        self.carry_out(self.domain.RequestTransfer(transfer_id=id, source=source, target=target, amount=amount))

    @rule(account=ACCOUNTS, amount=CENTS, kind=st.sampled_from(["Deposit", "Withdraw"]))
    def pay(self, account: str, amount: int, kind: str) -> None:
        self.carry_out(getattr(self.domain, kind)(id=account, amount=amount))

    @rule(account=ACCOUNTS)
    def open(self, account: str) -> None:
        self.carry_out(self.domain.OpenAccount(id=account, name=account))

    @rule(account=ACCOUNTS)
    def empty_and_close(self, account: str) -> None:
        if balance := self.balances().get(account, 0):
            self.carry_out(self.domain.Withdraw(id=account, amount=balance))
        self.carry_out(self.domain.CloseAccount(id=account))

    @precondition(lambda self: self.to_do)
    @rule(number=NUMBERS)
    def hand_over(self, number: int) -> None:
        event = self.to_do.pop(number % len(self.to_do))
        self.seen.append(event)
        self.react(event)

    @precondition(lambda self: self.to_do)
    @rule(number=NUMBERS)
    def hand_over_in_part_and_die(self, number: int) -> None:
        """Only a request has two commands: the expiry is scheduled, and nothing is debited yet."""
        self.react(self.to_do[number % len(self.to_do)], commands_max=1)

    @precondition(lambda self: self.seen)
    @rule(number=NUMBERS)
    def hand_over_again(self, number: int) -> None:
        self.react(self.seen[number % len(self.seen)])

    @precondition(lambda self: self.scheduled)
    @rule(number=NUMBERS)
    def expire(self, number: int) -> None:
        self.carry_out(self.scheduled[number % len(self.scheduled)])

    def teardown(self) -> None:
        """What is owed is done; then everything that was ever scheduled is due, and what follows is done too."""
        self.hand_over_all()
        for command in self.scheduled:
            self.carry_out(command)
        self.hand_over_all()

    def hand_over_all(self) -> None:
        while self.to_do:
            self.hand_over(-1 if self.latest_first else 0)
        self.check_ends()

    def check_ends(self) -> None:
        ends = (self.domain.TransferCompleted, self.domain.TransferFailed)
        for stream, events in self.streams.items():
            if stream.startswith("transfer-") and events:
                assert [isinstance(event, ends) for event in events].count(True) == 1, events
                assert isinstance(events[-1], ends), events
        assert sum(self.balances().values()) == self.paid_in()

    @invariant()
    def money_is_conserved(self) -> None:
        balances = self.balances()
        assert min(balances.values()) >= 0
        assert sum(balances.values()) + self.on_the_way() == self.paid_in()

    @invariant()
    def each_transfer_takes_once_and_then_either_arrives_or_comes_back(self) -> None:
        for id, kinds in self.steps().items():
            debited, credited, refunded = (
                kinds.count(kind) for kind in ("AccountDebited", "AccountCredited", "AccountRefunded")
            )
            assert debited <= 1, id
            assert credited + refunded <= debited, id

    def account_events(self) -> list[Any]:
        return [event for events in self.streams.values() for event in events if hasattr(event, "change")]

    def balances(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for event in self.account_events():
            found[event.id] = found.get(event.id, 0) + event.change
        return found

    def paid_in(self) -> int:
        return sum(event.change for event in self.account_events() if type(event).__name__ in MOVES)

    def on_the_way(self) -> int:
        """What was debited, and has neither arrived nor come back."""
        return sum(
            -event.change
            for event in self.account_events()
            if isinstance(event, self.domain.AccountDebited)
            and not {"AccountCredited", "AccountRefunded"} & set(self.steps()[event.transfer_id])
        )

    def steps(self) -> dict[UUID, list[str]]:
        found: dict[UUID, list[str]] = {}
        for event in self.account_events():
            if isinstance(event, self.domain.TransferStep):
                found.setdefault(event.transfer_id, []).append(type(event).__name__)
        return found


@pytest.fixture
def bank() -> type[Bank]:
    domain = load_module(BANK / "domain.py")
    transfers = load_module(BANK / "reactors.py").transfers
    names = {"domain": domain, "deciders": Domain.from_module(domain), "transfers": staticmethod(transfers)}
    return type("BankOfThisTest", (Bank,), names)


def test_money_is_conserved_and_every_transfer_ends_whatever_the_order(bank: type[Bank]) -> None:
    run_state_machine_as_test(bank, settings=settings(max_examples=150, stateful_step_count=60, deadline=None))
