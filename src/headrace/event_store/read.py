"""Read events back, page by page, so that memory stays bounded and no connection is held between pages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import psycopg
from psycopg_pool import PoolTimeout

from headrace.errors import Corrupt, Unavailable
from headrace.event_store import statements
from headrace.event_store.append import Appended, reused
from headrace.event_store.connection import Pool, unreachable
from headrace.events.event import Metadata, StoredEvent
from headrace.events.position import Position

PAGE_ROWS_MAX = 1_000
VERSION_MAX = 2**63 - 1

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


class Period(NamedTuple):
    """What was recorded at or after `start` and before `end`. Both know their time zone.

    Times are those of PostgreSQL's clock at the start of the transaction that recorded the event.
    """

    start: datetime = datetime.min.replace(tzinfo=UTC)
    end: datetime = datetime.max.replace(tzinfo=UTC)


ALWAYS = Period()


async def read_stream(
    pool: Pool,
    stream: str,
    *,
    with_keys: WithKeys,
    after_version: int = 0,
    up_to_version: int | None = None,
    up_to_time: datetime | None = None,
    period: Period = ALWAYS,
    limit: int | None = None,
    backwards: bool = False,
) -> AsyncIterator[StoredEvent]:
    """See EventStore.read_stream."""
    last_version = VERSION_MAX if up_to_version is None else up_to_version
    if up_to_time is not None:
        last_version = min(last_version, await find_version(pool, stream, up_to_time))
    remaining = limit
    while remaining is None or remaining > 0:
        rows_max = PAGE_ROWS_MAX if remaining is None else min(PAGE_ROWS_MAX, remaining)
        parameters = {
            "stream": stream,
            "after_version": after_version,
            "up_to_version": last_version,
            "start": period.start,
            "end": period.end,
            "rows_max": rows_max,
        }
        rows = await (
            fetch(pool, "read_stream_backwards", parameters) if backwards else fetch(pool, "read_stream", parameters)
        )
        for event in await with_keys([stored(row) for row in rows]):
            if backwards:
                last_version = event.version - 1
            else:
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


async def read_period(
    pool: Pool, period: Period, *, with_keys: WithKeys, category: str | None = None, event_type: str | None = None
) -> AsyncIterator[StoredEvent]:
    """See EventStore.read_period."""
    ((first, last),) = await fetch(pool, "find_period", {"start": period.start, "end": period.end})
    if first is None:
        return
    place = Place(int(first), -1)
    while True:
        parameters = {
            **place.parameters(),
            "last_transaction_id": last,
            "start": period.start,
            "end": period.end,
            "category": category,
            "type": event_type,
            "rows_max": PAGE_ROWS_MAX,
        }
        rows = await fetch(pool, "read_period", parameters)
        for row, event in zip(rows, await with_keys([stored(row[2:]) for row in rows]), strict=True):
            place = Place(int(row[0]), row[1], event.stream, event.version)
            yield event
        if len(rows) < PAGE_ROWS_MAX:
            return


async def find_version(pool: Pool, stream: str, time: datetime) -> int:
    """See EventStore.find_version."""
    return int((await fetch(pool, "find_version", {"stream": stream, "time": time}))[0][0])


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
        metadata=_metadata(stream, version, metadata),
        recorded_at=recorded_at,
        tags=tuple(tags),
    )


def _metadata(stream: str, version: int, text: bytes) -> Metadata:
    try:
        return _decode_metadata(text)
    except msgspec.DecodeError as error:
        raise Corrupt(
            "The metadata of a stored event cannot be read.",
            f"Stream {stream}, version {version}: {error}.",
            "Something else than Headrace wrote it. Restore the event store, then report this.",
        ) from error
