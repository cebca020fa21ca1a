"""Reacting, to, then: passes, and fails readably."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import pytest

from headrace.errors import InvalidConfiguration
from headrace.events.command import Command
from headrace.events.event import Event
from headrace.subscriptions.reactor import Later, reactor
from headrace.testing.reacting import reacting


class Ring(Command, stream="bell"):
    times: int = 1
    loud: bool = False


class Arrived(Event):
    guests: int


class Left(Event): ...


class Slept(Event): ...


@reactor("bells")
def bells(event: Arrived | Left) -> Iterable[Command | Later]:
    if isinstance(event, Arrived) and event.guests:
        yield Ring(times=event.guests)
        yield Later(Ring(), after=timedelta(minutes=5))


@reactor("lamps")
async def lamps(event: Arrived) -> None: ...


def test_commands_and_later_ones_are_compared() -> None:
    reacting(bells).to(Arrived(guests=2)).then(Ring(times=2), Later(Ring(), after=timedelta(minutes=5)))
    reacting(bells).to(Left()).then_nothing()


def test_a_difference_shows_the_field_and_leaves_defaults_out() -> None:
    with pytest.raises(AssertionError) as failure:
        reacting(bells).to(Arrived(guests=2)).then(Ring(times=3), Later(Ring(), after=timedelta(minutes=4)))
    said = str(failure.value)
    assert "-    times=3," in said
    assert "+    times=2," in said
    assert "-    after=datetime.timedelta(seconds=240)," in said
    assert "loud" not in said


def test_a_missing_reaction_is_shown_against_nothing() -> None:
    with pytest.raises(AssertionError, match=r"(?s)-Ring\(\).*\+nothing"):
        reacting(bells).to(Left()).then(Ring())


def test_an_event_that_the_reactor_never_gets_is_refused() -> None:
    with pytest.raises(AssertionError, match="bells does not get Slept"):
        reacting(bells).to(Slept())


def test_an_async_reactor_is_refused() -> None:
    with pytest.raises(InvalidConfiguration, match="lamps"):
        reacting(lamps)  # type: ignore[arg-type]
