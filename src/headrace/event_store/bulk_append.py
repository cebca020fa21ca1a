"""Bulk append: bring in many events through COPY. For imports; commands go through the group commit.

Versions are given here, per stream, in the order of arrival. Each chunk is one transaction: it is in, or it is not. It
locks its streams as headrace.append does, so imports and commands take turns and neither can fail the other.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice

import msgspec
import psycopg
from psycopg_pool import PoolTimeout

from headrace.errors import Conflict, Error, InvalidInput, Unavailable
from headrace.event_store import statements
from headrace.event_store.append import NO_METADATA, KeyGone
from headrace.event_store.connection import Connection, Pool
from headrace.event_store.copy_text import array, escape
from headrace.event_store.subject_keys import SubjectKeys
from headrace.events.command import check_stream_name
from headrace.events.event import Event, Metadata
from headrace.events.personal import personal_fields
from headrace.events.position import START, Position
from headrace.events.sealing import to_store

CHUNK_EVENTS_MAX = 20_000
CHUNK_BYTES_MAX = 32 << 20
# Each is one advisory lock; a server with default settings has room for 6,400 of them.
CHUNK_STREAMS_MAX = 2_000
# So many are looked at together, to fetch the keys of all their subjects at once.
WINDOW_EVENTS_MAX = 1_000

_encode = msgspec.json.Encoder().encode

Item = tuple[str, Event]


@dataclass(frozen=True, slots=True)
class BulkAppended:
    """What is durable so far: number of events, and the position that covers them all."""

    events: int
    position: Position


@dataclass(slots=True)
class _Chunk:
    # (stream; then type, schema version, data and tags as they stand in a line of COPY)
    rows: list[tuple[str, bytes]] = field(default_factory=list)
    streams: set[str] = field(default_factory=set)
    size: int = 0
    tagged: bool = False
    keys: set[str] = field(default_factory=set)  # the ids of those that it is sealed with

    def add(self, stream: str, line: bytes, *, tagged: bool) -> None:
        self.tagged |= tagged
        if stream not in self.streams:
            check_stream_name(stream)
            self.streams.add(stream)
        self.rows.append((stream, line))
        self.size += len(line)

    @property
    def full(self) -> bool:
        return (
            len(self.rows) >= CHUNK_EVENTS_MAX or self.size >= CHUNK_BYTES_MAX or len(self.streams) >= CHUNK_STREAMS_MAX
        )


async def bulk_append(
    pool: Pool,
    keys: SubjectKeys,
    items: Iterable[Item] | AsyncIterable[Item],
    *,
    metadata: Metadata = NO_METADATA,
    on_chunk: Callable[[BulkAppended], None] | None = None,
) -> BulkAppended:
    """See EventStore.bulk_append."""
    done = BulkAppended(0, START)
    line_end = b"\t" + escape(_encode(metadata)) + b"\n"
    async for chunk in _chunks(items, keys):
        try:
            async with pool.connection() as connection:
                position = await _write(connection, chunk, line_end)
        except KeyGone as error:
            keys.drop()
            error.detail = f"{done.events} events are in; the chunk after them is not."
            raise
        except (psycopg.Error, PoolTimeout) as error:
            raise _failure(error, done.events) from error
        done = BulkAppended(done.events + len(chunk.rows), position)
        if on_chunk is not None:
            on_chunk(done)
    return done


async def _chunks(items: Iterable[Item] | AsyncIterable[Item], keys: SubjectKeys) -> AsyncIterator[_Chunk]:
    chunk = _Chunk()
    heads: dict[type[Event], bytes] = {}
    async for window in _windows(items):
        subjects = {event.subject() for _, event in window if personal_fields(type(event))}
        sealing = await keys.for_subjects(subjects)
        for stream, event in window:
            event_type = type(event)
            head = heads.get(event_type)
            if head is None:
                head = heads[event_type] = f"{event_type.__name__}\t{event_type.schema_version}\t".encode()
            tags = event.tags()
            data = _encode(to_store(event, stream, sealing))
            chunk.add(stream, head + escape(data) + b"\t" + array(tags), tagged=bool(tags))
            if subjects and personal_fields(event_type):
                chunk.keys.add(sealing[event.subject()].id)
            if chunk.full:
                yield chunk
                chunk = _Chunk()
    if chunk.rows:
        yield chunk


async def _windows(items: Iterable[Item] | AsyncIterable[Item]) -> AsyncIterator[list[Item]]:
    if not isinstance(items, AsyncIterable):
        iterator = iter(items)
        while window := list(islice(iterator, WINDOW_EVENTS_MAX)):
            yield window
        return
    window = []
    async for item in items:
        window.append(item)
        if len(window) == WINDOW_EVENTS_MAX:
            yield window
            window = []
    if window:
        yield window


async def _write(connection: Connection, chunk: _Chunk, line_end: bytes) -> Position:
    async with connection.transaction():
        streams = {"streams": list(chunk.streams)}
        await connection.execute(statements.query("lock_streams"), streams)
        await _hold_keys(connection, chunk)
        cursor = await connection.execute(statements.query("read_versions"), streams)
        versions: dict[str, int] = dict(await cursor.fetchall())
        lines = []
        for ordinal, (stream, line) in enumerate(chunk.rows):
            versions[stream] = version = versions[stream] + 1
            lines.append(b"%d\t%b\t%d\t%b%b" % (ordinal, escape(stream.encode()), version, line, line_end))
        async with cursor.copy(statements.query("copy_events")) as copy:
            await copy.write(b"".join(lines))
        if chunk.tagged:
            await connection.execute(statements.query("write_tags"))
    row = await (await connection.execute(statements.query("read_position"))).fetchone()
    assert row is not None
    return Position.parse(row[0])


async def _hold_keys(connection: Connection, chunk: _Chunk) -> None:
    """From here on, who wants to forget one of the chunk's subjects waits for it. Raises KeyGone."""
    if not chunk.keys:
        return
    cursor = await connection.execute(statements.query("hold_subject_keys"), {"ids": list(chunk.keys)})
    if await cursor.fetchone() != (len(chunk.keys),):
        raise KeyGone(
            "Somebody whom this import is about was forgotten meanwhile.",
            hint="Take the person out of it, or go on after the events that are in: the person gets a new key.",
        )


def _failure(error: psycopg.Error | PoolTimeout, before: int) -> Error:
    message = (error.diag.message_primary if isinstance(error, psycopg.Error) else None) or str(error).strip()
    detail = f"{before} events are in; the chunk after them is not: {message}."
    resume = f"then go on after the first {before} events."
    match error:
        case psycopg.errors.UniqueViolation():
            return Conflict(
                "A program that takes no locks wrote to a stream of this import.", detail, f"Stop it, {resume}"
            )
        case psycopg.errors.LockNotAvailable():
            return Unavailable("Another transaction holds a stream of this import.", detail, f"Wait, {resume}")
        case psycopg.DataError():
            return InvalidInput("PostgreSQL cannot store an event of this import.", detail, f"Correct it, {resume}")
        case _:
            return Unavailable(
                "The import stopped: PostgreSQL failed.",
                f"{before} events are in; whether the chunk after them is, is unknown: {message}.",
                "Read the versions of its streams, then go on.",
            )
