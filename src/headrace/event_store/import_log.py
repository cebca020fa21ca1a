"""Import: write what an exported log holds and the store lacks, each event at the version and moment that it has there.

An event that the store holds already is compared and left alone. That is what makes an import resumable: killed and
started again, it writes what is missing. Each chunk is one transaction with the locks of a bulk append; within it
`ordinal`, and between chunks the transaction numbers, keep the order of the file. Where the transactions of the first
store began and ended is not kept, nor are the results of commands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import msgspec
import psycopg
from psycopg_pool import PoolTimeout

from headrace.errors import Conflict, Error, InvalidInput, Unavailable
from headrace.event_store import statements
from headrace.event_store.bulk_append import CHUNK_BYTES_MAX, CHUNK_EVENTS_MAX, CHUNK_STREAMS_MAX
from headrace.event_store.connection import Connection, Pool
from headrace.event_store.copy_text import array, escape
from headrace.event_store.log_file import LogEvent, LogFile
from headrace.events.command import check_stream_name
from headrace.events.position import START, Position

_BLANKS = bytes.maketrans(b"\t\r\n", b"   ")
_AGAIN = "Start the import again then: it goes on where it stopped."


@dataclass(frozen=True, slots=True)
class Imported:
    """What is durable so far: events written, events that were present already, and a position that covers them all."""

    written: int
    present: int
    position: Position


@dataclass(slots=True)
class _Chunk:
    """Consecutive events of a file; `first` is the number of the first one's line or row."""

    first: int
    events: list[LogEvent] = field(default_factory=list)
    streams: set[str] = field(default_factory=set)
    size: int = 0

    def add(self, event: LogEvent) -> None:
        if event.stream not in self.streams:
            check_stream_name(event.stream)
            self.streams.add(event.stream)
        self.events.append(event)
        self.size += len(event.data) + len(event.metadata)

    @property
    def full(self) -> bool:
        return (
            len(self.events) >= CHUNK_EVENTS_MAX
            or self.size >= CHUNK_BYTES_MAX
            or len(self.streams) >= CHUNK_STREAMS_MAX
        )


async def import_log(pool: Pool, file: LogFile, *, on_chunk: Callable[[Imported], None] | None = None) -> Imported:
    """See EventStore.import_log."""
    done = Imported(0, 0, START)
    for chunk in _chunks(file):
        try:
            async with pool.connection() as connection:
                written, position = await _write(connection, chunk, file)
        except (psycopg.Error, PoolTimeout) as error:
            raise _failure(error, chunk, file) from error
        done = Imported(done.written + written, done.present + len(chunk.events) - written, position)
        if on_chunk is not None:
            on_chunk(done)
    return done


def _chunks(file: LogFile) -> Iterator[_Chunk]:
    chunk = _Chunk(1)
    for event in file:
        chunk.add(event)
        if chunk.full:
            yield chunk
            chunk = _Chunk(chunk.first + len(chunk.events))
    if chunk.events:
        yield chunk


async def _write(connection: Connection, chunk: _Chunk, file: LogFile) -> tuple[int, Position]:
    """How many events of the chunk were missing and are written now, and the position that covers them."""
    async with connection.transaction():
        await connection.execute(statements.query("allow_time"))
        streams = {"streams": list(chunk.streams)}
        await connection.execute(statements.query("lock_streams"), streams)
        cursor = await connection.execute(statements.query("read_versions"), streams)
        missing = _missing(chunk, dict(await cursor.fetchall()), file)
        if len(missing) < len(chunk.events):
            await _compare(connection, chunk, missing, file)
        if missing:
            async with cursor.copy(statements.query("import_events")) as copy:
                await copy.write(b"".join(_line(ordinal, event) for ordinal, event in missing.items()))
        if any(event.tags for event in missing.values()):
            await connection.execute(statements.query("write_tags"))
    row = await (await connection.execute(statements.query("read_position"))).fetchone()
    assert row is not None
    return len(missing), Position.parse(row[0])


def _missing(chunk: _Chunk, versions: dict[str, int], file: LogFile) -> dict[int, LogEvent]:
    """The events, by their index in the chunk, that stand behind what the store has. Raises Conflict for a gap."""
    reached = dict(versions)
    missing = {}
    for index, event in enumerate(chunk.events):
        if event.version <= versions[event.stream]:
            continue
        if event.version != reached[event.stream] + 1:
            raise Conflict(
                f"{file.unit.capitalize()} {chunk.first + index:,} of {file.name} leaves a gap in its stream.",
                f"Stream {event.stream}: version {event.version} would follow version {reached[event.stream]}. "
                f"{_before(chunk, file)}",
                "Import what comes before it first; a stream's versions have no gap.",
            )
        reached[event.stream] = event.version
        missing[index] = event
    return missing


async def _compare(connection: Connection, chunk: _Chunk, missing: dict[int, LogEvent], file: LogFile) -> None:
    present = [index for index in range(len(chunk.events)) if index not in missing]
    rows = msgspec.json.encode([chunk.events[index] for index in present]).decode()
    cursor = await connection.execute(statements.query("find_contradiction"), {"rows": rows})
    if (found := await cursor.fetchone()) is not None:
        index = present[found[0]]
        event = chunk.events[index]
        raise Conflict(
            f"{file.unit.capitalize()} {chunk.first + index:,} of {file.name} contradicts the event store.",
            f"Stream {event.stream} holds another event as version {event.version}. {_before(chunk, file)}",
            "Import into an empty event store, or into the one that the file was exported from.",
        )


def _line(ordinal: int, event: LogEvent) -> bytes:
    return b"%d\t%b\t%d\t%b\t%d\t%b\t%b\t%b\t%b\n" % (
        ordinal,
        escape(event.stream.encode()),
        event.version,
        escape(event.type.encode()),
        event.schema_version,
        _json(event.data),
        array(event.tags),
        _json(event.metadata),
        event.recorded_at.isoformat().encode(),
    )


def _json(text: msgspec.Raw) -> bytes:
    """Between the tokens of JSON, tabs and ends of lines are blanks; in COPY they would part columns and rows."""
    return escape(bytes(text).translate(_BLANKS))


def _before(chunk: _Chunk, file: LogFile) -> str:
    return f"The {file.unit}s before {chunk.first:,} are in, none from it on."


def _failure(error: psycopg.Error | PoolTimeout, chunk: _Chunk, file: LogFile) -> Error:
    message = (error.diag.message_primary if isinstance(error, psycopg.Error) else None) or str(error).strip()
    where = (
        f"In {file.unit}s {chunk.first:,} to {chunk.first + len(chunk.events) - 1:,}: {message}. {_before(chunk, file)}"
    )
    match error:
        case psycopg.errors.UniqueViolation():
            return Conflict(
                "A program that takes no locks wrote to a stream of this import.", where, f"Stop it. {_AGAIN}"
            )
        case psycopg.errors.LockNotAvailable():
            return Unavailable("Another transaction holds a stream of this import.", where, f"Wait. {_AGAIN}")
        case psycopg.DataError():
            return InvalidInput("PostgreSQL cannot store an event of this import.", where, f"Correct it. {_AGAIN}")
        case _:
            return Unavailable("The import stopped: PostgreSQL failed.", message, f"Wait until it is back. {_AGAIN}")
