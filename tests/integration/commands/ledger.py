"""A small domain for these tests: accounts that take deposits and refuse to go below zero."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Self

import msgspec

from headrace.commands.decider import decider
from headrace.errors import Rejected
from headrace.events.command import Command
from headrace.events.event import Event

Amount = Annotated[int, msgspec.Meta(gt=0)]


class Deposit(Command, stream="account-{account_id}", route="/deposit", rename="camel"):
    """Put money in.

    {"accountId": "ada", "amount": 5}
    """

    account_id: str
    amount: Amount


class Withdraw(Command, stream="account-{account_id}"):
    account_id: str
    amount: Amount


class Touch(Command, stream="account-{account_id}"):
    """Decides nothing, or fails, for tests."""

    account_id: str
    fail: bool = False


class Deposited(Event):
    amount: int


class Withdrawn(Event):
    amount: int


class Account(msgspec.Struct, frozen=True):
    balance: int = 0

    def evolve(self, event: Deposited | Withdrawn) -> Self:
        match event:
            case Deposited(amount=amount):
                return type(self)(self.balance + amount)
            case Withdrawn(amount=amount):
                return type(self)(self.balance - amount)


@decider(Deposit)
def deposit(command: Deposit, account: Account) -> Iterable[Event]:
    return [Deposited(amount=command.amount)]


@decider(Withdraw)
def withdraw(command: Withdraw, account: Account) -> Iterable[Event]:
    if command.amount > account.balance:
        raise Rejected("Not enough money.", f"Balance {account.balance}, asked for {command.amount}.")
    yield Withdrawn(amount=command.amount)


@decider(Touch)
def touch(command: Touch, account: Account) -> Iterable[Event]:
    if command.fail:
        raise ZeroDivisionError("secret row data")
    return []
