"""Bulk append: bring in many events through COPY. For imports; commands go through the group commit.

Versions are given here, per stream, in the order of arrival. Each chunk is one transaction: it is in, or it is not.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from dataclasses import dataclass

import msgspec
import psycopg
from psycopg_pool import PoolTimeout

from headrace.errors import Conflict, InvalidInput, Unavailable
from headrace.event_store import statements
from headrace.event_store.append import NO_METADATA
from headrace.event_store.connection import Connection, Pool, unreachable
from headrace.events.command import check_stream_name
from headrace.events.event import Event, Metadata
from headrace.events.position import START, Position

CHUNK_EVENTS_MAX = 20_000
CHUNK_BYTES_MAX = 32 << 20
ATTEMPTS_MAX = 3
# Versions remembered between chunks; beyond this many streams they are asked for again.
_VERSIONS_MAX = 100_000

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class BulkAppended:
    """What is durable so far: number of events, and the position that covers them all."""

    events: int
    position: Position


Item = tuple[str, Event]


async def bulk_append(
    pool: Pool,
    items: Iterable[Item] | AsyncIterable[Item],
    *,
    metadata: Metadata = NO_METADATA,
    on_chunk: Callable[[BulkAppended], None] | None = None,
) -> BulkAppended:
    """See EventStore.bulk_append."""
    done = BulkAppended(0, START)
    versions: dict[str, int] = {}
    suffix = b"\t" + _escape(_encode(metadata)) + b"\n"
    async for chunk in _chunks(items):
        position = await _write(pool, chunk, suffix, versions, done.events)
        done = BulkAppended(done.events + len(chunk), position)
        if on_chunk is not None:
            on_chunk(done)
        if len(versions) > _VERSIONS_MAX:
            versions.clear()
    return done


# stream; then type, schema version and data as they stand in a line of COPY
_Row = tuple[str, bytes]


async def _chunks(items: Iterable[Item] | AsyncIterable[Item]) -> AsyncIterator[list[_Row]]:
    chunk: list[_Row] = []
    size = 0
    names: dict[type[Event], bytes] = {}
    async for stream, event in _each(items):
        event_type = type(event)
        name = names.get(event_type)
        if name is None:
            name = names[event_type] = f"{event_type.__name__}\t{event_type.schema_version}\t".encode()
        line = name + _escape(_encode(event))
        chunk.append((stream, line))
        size += len(line)
        if len(chunk) >= CHUNK_EVENTS_MAX or size >= CHUNK_BYTES_MAX:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


async def _each(items: Iterable[Item] | AsyncIterable[Item]) -> AsyncIterator[Item]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


async def _write(pool: Pool, chunk: list[_Row], suffix: bytes, versions: dict[str, int], before: int) -> Position:
    """Write one chunk. When somebody appends to one of its streams at the same time, number it anew and repeat."""
    for attempt in range(1, ATTEMPTS_MAX + 1):
        try:
            async with pool.connection() as connection:
                return await _copy(connection, chunk, suffix, versions)
        except (psycopg.errors.UniqueViolation, psycopg.errors.DeadlockDetected) as error:
            versions.clear()
            if attempt == ATTEMPTS_MAX:
                raise Conflict(
                    "Others keep appending to the streams of this import.",
                    f"{before} events are in; the chunk after them was tried {attempt} times.",
                    f"Pause them, then go on after the first {before} events.",
                ) from error
        except psycopg.DataError as error:
            raise InvalidInput(
                "PostgreSQL cannot store an event of this import.",
                f"{before} events are in; the chunk after them is not: {error.diag.message_primary}.",
                f"Correct it, then go on after the first {before} events.",
            ) from error
        except (psycopg.OperationalError, PoolTimeout) as error:
            raise Unavailable(
                "The import stopped: PostgreSQL failed.",
                f"{before} events are in; whether the chunk after them is, is unknown. {unreachable(error).detail}",
                "Read the versions of its streams, then go on.",
            ) from error
    raise AssertionError("unreachable: the last attempt returns or raises")


async def _copy(connection: Connection, chunk: list[_Row], suffix: bytes, versions: dict[str, int]) -> Position:
    unknown = list({stream for stream, _ in chunk} - versions.keys())
    if unknown:
        for stream in unknown:
            check_stream_name(stream)
            versions[stream] = 0
        cursor = await connection.execute(statements.query("read_versions"), {"streams": unknown})
        versions.update({str(stream): int(version) for stream, version in await cursor.fetchall()})
    lines = []
    for stream, line in chunk:
        versions[stream] = version = versions[stream] + 1
        lines.append(b"%b\t%d\t%b%b" % (_escape(stream.encode()), version, line, suffix))
    async with (
        connection.transaction(),
        connection.cursor() as cursor,
        cursor.copy(statements.query("copy_events")) as copy,
    ):
        await copy.write(b"".join(lines))
    row = await (await connection.execute(statements.query("read_position"))).fetchone()
    assert row is not None
    return Position.parse(row[0])


def _escape(text: bytes) -> bytes:
    """COPY's text format: of what JSON and stream names can hold, only the backslash means something to it."""
    return text.replace(b"\\", b"\\\\")
