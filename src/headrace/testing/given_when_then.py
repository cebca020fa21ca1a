"""Given, when, then: test a decider without a database, in the words of the domain.

    given(UserRegistered(name="Ada")).when(LogWorkout(user_id="ada")).then(WorkoutLogged(user_id="ada"))

It calls the same functions that the dispatcher calls, and nothing else.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from headrace.commands.decider import Decider, find_decider
from headrace.errors import InvalidConfiguration, Rejected
from headrace.events.command import Command
from headrace.events.event import Event
from headrace.testing.difference import check_same, lines


class Given:
    """What has happened before: the events of the command's stream, oldest first."""

    def __init__(self, *events: Event) -> None:
        self._events = events

    def when(self, command: Command) -> Decided:
        """Decide the command on the state folded from the given events, by its decider in the command's own module."""
        decider = _decider(type(command))
        state = decider.state_type()
        for event in self._events:
            state = state.evolve(event)
        try:
            return Decided(list(decider.decide(command, state)), None)
        except Rejected as rejection:
            return Decided([], rejection)


class Decided:
    """The decision, to be compared with the one expected."""

    def __init__(self, events: list[Event], rejection: Rejected | None) -> None:
        self.events = events
        self.rejection = rejection

    def then(self, *expected: Event) -> None:
        """Raises AssertionError with a readable difference unless exactly these events were decided, in this order."""
        if self.rejection is not None:
            raise AssertionError(f"Expected {_names(expected)}, but the command was rejected:\n{self.rejection}")
        check_same("decided", expected, self.events)

    def then_nothing(self) -> None:
        """Raises AssertionError unless the command was accepted without a change."""
        self.then()

    def then_rejected(self, message: str = "") -> None:
        """Raises AssertionError unless the command was refused, with `message` somewhere in what the refusal says."""
        if self.rejection is None:
            raise AssertionError("Expected a rejection, but these were decided:\n" + "\n".join(lines(self.events)))
        if message not in str(self.rejection):
            raise AssertionError(f"Expected a rejection that says {message!r}; it says:\n{self.rejection}")


def given(*events: Event) -> Given:
    """Begin a test with what has happened before; `given()` for a stream that does not exist."""
    return Given(*events)


def _decider(command: type[Command]) -> Decider:
    for value in vars(sys.modules[command.__module__]).values():
        decider = find_decider(value)
        if decider is not None and command in decider.commands:
            return decider
    raise InvalidConfiguration(
        f"No decider of {command.__name__} stands in its module {command.__module__}.",
        hint=f"Import the function that is marked @decider({command.__name__}) there.",
    )


def _names(events: Iterable[Event]) -> str:
    return ", ".join(type(event).__name__ for event in events) or "no events"
