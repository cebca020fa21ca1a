"""The domain of the fault tests: each of their projects has a copy of this file as its `domain.py`."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from headrace import Command, Event, decider


class Deposit(Command, stream="account-{account}"):
    account: str
    amount: int
    note: str = ""


class Deposited(Event):
    account: str
    amount: int
    note: str


class Account(Struct, frozen=True):
    balance: int = 0

    def evolve(self, event: Deposited) -> Account:
        return Account(self.balance + event.amount)


@decider(Deposit)
def deposit(command: Deposit, account: Account) -> Iterable[Event]:
    """Two events, so that half of a command could be seen."""
    for part in ("first", "second"):
        yield Deposited(account=command.account, amount=command.amount, note=f"{command.note}:{part}")
