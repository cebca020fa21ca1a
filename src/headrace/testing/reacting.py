"""Reacting, to, then: test a plain reactor without a database, in the words of the domain.

    reacting(transfers).to(AccountDebited(id="alice", ...)).then(CreditAccount(id="bob", ...))

It calls the function that the reactor process calls, and nothing else.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, get_args, get_type_hints

from headrace.errors import InvalidConfiguration
from headrace.events.command import Command
from headrace.events.event import Event
from headrace.subscriptions.reactor import Later
from headrace.testing.difference import check_same

React = Callable[..., Iterable[Command | Later] | None]


class Reacting:
    """A reactor that events are to be handed to."""

    def __init__(self, react: React) -> None:
        if inspect.iscoroutinefunction(react):
            raise InvalidConfiguration(
                f"An async reactor gives nothing that could be compared: {react.__name__}.",
                hint="Call it in an async test, and look at what it did.",
            )
        self._react = react

    def to(self, event: Event, *stored: object) -> Reacted:
        """Hand it the event, and the StoredEvent if it takes one. Raises AssertionError for one it would never get."""
        first = next(iter(inspect.signature(self._react).parameters))
        wanted: Any = get_type_hints(self._react)[first]
        if not isinstance(event, get_args(wanted) or wanted):
            raise AssertionError(f"{self._react.__name__} does not get {type(event).__name__}: it wants {wanted}.")
        return Reacted(list(self._react(event, *stored) or ()))


class Reacted:
    """The reaction, to be compared with the one expected."""

    def __init__(self, given: list[Command | Later]) -> None:
        self.given = given

    def then(self, *expected: Command | Later) -> None:
        """Raises AssertionError with a readable difference unless exactly these were given, in this order."""
        check_same("given", expected, self.given)

    def then_nothing(self) -> None:
        """Raises AssertionError unless the event was passed over."""
        self.then()


def reacting(react: React) -> Reacting:
    """Begin a test of a function that is marked @reactor."""
    return Reacting(react)
