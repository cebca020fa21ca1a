"""Given, when, then: passes, and fails readably."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

import msgspec
import pytest

from headrace.commands.decider import decider
from headrace.errors import InvalidConfiguration, Rejected
from headrace.events.command import Command
from headrace.events.event import Event
from headrace.testing.given_when_then import given


class Pay(Command, stream="purse"):
    amount: int


class Lose(Command, stream="purse"): ...


class Paid(Event):
    amount: int


class Purse(msgspec.Struct, frozen=True):
    paid: int = 0

    def evolve(self, event: Paid) -> Self:
        return type(self)(self.paid + event.amount)


@decider(Pay)
def pay(command: Pay, purse: Purse) -> Iterable[Event]:
    if purse.paid + command.amount > 10:
        raise Rejected("The purse is empty.", f"Paid {purse.paid} already.")
    if command.amount:
        yield Paid(amount=command.amount)


def test_the_given_events_are_folded_before_the_decision() -> None:
    given().when(Pay(amount=10)).then(Paid(amount=10))
    given(Paid(amount=6), Paid(amount=4)).when(Pay(amount=1)).then_rejected("Paid 10 already")


def test_a_command_may_change_nothing() -> None:
    given().when(Pay(amount=0)).then_nothing()


def test_a_difference_shows_the_field() -> None:
    with pytest.raises(AssertionError) as failure:
        given().when(Pay(amount=3)).then(Paid(amount=4))
    assert "-    amount=4," in str(failure.value)
    assert "+    amount=3," in str(failure.value)


def test_an_unexpected_rejection_is_shown() -> None:
    with pytest.raises(AssertionError, match="The purse is empty"):
        given().when(Pay(amount=11)).then(Paid(amount=11))


def test_a_missing_rejection_shows_what_was_decided() -> None:
    with pytest.raises(AssertionError, match="amount=3"):
        given().when(Pay(amount=3)).then_rejected()


def test_another_rejection_is_shown() -> None:
    with pytest.raises(AssertionError, match="The purse is empty"):
        given().when(Pay(amount=11)).then_rejected("too heavy")


def test_a_command_without_a_decider_is_refused() -> None:
    with pytest.raises(InvalidConfiguration, match="No decider of Lose"):
        given().when(Lose())
