"""Read events back, page by page, so that memory stays bounded and no connection is held between pages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import psycopg
from psycopg_pool import PoolTimeout

from headrace.errors import Unavailable
from headrace.event_store import statements
from headrace.event_store.append import Appended, reused
from headrace.event_store.connection import Pool, unreachable
from headrace.events.event import Metadata, StoredEvent
from headrace.events.position import Position

PAGE_ROWS_MAX = 1_000

# What brings the keys of personal fields to the events of a page, see SubjectKeys.with_keys.
WithKeys = Callable[[list[StoredEvent]], Awaitable[list[StoredEvent]]]

_decode_metadata = msgspec.json.Decoder(Metadata).decode


class Place(NamedTuple):
    """A place in the order of `read_all`: hand it back as `after` to go on from there."""

    transaction_id: int = 0
    ordinal: int = 0
    stream: str = ""
    version: int = 0

    def parameters(self) -> dict[str, object]:
        """As the SQL files name them."""
        return {**self._asdict(), "transaction_id": str(self.transaction_id)}


BEGINNING = Place()


async def read_stream(
    pool: Pool, stream: str, *, with_keys: WithKeys, after_version: int = 0, limit: int | None = None
) -> AsyncIterator[StoredEvent]:
    """See EventStore.read_stream."""
    remaining = limit
    while remaining is None or remaining > 0:
        rows_max = PAGE_ROWS_MAX if remaining is None else min(PAGE_ROWS_MAX, remaining)
        parameters = {"stream": stream, "after_version": after_version, "rows_max": rows_max}
        rows = await fetch(pool, "read_stream", parameters)
        for event in await with_keys([stored(row) for row in rows]):
            after_version = event.version
            yield event
        if len(rows) < rows_max:
            return
        if remaining is not None:
            remaining -= len(rows)


async def read_all(
    pool: Pool,
    *,
    with_keys: WithKeys,
    after: Place = BEGINNING,
    limit: int | None = None,
) -> AsyncIterator[tuple[Place, StoredEvent]]:
    """See EventStore.read_all."""
    remaining = limit
    while remaining is None or remaining > 0:
        rows_max = PAGE_ROWS_MAX if remaining is None else min(PAGE_ROWS_MAX, remaining)
        parameters = {
            **after.parameters(),
            "rows_max": rows_max,
        }
        rows = await fetch(pool, "read_all", parameters)
        for row, event in zip(rows, await with_keys([stored(row[2:]) for row in rows]), strict=True):
            after = Place(int(row[0]), row[1], event.stream, event.version)
            yield after, event
        if len(rows) < rows_max:
            return
        if remaining is not None:
            remaining -= len(rows)


async def read_streams(
    pool: Pool, after_versions: Mapping[str, int], *, with_keys: WithKeys
) -> dict[str, list[StoredEvent]]:
    """See EventStore.read_streams."""
    parameters = {
        "streams": list(after_versions),
        "after_versions": list(after_versions.values()),
        "rows_max": PAGE_ROWS_MAX,
    }
    found: dict[str, list[StoredEvent]] = {stream: [] for stream in after_versions}
    rows = await fetch(pool, "read_streams", parameters)
    for event in await with_keys([stored(row) for row in rows]):
        found[event.stream].append(event)
    return found


async def read_command_result(pool: Pool, command_id: UUID, *, fingerprint: int = 0) -> list[Appended]:
    """See EventStore.read_command_result."""
    results = []
    for row in await fetch(pool, "read_command_result", {"command_id": command_id}):
        stream, first_version, last_version, stored_fingerprint, types, position = row
        if stored_fingerprint != fingerprint:
            raise reused()
        at = Position.parse(position)
        results.append(Appended(stream, last_version, first_version, at, tuple(types), duplicate=True))
    return results


async def read_position(pool: Pool) -> Position:
    """See EventStore.read_position."""
    return Position.parse((await fetch(pool, "read_position", {}))[0][0])


async def find_place(pool: Pool, before_last: int) -> Place:
    """See EventStore.find_place."""
    rows = await fetch(pool, "find_place", {"before_last": before_last})
    return Place(int(rows[0][0]), *rows[0][1:]) if rows else BEGINNING


async def count_events(pool: Pool) -> int:
    """See EventStore.count_events."""
    return int((await fetch(pool, "count_events", {}))[0][0])


async def fetch(pool: Pool, name: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """All rows of sql/queries/NAME.sql. Raises Unavailable."""
    try:
        async with pool.connection() as connection:
            cursor = await connection.execute(statements.query(name), parameters, prepare=True)
            return await cursor.fetchall()
    except (psycopg.OperationalError, PoolTimeout) as error:
        raise _unreadable(error) from error


def _unreadable(error: psycopg.OperationalError | PoolTimeout) -> Unavailable:
    found = unreachable(error)
    return Unavailable("PostgreSQL cannot be reached; the events cannot be read for now.", found.detail, found.hint)


def stored(row: tuple[Any, ...]) -> StoredEvent:
    """The event in the last columns of every query that reads events."""
    stream, version, event_type, schema_version, data, metadata, recorded_at, tags = row
    return StoredEvent(
        stream=stream,
        version=version,
        type=event_type,
        schema_version=schema_version,
        data=msgspec.Raw(data),
        metadata=_decode_metadata(metadata),
        recorded_at=recorded_at,
        tags=tuple(tags),
    )
