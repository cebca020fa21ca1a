"""The verdict on stored events, against a domain that has changed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from headrace.events.compatibility import Compatibility
from headrace.events.event import Event, Metadata, StoredEvent
from headrace.events.event_types import EventTypes
from headrace.events.upcasting import find_upcasters, upcaster


class Leg(msgspec.Struct):
    metres: int


class Logged(Event, version=2, renamed_from="Noted"):
    km: float
    unit: str = "km"
    legs: list[Leg] | None = None
    best: dict[str, Leg] = msgspec.field(default_factory=dict)


@upcaster(Logged, 1)
def metres_to_km(data: dict[str, Any]) -> dict[str, Any]:
    return {"km": data["metres"] / 1000}


def check(*events: tuple[str, int, str]) -> Compatibility:
    found = Compatibility(EventTypes([Logged], find_upcasters(metres_to_km)))
    for number, (kind, schema_version, data) in enumerate(events, start=1):
        found.check(
            StoredEvent(
                stream="user-42",
                version=number,
                type=kind,
                schema_version=schema_version,
                data=msgspec.Raw(data.encode()),
                metadata=Metadata(),
                recorded_at=datetime.now(UTC),
            )
        )
    return found


def test_what_every_version_can_read_is_compatible() -> None:
    found = check(("Logged", 1, '{"metres": 1}'), ("Noted", 2, '{"km": 1}'), ("Logged", 1, '{"metres": 2}'))
    assert not check(("Logged", 2, '{"km": 1, "legs": [{"metres": 1}], "best": {"any": {"metres": 2}}}')).breaks
    assert not found.breaks
    assert {key: shape.events for key, shape in found.shapes.items()} == {("Logged", 1): 2, ("Noted", 2): 1}


@pytest.mark.parametrize(
    ("kind", "schema_version", "data", "words"),
    [
        ("Logged", 2, '{"km": 1, "measure": "km"}', "does not declare measure: renamed or removed"),
        ("Logged", 2, '{"km": 1, "legs": [{"metres": 1}, {"metres": 1, "feet": 3}]}', "does not declare legs.feet:"),
        ("Logged", 2, '{"km": 1, "best": {"run": {"metres": 1, "feet": 3}}}', "does not declare best.feet:"),
        ("Logged", 2, '{"kilometres": 1}', "missing required field `km`"),
        ("Logged", 1, '{"km": 1}', "metres_to_km"),
        ("Logged", 3, '{"km": 1}', "version that the domain does not know"),
        ("Walked", 1, "{}", "does not declare: Walked"),
    ],
)
def test_what_would_break_or_be_lost_is_found(kind: str, schema_version: int, data: str, words: str) -> None:
    found = check(("Logged", 2, '{"km": 1}'), (kind, schema_version, data), (kind, schema_version, data))
    assert found.breaks
    shape = found.shapes[kind, schema_version]
    assert shape.breaking == 2
    assert words in shape.problem
    assert "Stream user-42, version 2" in shape.problem
