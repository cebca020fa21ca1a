"""Upcast rows of the event log: the old ones are found by whole columns, and only those become Python objects.

A row that its upcasters refuse stays as it was stored, and a dead letter says why. The views leave it out, and a worker
that starts with a corrected upcaster takes it in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from headrace.errors import Error, InvalidConfiguration
from headrace.events.event import Metadata, StoredEvent
from headrace.events.event_types import EventTypes, encode
from headrace.events.position import Position
from headrace.warehouse.dead_letters import DeadLetter

EVENTS_TARGET = "headrace.events"
_NO_METADATA = Metadata()

Shape = tuple[str, int]  # a stored type's name and schema version


class Upcast(NamedTuple):
    """The rows as the domain declares them now, and a letter for each that stayed as it was."""

    rows: pa.Table
    failed: list[DeadLetter]


def upcast(rows: pa.Table, events: EventTypes) -> Upcast:
    """Rows of the event log, upcast. Raises InvalidConfiguration for a version that the domain does not know yet."""
    shapes = _shapes(rows)
    newer = [shape for shape in shapes if events.is_newer(*shape)]
    if newer:
        first = rows.filter(_mask(rows, newer)).slice(0, 1).to_pylist()[0]
        raise not_known_yet(first, events)
    old = [shape for shape in shapes if events.is_old(*shape)]
    return _upcast(rows, _mask(rows, old), events) if old else Upcast(rows, [])


def not_known_yet(row: Mapping[str, Any], events: EventTypes) -> InvalidConfiguration:
    """The error for a row of a version that the domain does not know yet: to go on without it would lose it."""
    event_type = events.find(row["type"])
    known = event_type.schema_version if event_type else 0
    return InvalidConfiguration(
        f"There are {row['type']} events of a version that the domain does not know yet.",
        f"Stream {row['stream']}, version {row['version']}, position {_position(row)}: schema version "
        f"{row['schema_version']}; here it is {known}.",
        "Start the worker with the newer domain.py first, then what appends. To go back to an older one for good, "
        "run `headrace rebuild --all`.",
    )


def _upcast(rows: pa.Table, mask: pa.ChunkedArray, events: EventTypes) -> Upcast:
    changed: dict[str, list[Any]] = {"type": [], "schema_version": [], "data": []}
    failed = []
    for row in rows.filter(mask).to_pylist():
        try:
            event = events.decode(_stored(row))
        except Error as error:
            failed.append(DeadLetter(EVENTS_TARGET, _position(row), row["_batch"], str(error), row["data"].encode()))
            kind, version, data = row["type"], row["schema_version"], row["data"]
        else:
            kind, version, data = type(event).__name__, type(event).schema_version, encode(event).decode()
        changed["type"].append(kind)
        changed["schema_version"].append(version)
        changed["data"].append(data)
    flat = mask.combine_chunks()
    for name, values in changed.items():
        column = rows[name].combine_chunks()
        replaced = pc.replace_with_mask(column, flat, pa.array(values, column.type))
        rows = rows.set_column(rows.column_names.index(name), name, replaced)
    return Upcast(rows, failed)


def _shapes(rows: pa.Table) -> list[Shape]:
    found = rows.select(["type", "schema_version"]).group_by(["type", "schema_version"], use_threads=False)
    distinct = found.aggregate([])
    return list(zip(distinct["type"].to_pylist(), distinct["schema_version"].to_pylist(), strict=True))


def _mask(rows: pa.Table, shapes: Iterable[Shape]) -> pa.ChunkedArray:
    each = (pc.and_(pc.equal(rows["type"], kind), pc.equal(rows["schema_version"], v)) for kind, v in shapes)
    return reduce(pc.or_, each)


def _stored(row: Mapping[str, Any]) -> StoredEvent:
    return StoredEvent(
        stream=row["stream"],
        version=row["version"],
        type=row["type"],
        schema_version=row["schema_version"],
        data=msgspec.Raw(row["data"]),
        metadata=_NO_METADATA,
        recorded_at=row["recorded_at"],
    )


def _position(row: Mapping[str, Any]) -> Position:
    return Position(row["_lsn"], row["_ordinal"])
