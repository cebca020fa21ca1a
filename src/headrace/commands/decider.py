"""Decider: the pure functions of one kind of stream. What a command does, decided from a state folded from events.

A decider sees no clock, no database and no framework: it can be called, and tested, as the function it is.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar, get_args, get_type_hints

from headrace.commands.snapshot import Snapshots
from headrace.commands.state import State
from headrace.errors import InvalidConfiguration
from headrace.events.command import Command
from headrace.events.event import Event

_MARK = "__headrace_decides__"


Decide = Callable[[Any, Any], Iterable[Event]]
_Function = TypeVar("_Function", bound=Decide)


@dataclass(frozen=True, slots=True)
class Decider:
    """`decide(command, state)` gives the events for `commands`; `state_type()` is the state before the first event, and
    `snapshots` says when states are saved.
    """

    commands: tuple[type[Command], ...]
    decide: Decide
    state_type: Callable[[], State]
    snapshots: Snapshots

    @property
    def name(self) -> str:
        return getattr(self.decide, "__name__", repr(self.decide))


def decider(*commands: type[Command]) -> Callable[[_Function], _Function]:
    """Mark a function as the one that decides these commands. The function itself is not changed.

        @decider(LogWorkout)
        def log_workout(command: LogWorkout, user: User) -> Iterable[Event]:
            yield WorkoutLogged(...)

    It gets the command and the state of the command's stream, and gives the events to append: none to accept without
    a change. It raises Rejected to refuse. The annotation of its second parameter is the state's type: any class that
    can be made without arguments and has `evolve(self, event)`, which returns the next state. Raises
    InvalidConfiguration at once for what cannot work.
    """
    if not commands or not all(isinstance(command, type) and issubclass(command, Command) for command in commands):
        raise InvalidConfiguration(
            "@decider needs the commands that the function decides.", hint="Write @decider(LogWorkout)."
        )

    def mark(function: _Function) -> _Function:
        where = _where(function)
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise InvalidConfiguration(
                f"A decider is a plain function, not async: {where}.",
                hint="Deciders are pure. Look things up before, and put what was found into the command.",
            )
        if len(inspect.signature(function).parameters) != 2:
            raise InvalidConfiguration(
                f"A decider takes two arguments, the command and the state: {where}.",
                f"It takes {inspect.signature(function)}.",
            )
        setattr(function, _MARK, commands)
        return function

    return mark


def find_decider(value: object) -> Decider | None:
    """The decider that a marked function stands for, or None for anything else. Raises InvalidConfiguration.

    The annotations are read here and not by @decider, since they may name classes that stand further down.
    """
    commands = getattr(value, _MARK, None) if inspect.isfunction(value) else None
    if commands is None or not inspect.isfunction(value):
        return None
    where = _where(value)
    try:
        hints = get_type_hints(value)
    except NameError as error:
        raise InvalidConfiguration(
            f"An annotation of a decider names nothing: {where}.", f"{error}.", "Import it outside of TYPE_CHECKING."
        ) from error
    command_name, state_name = inspect.signature(value).parameters
    _check_command(where, hints.get(command_name), commands)
    state_type = _check_state(where, state_name, hints.get(state_name))
    return Decider(commands, value, state_type, Snapshots(state_type))


def _check_command(where: str, annotation: Any, commands: tuple[type[Command], ...]) -> None:
    annotated = set(get_args(annotation)) or {annotation}
    missing = [
        command.__name__
        for command in commands
        if annotation is not None
        and not any(isinstance(kind, type) and issubclass(command, kind) for kind in annotated)
    ]
    if missing:
        raise InvalidConfiguration(
            f"A decider's first argument is annotated for other commands than it decides: {where}.",
            f"Not covered: {', '.join(missing)}.",
        )


def _check_state(where: str, name: str, state_type: Any) -> Callable[[], State]:
    if not isinstance(state_type, type):
        raise InvalidConfiguration(
            f"The state of a decider has no class: {where}.",
            f"Its second argument, {name}, is annotated {state_type!r}.",
            f"Annotate it with the class of the state: ({name}: User).",
        )
    if not callable(getattr(state_type, "evolve", None)):
        raise InvalidConfiguration(
            f"{state_type.__name__} cannot be the state of a decider: it has no evolve.",
            f"Decider {where}.",
            "Give it: def evolve(self, event) -> Self.",
        )
    try:
        state_type()
    except Exception as error:  # whatever the user's class does: it is reported as what it means here
        raise InvalidConfiguration(
            f"{state_type.__name__} cannot be the state of a decider: it cannot be made without arguments.",
            f"Decider {where}: {error}.",
            "Give every field a default: the state before the first event.",
        ) from error
    made: Callable[[], State] = state_type
    return made


def _where(function: Callable[..., object]) -> str:
    code = getattr(function, "__code__", None)
    name = getattr(function, "__name__", repr(function))
    return f"{name} ({code.co_filename}:{code.co_firstlineno})" if code else name
