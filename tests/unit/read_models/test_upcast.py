"""Rows of the event log, upcast by whole columns."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from headrace.errors import InvalidConfiguration
from headrace.events.event import Event
from headrace.events.event_types import EventTypes
from headrace.events.position import Position
from headrace.events.upcasting import find_upcasters, upcaster
from headrace.read_models.upcast import upcast


class Paid(Event, version=2, renamed_from="PaidIn"):
    cents: int


@upcaster(Paid, 1)
def to_cents(data: dict[str, Any]) -> dict[str, Any]:
    return {"cents": data["euros"] * 100}


EVENTS = EventTypes([Paid], find_upcasters(to_cents))


def rows(*events: tuple[str, int, str]) -> pa.Table:
    table = pa.table(
        {
            "stream": pa.array(["a"] * len(events)),
            "version": pa.array(range(1, len(events) + 1), pa.uint64()),
            "type": pa.array([kind for kind, _, _ in events]),
            "schema_version": pa.array([version for _, version, _ in events], pa.uint32()),
            "data": pa.array([data for _, _, data in events]),
            "recorded_at": pa.array([0] * len(events), pa.timestamp("us", "UTC")),
            "_lsn": pa.array([9] * len(events), pa.uint64()),
            "_ordinal": pa.array(range(len(events)), pa.uint32()),
            "_batch": pa.array([3] * len(events), pa.uint64()),
        }
    )
    return pa.concat_tables([table.slice(0, 1), table.slice(1)])  # a batch comes in chunks


def shapes(table: pa.Table) -> list[tuple[str, int, str]]:
    return [(row["type"], row["schema_version"], row["data"]) for row in table.to_pylist()]


def test_old_rows_become_what_would_be_stored_today_and_others_stay() -> None:
    before = rows(
        ("Paid", 2, '{"cents": 5}'),
        ("Paid", 1, '{"euros": 1}'),
        ("Unheard", 1, "{}"),
        ("PaidIn", 1, '{"euros": 2}'),
        ("PaidIn", 2, '{"cents": 7}'),
    )
    after, failed = upcast(before, EVENTS)
    assert not failed
    assert after.schema == before.schema
    assert shapes(after) == [
        ("Paid", 2, '{"cents": 5}'),
        ("Paid", 2, '{"cents":100}'),
        ("Unheard", 1, "{}"),
        ("Paid", 2, '{"cents":200}'),
        ("Paid", 2, '{"cents":7}'),
    ]


def test_rows_that_are_current_are_handed_through() -> None:
    before = rows(("Paid", 2, '{"cents": 5}'))
    assert upcast(before, EVENTS).rows is before


def test_a_row_that_cannot_be_upcast_stays_and_has_a_letter() -> None:
    after, failed = upcast(rows(("Paid", 1, '{"euros": 1}'), ("Paid", 1, '{"pounds": 1}')), EVENTS)
    assert shapes(after) == [("Paid", 2, '{"cents":100}'), ("Paid", 1, '{"pounds": 1}')]
    (letter,) = failed
    assert (letter.position, letter.batch, letter.raw) == (Position(9, 1), 3, b'{"pounds": 1}')
    assert "KeyError" in letter.reason
    assert "Stream a, version 2" in letter.reason


def test_a_version_that_is_not_known_yet_stops_with_its_place() -> None:
    with pytest.raises(InvalidConfiguration, match="does not know yet") as refused:
        upcast(rows(("Paid", 2, "{}"), ("Paid", 3, "{}")), EVENTS)
    assert "Stream a, version 2, position 0/9.1" in refused.value.detail
