"""Audit: a stored event as whoever looks into the past sees it: what, when, who and why.

Every listing of stored events shows them through `entry`, so that what may not be shown is decided in one place.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from headrace.events.event import Metadata, StoredEvent

COLUMNS = (
    "recorded_at",
    "stream",
    "version",
    "type",
    "schema_version",
    "actor",
    "command",
    "command_id",
    "correlation_id",
    "causation_id",
    "data",
)


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One change: `type` and `data` say what, `recorded_at` when, `metadata` who and why."""

    stream: str
    version: int
    type: str
    schema_version: int
    recorded_at: datetime
    metadata: Metadata
    data: msgspec.Raw


def entry(stored: StoredEvent) -> Entry:
    """What may be seen of a stored event."""
    return Entry(
        stream=stored.stream,
        version=stored.version,
        type=stored.type,
        schema_version=stored.schema_version,
        recorded_at=stored.recorded_at,
        metadata=stored.metadata,
        data=stored.data,
    )


def row(seen: Entry) -> list[Any]:
    """An entry as the cells of COLUMNS; the data is JSON in one cell, and what is not known is empty."""
    who = seen.metadata
    when = msgspec.to_builtins(seen.recorded_at)
    why = [who.actor, who.command, who.command_id, who.correlation_id, who.causation_id]
    return [when, seen.stream, seen.version, seen.type, seen.schema_version, *why, bytes(seen.data).decode()]
