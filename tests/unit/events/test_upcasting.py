"""Old events are read as the domain declares them now, and whatever could not be is refused when it is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

import msgspec
import pytest

from headrace.commands.domain import Domain
from headrace.errors import Corrupt, Error, InvalidConfiguration, Unknown
from headrace.events.event import Event, Metadata, StoredEvent
from headrace.events.event_types import EventTypes
from headrace.events.upcasting import find_upcasters, upcaster


class Logged(Event, version=3):
    km: float
    unit: str


class Deposited(Event, renamed_from="PaidIn"):
    amount: int


class MoneyWithdrawn(Event, version=2, renamed_from=("Withdrawn", "TakenOut")):
    cents: int


@upcaster(Logged, 1)
def metres_to_km(data: dict[str, Any]) -> dict[str, Any]:
    return {"km": data["metres"] / 1000}


@upcaster(Logged, 2)
def name_the_unit(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "unit": "km"}


@upcaster(MoneyWithdrawn, 1)
def to_cents(data: dict[str, Any]) -> dict[str, Any]:
    return {"cents": data["euros"] * 100}


def events_of(types: Sequence[type[Event]], *functions: object) -> EventTypes:
    return EventTypes(types, [found for each in functions for found in find_upcasters(each)])


EVENTS = events_of([Logged, Deposited, MoneyWithdrawn], metres_to_km, name_the_unit, to_cents)


def stored(kind: str, schema_version: int, data: str) -> StoredEvent:
    return StoredEvent(
        stream="user-42",
        version=7,
        type=kind,
        schema_version=schema_version,
        data=msgspec.Raw(data.encode()),
        metadata=Metadata(),
        recorded_at=datetime.now(UTC),
    )


@pytest.mark.parametrize(
    ("kind", "schema_version", "data", "expected"),
    [
        ("Logged", 1, '{"metres": 1500}', Logged(km=1.5, unit="km")),
        ("Logged", 2, '{"km": 2.5}', Logged(km=2.5, unit="km")),
        ("Logged", 3, '{"km": 3, "unit": "mi"}', Logged(km=3.0, unit="mi")),
        ("PaidIn", 1, '{"amount": 5}', Deposited(amount=5)),
        ("Withdrawn", 1, '{"euros": 2}', MoneyWithdrawn(cents=200)),
        ("TakenOut", 2, '{"cents": 7}', MoneyWithdrawn(cents=7)),
    ],
)
def test_every_version_is_decoded_as_the_type_of_today(
    kind: str, schema_version: int, data: str, expected: Event
) -> None:
    assert EVENTS.decode(stored(kind, schema_version, data)) == expected


def test_only_older_versions_and_former_names_are_old() -> None:
    assert EVENTS.is_old("Logged", 2)
    assert EVENTS.is_old("PaidIn", 1)
    assert not EVENTS.is_old("Logged", 3)
    assert not EVENTS.is_old("Logged", 4)
    assert EVENTS.is_newer("Logged", 4)
    assert not EVENTS.is_old("Unheard", 1)
    assert not EVENTS.is_newer("Unheard", 9)


@pytest.mark.parametrize(
    ("kind", "schema_version", "data", "error", "words"),
    [
        ("Logged", 4, "{}", InvalidConfiguration, "does not know"),
        ("Logged", 0, "{}", InvalidConfiguration, "does not know"),
        ("Unheard", 1, "{}", Unknown, "does not declare"),
        ("Logged", 3, '{"km": "far"}', Corrupt, "does not fit"),
        ("Logged", 2, '{"km": "far"}', Corrupt, "does not fit"),
        ("Logged", 1, "[]", Corrupt, "no JSON object"),
        ("Logged", 1, '{"metr', Corrupt, "no JSON object"),
        ("Logged", 3, '{"metr', Corrupt, "does not fit"),
        ("Logged", 1, '{"yards": 3}', Error, "failed: KeyError"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(
    kind: str, schema_version: int, data: str, error: type[Error], words: str
) -> None:
    with pytest.raises(error, match=words) as refused:
        EVENTS.decode(stored(kind, schema_version, data))
    assert "Stream user-42, version 7" in refused.value.detail


def test_an_upcaster_that_returns_nothing_is_named() -> None:
    @upcaster(MoneyWithdrawn, 1)
    def forgot(data: dict[str, Any]) -> Any:
        data["cents"] = 1

    with pytest.raises(Error, match="gave NoneType instead of a dict") as refused:
        events_of([MoneyWithdrawn], forgot).decode(stored("MoneyWithdrawn", 1, "{}"))
    assert "forgot" in refused.value.detail


def test_a_gap_is_refused() -> None:
    with pytest.raises(InvalidConfiguration, match="nothing lifts it from version 2"):
        events_of([Logged], metres_to_km)


def test_two_upcasters_of_one_version_are_refused() -> None:
    @upcaster(Logged, 1)
    def again(data: dict[str, Any]) -> dict[str, Any]:
        return data

    with pytest.raises(InvalidConfiguration, match="Two upcasters lift Logged from version 1"):
        events_of([Logged], metres_to_km, again, name_the_unit)


@pytest.mark.parametrize("version", [0, 3, 9])
def test_an_upcaster_outside_of_the_versions_is_refused(version: int) -> None:
    @upcaster(Logged, version)
    def beyond(data: dict[str, Any]) -> dict[str, Any]:
        return data

    with pytest.raises(InvalidConfiguration, match=f"from version {version}, but Logged is at version 3"):
        events_of([Logged], beyond)


def test_an_upcaster_of_a_type_that_is_not_declared_is_refused() -> None:
    with pytest.raises(InvalidConfiguration, match="does not declare"):
        events_of([Deposited], metres_to_km)


def test_a_version_below_one_is_refused() -> None:
    class Odd(Event, version=0):
        pass

    with pytest.raises(InvalidConfiguration, match="version 0"):
        events_of([Odd])


def test_a_former_name_that_is_taken_is_refused() -> None:
    class PaidIn(Event):
        pass

    class Other(Event, renamed_from="PaidIn"):
        pass

    for claimant in (PaidIn, Other):
        with pytest.raises(InvalidConfiguration, match="was renamed from PaidIn, which is taken"):
            events_of([Deposited, claimant])


def test_a_former_name_is_not_inherited() -> None:
    class Corrected(Deposited):
        pass

    assert events_of([Deposited, Corrected]).find("PaidIn") is Deposited


def test_the_domain_collects_upcasters_from_the_module() -> None:
    module = ModuleType("domain")
    vars(module).update({"Logged": Logged, "a": metres_to_km, "b": metres_to_km, "c": name_the_unit})
    assert [each.upcast for each in Domain.from_module(module).events.upcasters(Logged)] == [
        metres_to_km,
        name_the_unit,
    ]
