"""Compatibility: whether the domain reads what is stored, event by event, and what it would lose in silence.

Decoding alone does not show everything: a field that was renamed or removed without a new version is passed over by
the decoder, and its values are gone from every state and table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from msgspec import inspect

from headrace.errors import Error
from headrace.events.event import StoredEvent
from headrace.events.event_types import EventTypes


@dataclass(slots=True)
class StoredShape:
    """The events of one stored type and schema version; `breaking` of them cannot be read, the first for `problem`."""

    type: str
    schema_version: int
    events: int = 0
    breaking: int = 0
    problem: str = ""


class Compatibility:
    """Checks stored events, one after the other; `shapes` is the verdict on those that it was given."""

    def __init__(self, events: EventTypes) -> None:
        self._events = events
        self._declared = {event_type: inspect.type_info(event_type) for event_type in events}
        self.shapes: dict[tuple[str, int], StoredShape] = {}

    @property
    def breaks(self) -> bool:
        return any(shape.breaking for shape in self.shapes.values())

    def check(self, stored: StoredEvent) -> None:
        """Count the event, and find out whether it can be read."""
        key = (stored.type, stored.schema_version)
        shape = self.shapes.get(key)
        if shape is None:
            shape = self.shapes[key] = StoredShape(*key)
        shape.events += 1
        problem = self._problem(stored)
        if problem:
            shape.breaking += 1
            shape.problem = shape.problem or problem

    def _problem(self, stored: StoredEvent) -> str:
        try:
            event_type = type(self._events.decode(stored))
            lost = sorted(set(_lost(self._events.upcast(stored), self._declared[event_type])))
        except Error as error:
            return f"{error.message} {error.detail}".strip()
        if not lost:
            return ""
        return (
            f"{event_type.__name__} does not declare {', '.join(lost)}: renamed or removed without a new version. "
            f"Stream {stored.stream}, version {stored.version}, schema version {stored.schema_version}."
        )


def _lost(value: object, declared: inspect.Type, path: str = "") -> Iterator[str]:
    """The keys in `value` that its type does not declare, however deep: `route.metres`."""
    match declared:
        case inspect.StructType(fields=fields, tag_field=tag_field) if isinstance(value, dict):
            types = {field.encode_name: field.type for field in fields}
            for key, inner in value.items():
                if key in types:
                    yield from _lost(inner, types[key], f"{path}{key}.")
                elif key != tag_field:
                    yield f"{path}{key}"
        case inspect.DictType(value_type=inner_type) if isinstance(value, dict):
            for inner in value.values():
                yield from _lost(inner, inner_type, path)
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item) if isinstance(value, list):
            for inner in value:
                yield from _lost(inner, item, path)
        case inspect.UnionType(types=members):
            rest = [member for member in members if not isinstance(member, inspect.NoneType)]
            if len(rest) == 1:
                yield from _lost(value, rest[0], path)
