"""Domain: what a project's domain.py declares. Collected from the module itself: there is no global registry."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Self

from headrace.commands.decider import Decider, find_decider
from headrace.errors import InvalidConfiguration, Unknown
from headrace.events.command import Command
from headrace.events.event import Event
from headrace.events.event_types import EventTypes
from headrace.events.upcasting import Upcaster, find_upcasters


class Domain:
    """Event types, commands and the decider of each command. Immutable, and checked when it is made.

    Raises InvalidConfiguration for a command that nobody or more than one function decides, for a decider of a command
    that is not there, for two commands with one name or one route, and for what EventTypes refuses.
    """

    def __init__(
        self,
        *,
        events: Iterable[type[Event]],
        commands: Iterable[type[Command]],
        deciders: Iterable[Decider],
        upcasters: Iterable[Upcaster] = (),
    ) -> None:
        self.events = EventTypes(events, upcasters)
        self.commands: Mapping[str, type[Command]] = _by_name(commands)
        self._deciders = _by_command(self.commands, deciders)

    @classmethod
    def from_module(cls, module: ModuleType) -> Self:
        """Everything that the module declares or imports, in that order."""
        values = list(vars(module).values())
        distinct = _distinct(values)
        classes = [value for value in values if isinstance(value, type)]
        return cls(
            events=[value for value in classes if issubclass(value, Event) and value is not Event],
            commands=[value for value in classes if issubclass(value, Command) and value is not Command],
            deciders=[found for value in distinct if (found := find_decider(value)) is not None],
            upcasters=[found for value in distinct for found in find_upcasters(value)],
        )

    def command(self, name: str) -> type[Command]:
        """The command of this name. Raises Unknown, which lists the names there are."""
        try:
            return self.commands[name]
        except KeyError:
            near = difflib.get_close_matches(name, self.commands, n=1)
            raise Unknown(
                f"No command is called {name[:80]!r}.",
                f"Commands: {', '.join(self.commands) or 'none'}.",
                f"Did you mean {near[0]}?" if near else "GET /commands lists them with their fields.",
            ) from None

    def decider(self, command: type[Command]) -> Decider:
        """Who decides this command. Raises Unknown."""
        try:
            return self._deciders[command]
        except KeyError:
            raise Unknown(f"{command.__name__} is not a command of this domain.") from None


def _distinct(values: Iterable[object]) -> list[object]:
    """Without repetitions: two names for one function are one decider."""
    return list({id(value): value for value in values}.values())


def _by_name(commands: Iterable[type[Command]]) -> dict[str, type[Command]]:
    found: dict[str, type[Command]] = {}
    routes: dict[str, str] = {}
    for command in commands:
        name = command.__name__
        if found.setdefault(name, command) is not command:
            raise InvalidConfiguration(f"Two commands are called {name}.", hint="Rename one of them.")
        if command.route and routes.setdefault(command.route, name) != name:
            raise InvalidConfiguration(f"{routes[command.route]} and {name} have one route: {command.route}.")
    return found


def _by_command(commands: Mapping[str, type[Command]], deciders: Iterable[Decider]) -> dict[type[Command], Decider]:
    found: dict[type[Command], Decider] = {}
    for decider in deciders:
        for command in decider.commands:
            if commands.get(command.__name__) is not command:
                raise InvalidConfiguration(
                    f"{decider.name} decides {command.__name__}, which domain.py does not declare.",
                    hint="Import it there.",
                )
            other = found.setdefault(command, decider)
            if other is not decider:
                raise InvalidConfiguration(f"Two deciders decide {command.__name__}: {other.name} and {decider.name}.")
    undecided = [command.__name__ for command in commands.values() if command not in found]
    if undecided:
        raise InvalidConfiguration(
            f"Nobody decides {', '.join(undecided)}.", hint=f"Write @decider({undecided[0]}) over a function."
        )
    return found
