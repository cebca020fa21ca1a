"""Upcasters: pure functions that lift an event's data from one schema version to the next.

A stored event never changes; what changes is how it is read. Everything is checked here when the domain is loaded, so
that a gap is found before the first old event is.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from headrace.errors import InvalidConfiguration
from headrace.events.event import Event

_MARK = "__headrace_upcasts__"

Data = dict[str, Any]
Upcast = Callable[[Data], Data]
_Function = TypeVar("_Function", bound=Upcast)


@dataclass(frozen=True, slots=True)
class Upcaster:
    """`upcast` takes the data of an `event_type` at `from_version` and gives that of the version after it."""

    event_type: type[Event]
    from_version: int
    upcast: Upcast

    @property
    def name(self) -> str:
        code = self.upcast.__code__
        return f"{self.upcast.__name__} ({code.co_filename}:{code.co_firstlineno})"


def upcaster(event_type: type[Event], from_version: int) -> Callable[[_Function], _Function]:
    """Mark a function as the one that lifts stored data of `event_type` from `from_version` to the version after it.

        @upcaster(WorkoutLogged, 1)
        def add_distance(data: dict[str, Any]) -> dict[str, Any]:
            return {**data, "distance_km": data["distance_m"] / 1000}

    The function itself is not changed. It gets the event's JSON as Python values and gives what the next version would
    have stored. It is pure: it runs again whenever the event is read. One function may be marked for several types.
    """

    def mark(function: _Function) -> _Function:
        if not inspect.isfunction(function) or inspect.iscoroutinefunction(function):
            raise InvalidConfiguration(
                f"An upcaster is a plain function: {function!r}.", hint="Write @upcaster(WorkoutLogged, 1) over a def."
            )
        marks = (*getattr(function, _MARK, ()), Upcaster(event_type, from_version, function))
        setattr(function, _MARK, marks)
        return function

    return mark


def find_upcasters(value: object) -> tuple[Upcaster, ...]:
    """What a function was marked as by @upcaster; nothing for anything else."""
    found: tuple[Upcaster, ...] = getattr(value, _MARK, ()) if inspect.isfunction(value) else ()
    return found


def chains(types: Mapping[str, type[Event]], upcasters: Iterable[Upcaster]) -> dict[type[Event], tuple[Upcaster, ...]]:
    """For each type its upcasters from version 1 on. Raises InvalidConfiguration for whatever cannot be a chain."""
    found: dict[type[Event], dict[int, Upcaster]] = {event_type: {} for event_type in types.values()}
    for each in upcasters:
        known = found.get(each.event_type)
        if known is None:
            raise InvalidConfiguration(
                f"An upcaster is for a type that domain.py does not declare: {each.event_type!r}.",
                f"Upcaster {each.name}.",
                "Import the event type there.",
            )
        _check_version(each)
        other = known.setdefault(each.from_version, each)
        if other is not each:
            raise InvalidConfiguration(
                f"Two upcasters lift {each.event_type.__name__} from version {each.from_version}.",
                f"{other.name} and {each.name}.",
                "Keep one of them.",
            )
    return {event_type: _chain(event_type, known) for event_type, known in found.items()}


def former_names(types: Mapping[str, type[Event]]) -> dict[str, type[Event]]:
    """The names that event types had before, by `renamed_from`. Raises InvalidConfiguration when two claim one."""
    found: dict[str, type[Event]] = {}
    for event_type in types.values():
        for name in event_type.renamed_from:
            other = types.get(name) or found.setdefault(name, event_type)
            if other is not event_type or name == event_type.__name__:
                raise InvalidConfiguration(
                    f"{event_type.__name__} was renamed from {name}, which is taken.",
                    f"{name} is {'declared' if name in types else f'also what {other.__name__} was renamed from'}.",
                    f"Remove the class {name}, or leave the name out of renamed_from.",
                )
    return found


def _check_version(each: Upcaster) -> None:
    name, current = each.event_type.__name__, each.event_type.schema_version
    if not 1 <= each.from_version < current:
        raise InvalidConfiguration(
            f"An upcaster lifts {name} from version {each.from_version}, but {name} is at version {current}.",
            f"Upcaster {each.name}.",
            f"Upcasters of {name} start from 1 to {current - 1}; raise `version=` when the shape changes.",
        )


def _chain(event_type: type[Event], known: Mapping[int, Upcaster]) -> tuple[Upcaster, ...]:
    name, current = event_type.__name__, event_type.schema_version
    if current < 1:
        raise InvalidConfiguration(f"{name} has the version {current}.", hint="Versions are counted from 1.")
    missing = [version for version in range(1, current) if version not in known]
    if missing:
        raise InvalidConfiguration(
            f"{name} is at version {current}, but nothing lifts it from version {missing[0]}.",
            f"Missing: {', '.join(f'{version} to {version + 1}' for version in missing)}.",
            f"Write @upcaster({name}, {missing[0]}) over a function from the old data to the new.",
        )
    return tuple(known[version] for version in range(1, current))
