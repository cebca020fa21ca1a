"""Reactor: a function that events are handed to, one after the other. What it is, read from its signature.

A plain function is pure: it gives commands, and sees no clock, no database and no framework. An async one has effects
outside, and gives nothing.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from types import ModuleType
from typing import Any, TypeVar, get_args, get_type_hints

import msgspec

from headrace.errors import InvalidConfiguration
from headrace.events.command import Command
from headrace.events.event import Event, StoredEvent
from headrace.events.event_types import EventTypes

_MARK = "__headrace_reacts__"
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,59}")
_MISSING = object()

React = Callable[..., Any]
_Function = TypeVar("_Function", bound=React)


@dataclass(frozen=True, slots=True)
class Later:
    """A command to be carried out `after` from now, by PostgreSQL's clock. Decide then whether it still matters."""

    command: Command
    after: timedelta


@dataclass(frozen=True, slots=True)
class _Options:
    name: str
    key: str | None
    from_now: bool
    time_max_s: float


@dataclass(frozen=True, slots=True)
class Reactor:
    """`react(event)`, or `react(event, stored)` if `takes_stored`. `events`: the annotated classes.

    `key` is the field whose value orders the events; None: their stream. `from_now`: it begins behind the last event.
    """

    name: str
    react: React
    events: tuple[type[Event], ...]
    takes_stored: bool
    is_async: bool
    key: str | None
    from_now: bool
    time_max_s: float

    def types(self, known: EventTypes) -> list[str] | None:
        """The names that the events it wants are stored under; None: all, known or not."""
        return None if Event in self.events else known.stored_names(self.events)

    def key_of(self, stored: StoredEvent, event: Event | None) -> str:
        """What orders this event. Without an event, since it cannot be decoded, its JSON is asked; then its stream."""
        if self.key is None:
            return stored.stream
        if event is not None:
            value = getattr(event, self.key, _MISSING)
        else:
            data = _decode_lightly(stored)
            value = data.get(self.key, _MISSING) if isinstance(data, dict) else _MISSING
        return stored.stream if value is _MISSING else str(value)


def reactor(
    name: str, *, key: str | None = None, from_now: bool = False, time_max_s: float = 30.0
) -> Callable[[_Function], _Function]:
    """Mark a function as one that events are handed to. The function itself is not changed.

        @reactor("transfers", key="transfer_id")
        def transfers(event: TransferRequested | AccountDebited) -> Iterable[Command | Later]:
            yield DebitAccount(...)

    The annotation of its first argument names the events that it gets: a class, or several joined by `|`, with their
    subclasses; `Event` is all. It may take a second argument, the StoredEvent, with stream, version and metadata.
    Events of one key come in their order, of different keys at the same time. `name` names its checkpoint for ever.

    A plain function gives commands, to be carried out in that order; none is fine. An `async def` gives nothing, may do
    anything, and is handed an event again after a crash. `time_max_s` is how long it may take for one event. What it
    raises is retried a few times; then the event, and all later ones of its key, are dead letters. Unavailable is
    retried for as long as it takes: raise it when what the reactor writes to is away.

    `key` is a field of its events; default: the event's stream. `from_now`: a new reactor begins behind the last event,
    and not before the first one. Raises InvalidConfiguration at once for what cannot work.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidConfiguration(
            f"Not a name for a reactor: {name!r}.",
            "Small letters, digits, - and _, at most 60, a letter first.",
            'Write @reactor("transfers").',
        )
    if not time_max_s > 0:
        raise InvalidConfiguration(f"The time limit of the reactor {name} is {time_max_s}.", hint="Give seconds.")

    def mark(function: _Function) -> _Function:
        if inspect.isasyncgenfunction(function):
            raise InvalidConfiguration(
                f"An async reactor gives nothing: {_where(function)}.",
                hint="Write a plain function to give commands; remove the yield to have effects.",
            )
        if len(inspect.signature(function).parameters) not in (1, 2):
            raise InvalidConfiguration(
                f"A reactor takes one or two arguments, the event and its StoredEvent: {_where(function)}.",
                f"It takes {inspect.signature(function)}.",
            )
        setattr(function, _MARK, _Options(name, key, from_now, time_max_s))
        return function

    return mark


def find_reactors(modules: Iterable[ModuleType], known: EventTypes) -> list[Reactor]:
    """The reactors that modules declare or import, in that order. Raises InvalidConfiguration.

    The annotations are read here and not by @reactor, since they may name classes that stand further down.
    """
    found: dict[str, Reactor] = {}
    for value in (value for module in modules for value in vars(module).values()):
        options = getattr(value, _MARK, None) if inspect.isfunction(value) else None
        if not isinstance(options, _Options):
            continue
        made = _reactor(value, options, known)
        other = found.setdefault(made.name, made)
        if other.react is not made.react:
            raise InvalidConfiguration(
                f"Two reactors are called {made.name}.", f"{_where(other.react)} and {_where(value)}.", "Rename one."
            )
    return list(found.values())


def _reactor(function: React, options: _Options, known: EventTypes) -> Reactor:
    where = _where(function)
    try:
        hints = get_type_hints(function)
    except NameError as error:
        raise InvalidConfiguration(
            f"An annotation of a reactor names nothing: {where}.", f"{error}.", "Import it outside of TYPE_CHECKING."
        ) from error
    first, *rest = inspect.signature(function).parameters
    annotation = hints.get(first)
    events = get_args(annotation) or (annotation,)
    if not all(isinstance(kind, type) and issubclass(kind, Event) for kind in events):
        raise InvalidConfiguration(
            f"Which events a reactor gets is not said: {where}.",
            f"Its first argument, {first}, is annotated {annotation!r}.",
            f"Annotate it with event classes: ({first}: OrderPlaced | OrderPaid).",
        )
    made = Reactor(
        name=options.name,
        react=function,
        events=tuple(events),
        takes_stored=bool(rest),
        is_async=inspect.iscoroutinefunction(function),
        key=options.key,
        from_now=options.from_now,
        time_max_s=options.time_max_s,
    )
    _check_events(made, where, known)
    return made


def _check_events(made: Reactor, where: str, known: EventTypes) -> None:
    declared = tuple(known)
    for kind in made.events:
        if kind is not Event and not any(issubclass(each, kind) for each in declared):
            raise InvalidConfiguration(
                f"A reactor wants events that domain.py does not declare: {where}.",
                f"{kind.__name__} is not among them.",
                "Import it there.",
            )
    if made.key is None or Event in made.events:
        return
    lacking = [
        each.__name__ for each in declared if issubclass(each, made.events) and made.key not in each.__struct_fields__
    ]
    if lacking:
        raise InvalidConfiguration(
            f"The key of a reactor is not a field of all its events: {where}.",
            f"{', '.join(lacking)} has no field {made.key}.",
            "Name a field that they share, or leave the key out: then each stream is a key.",
        )


def _decode_lightly(stored: StoredEvent) -> object:
    try:
        return msgspec.json.decode(stored.data)
    except msgspec.DecodeError:
        return None


def _where(function: React) -> str:
    code = getattr(function, "__code__", None)
    name = getattr(function, "__name__", repr(function))
    return f"{name} ({code.co_filename}:{code.co_firstlineno})" if code else name
