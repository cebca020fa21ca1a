"""Export: the whole log into a file, as PostgreSQL spells it, in the order of `read_all`.

It goes page by page up to a horizon below which the log is complete and never changes. So it is of one moment without
a transaction that stays open, and a file is the beginning of every longer one: an export that was cut off goes on
behind the last whole line, and a later one adds what is new.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgspec
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg_pool import PoolTimeout
from pyarrow import csv, parquet

from headrace.errors import Conflict, Unavailable
from headrace.event_store import statements
from headrace.event_store.connection import Connection, Pool
from headrace.event_store.log_file import SCHEMA
from headrace.event_store.read import BEGINNING, Place, fetch

PAGE_EVENTS_MAX = 20_000
ROW_GROUP_BYTES_MAX = 32 << 20
_BLOCK_BYTES = 1 << 20

_CSV_TYPES = {**{field.name: field.type for field in SCHEMA}, "tags": pa.string()}
_TAG_SEPARATOR = "\x1f"


class Exported(NamedTuple):
    """`written` events so far, of `total`; `held_back` are newer than the oldest transaction that was writing as it
    began: the next export has them.
    """

    written: int
    total: int
    held_back: int


OnPage = Callable[[Exported], None]


class _LastLine(msgspec.Struct):
    stream: str
    version: int


async def export_json_lines(pool: Pool, file: BinaryIO, *, after: Place, on_page: OnPage | None = None) -> Exported:
    """Write all events behind `after` to `file`, one a line. Raises Unavailable."""
    horizon, done = await _begin(pool, after)
    async for bounds in _pages(pool, after, horizon):
        written = 0
        async with _copying(pool, "export_json_lines", bounds) as copy:
            async for line in copy:
                file.write(line)
                written += 1
        done = done._replace(written=done.written + written)
        if on_page is not None:
            on_page(done)
    return done


async def export_parquet(pool: Pool, file: BinaryIO, *, on_page: OnPage | None = None) -> Exported:
    """Write all events to `file`, a page as one row group, or as several if it is large. Raises Unavailable."""
    horizon, done = await _begin(pool, BEGINNING)
    with parquet.ParquetWriter(file, SCHEMA, compression="zstd") as writer:
        async for bounds in _pages(pool, BEGINNING, horizon):
            rows: list[bytes] = []
            size = 0
            async with _copying(pool, "export_columns", bounds) as copy:
                async for block in copy:
                    rows.append(bytes(block))
                    size += len(block)
                    if size >= ROW_GROUP_BYTES_MAX:
                        done = _write_rows(writer, rows, done)
                        size = 0
            done = _write_rows(writer, rows, done)
            if on_page is not None:
                on_page(done)
    return done


async def find_end(pool: Pool, path: Path) -> tuple[int, Place]:
    """Where an exported file has its last whole line end, in bytes, and the place of that event in the store.

    (0, BEGINNING) for a file that does not exist, or was cut off in its first line. Raises Conflict for another
    store's.
    """
    if not path.exists():
        return 0, BEGINNING
    with path.open("rb") as file:
        end, line = _last_line(file)
        first_bytes = file.read(len(_LINE_BEGIN)) if file.seek(0) == 0 else b""
    if not line and _LINE_BEGIN.startswith(first_bytes):
        return 0, BEGINNING
    try:
        last = msgspec.json.decode(line, type=_LastLine)
        rows = await fetch(pool, "find_line", {"stream": last.stream, "version": last.version})
    except msgspec.DecodeError as error:
        raise _foreign(path, "Its last whole line is no event.") from error
    if not rows or rows[0][2].encode() != line:
        raise _foreign(path, f"Its last event, {last.stream} version {last.version}, is not in the store like that.")
    return end, Place(int(rows[0][0]), rows[0][1], last.stream, last.version)


_LINE_BEGIN = b'{"stream":"'


def _last_line(file: BinaryIO) -> tuple[int, bytes]:
    """The end of the last line that has one, and the line."""
    position = file.seek(0, os.SEEK_END)
    tail = b""
    while position and tail.count(b"\n") < 2:
        size = min(_BLOCK_BYTES, position)
        position = file.seek(position - size)
        tail = file.read(size) + tail
    whole = tail.rfind(b"\n") + 1
    return position + whole, tail[tail.rfind(b"\n", 0, max(whole - 1, 0)) + 1 : whole]


def _foreign(path: Path, detail: str) -> Conflict:
    return Conflict(f"{path} was not exported from this event store.", detail, "Export to a new file.")


async def _begin(pool: Pool, after: Place) -> tuple[str, Exported]:
    ((horizon, total, held_back),) = await _ask(pool, "read_horizon", after.parameters())
    return horizon, Exported(0, total, held_back)


async def _ask(pool: Pool, name: str, parameters: dict[str, object]) -> list[tuple[Any, ...]]:
    async with _taking_time(pool) as connection:
        cursor = await connection.execute(statements.query(name), parameters)
        return await cursor.fetchall()


async def _pages(pool: Pool, after: Place, horizon: str) -> AsyncIterator[dict[str, object]]:
    """The bounds of page after page, as the SQL files name them."""
    while True:
        wanted = {**after.parameters(), "horizon": horizon, "rows_max": PAGE_EVENTS_MAX}
        rows = await _ask(pool, "find_page_end", wanted)
        if not rows:
            return
        end = Place(int(rows[0][0]), *rows[0][1:])
        yield {**after.parameters(), **{f"end_{name}": value for name, value in end.parameters().items()}}
        after = end


@asynccontextmanager
async def _copying(pool: Pool, name: str, bounds: dict[str, object]) -> AsyncIterator[psycopg.AsyncCopy]:
    async with (
        _taking_time(pool) as connection,
        connection.cursor() as cursor,
        cursor.copy(statements.query(name), bounds) as copy,
    ):
        yield copy


@asynccontextmanager
async def _taking_time(pool: Pool) -> AsyncIterator[Connection]:
    try:
        async with pool.connection() as connection, connection.transaction():
            await connection.execute(statements.query("allow_time"))
            yield connection
    except (psycopg.Error, PoolTimeout) as error:
        raise Unavailable(
            "The export stopped: PostgreSQL failed.",
            str(error).strip(),
            "Start it again; JSON lines go on where it stopped.",
        ) from error


def _write_rows(writer: parquet.ParquetWriter, rows: list[bytes], done: Exported) -> Exported:
    """One row group; `rows` is empty after it."""
    if not rows:
        return done
    text = b"".join(rows)
    table = csv.read_csv(
        pa.BufferReader(text),
        read_options=csv.ReadOptions(column_names=SCHEMA.names, block_size=len(text)),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types=_CSV_TYPES, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
        ),
    )
    tags = pc.split_pattern(table["tags"].combine_chunks(), _TAG_SEPARATOR)
    # Without their validity, lists that are null are empty ones.
    table = table.set_column(
        SCHEMA.get_field_index("tags"), SCHEMA.field("tags"), pa.ListArray.from_arrays(tags.offsets, tags.values)
    )
    writer.write_table(table, row_group_size=len(rows))
    done = done._replace(written=done.written + len(rows))
    rows.clear()
    return done
