"""Compatibility: whether the domain reads what is stored, event by event, and what it would lose in silence.

Decoding alone does not show everything: a field that was renamed or removed without a new version is passed over by
the decoder, and its values are gone from every state and table.
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.errors import Error
from headrace.events.event import Event, StoredEvent
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
        self._fields = {event_type: _field_names(event_type) for event_type in events}
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
            lost = sorted(self._events.upcast(stored).keys() - self._fields[event_type])
        except Error as error:
            return f"{error.message} {error.detail}".strip()
        if not lost:
            return ""
        return (
            f"{event_type.__name__} does not declare {', '.join(lost)}: renamed or removed without a new version. "
            f"Stream {stored.stream}, version {stored.version}, schema version {stored.schema_version}."
        )


def _field_names(event_type: type[Event]) -> set[str | None]:
    return {*event_type.__struct_encode_fields__, event_type.__struct_config__.tag_field}
