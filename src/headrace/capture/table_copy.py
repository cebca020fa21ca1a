"""Table copy: the rows of a range of a table's pages, as the text of COPY, as fast as the server sends it.

The server sends each row in a message of its own, and a step in Python for each would hold up the event loop for most
of the time. So without TLS the bytes are read from the socket, and the heads of all messages in a buffer are cut out
at once, as in `framing`, in another thread. Nothing here knows what a row means.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager, suppress
from typing import NamedTuple

import numpy as np
import psycopg
from psycopg import pq, sql

from headrace.capture.connection import (
    Lost,
    Refused,
    next_copy_data,
    parse_server_error,
    protocol_message,
    raise_server_error,
)
from headrace.capture.framing import HEAD_BYTES, Bytes, find_copy_data
from headrace.capture.personal import Personal
from headrace.capture.personal_copy import protect_rows
from headrace.capture.server import Connection, connect, read_row, read_sql
from headrace.capture.source_tables import Leaf
from headrace.errors import Conflict, Error, InvalidConfiguration, Unavailable

CHUNK_BYTES = 1 << 20
_SILENT_MAX_S = 300.0  # a condition that no row meets can keep the server silent for as long as it reads
_READY = b"Z\0\0\0\5"  # ReadyForQuery, without the state of the transaction
_READY_BYTES = len(_READY) + 1
_NO_PRIVILEGE = "42501"
_GONE = ("42P01", "42703", "3F000")  # no such table, column, schema
_SETTINGS = (
    "SET LOCAL statement_timeout = 0",  # the reader may be slow; what the server may be is bounded by _SILENT_MAX_S
    "SET LOCAL row_security = off",  # an error instead of a part of the rows
    "SET LOCAL enable_seqscan = off",  # without statistics the planner would read the whole table for each range
)


class Rewritten(Conflict):
    """The table is not in the file any more that it was described with: describe it again, and copy it from the start.

    TRUNCATE, VACUUM FULL, CLUSTER and a rewriting ALTER TABLE do that; so do renaming and dropping it or a column.
    """


async def copy_range(
    url: str,
    leaf: Leaf,
    columns: Sequence[str],
    page_begin: int,
    page_end: int | None,
    *,
    where: str = "",
    exported: str | None = None,
    personal: Personal | None = None,
    full_name: str = "",
) -> AsyncGenerator[bytes, None]:
    """The rows of `leaf` in the pages from `page_begin` to before `page_end`, None: to the end, in a new snapshot, or
    in the one that `export_snapshot` named.

    Yields COPY's text format in pieces of about `CHUNK_BYTES` that end with a row. `where` is a condition in SQL, as
    trusted as the configuration that it is from. `personal` columns of the table `full_name` are replaced. One short
    transaction, which locks the table against nothing but its being rewritten or dropped. Close the iterator to stop
    early. Raises Rewritten, InvalidConfiguration for missing rights, Unavailable; a repeat reads the range as it is
    then.
    """
    async with connect(url) as connection:
        await _begin(connection, leaf, exported)
        statement = read_sql("copy_range").format(
            columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
            table=sql.Identifier(leaf.schema, leaf.name),
            range=sql.SQL(_range(page_begin, page_end)),
            where=sql.SQL(f" AND ({where}\n)" if where else ""),
        )
        way = _read_libpq if connection.pgconn.ssl_in_use else _read_socket
        try:
            async with aclosing(way(connection, statement)) as chunks:
                async for chunk in chunks:
                    yield await protect_rows(chunk, columns, personal, full_name, url)
        except Refused as error:
            raise _explain(error.sqlstate, str(error), leaf) from error
        except (Lost, TimeoutError) as error:
            raise Unavailable(f"The copy of {leaf.full_name} broke off.", str(error), "Repeat it.") from error
        except psycopg.Error as error:
            raise _explain(error.sqlstate or "", str(error), leaf) from error
        finally:
            await connection.close()  # what is left in the socket is not for psycopg to read


class Exported(NamedTuple):
    """A snapshot that several connections can read in. `seen` is PostgreSQL's text of it: xmin:xmax:running."""

    name: str
    seen: str


@asynccontextmanager
async def export_snapshot(url: str) -> AsyncIterator[Exported]:
    """A snapshot for `copy_range`, as long as the block lasts. It holds vacuum back meanwhile. Raises Unavailable."""
    async with connect(url) as connection:
        await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        row = await read_row(connection, "export_snapshot")
        yield Exported(row["name"], row["seen"])


async def _begin(connection: Connection, leaf: Leaf, exported: str | None) -> None:
    """Begin the transaction and make sure that the table is in the file it was described with, until it ends.

    Without an exported snapshot each statement has one of its own, so that of COPY is younger than the lock: rows moved
    into a new file before it are not invisible to it.
    """
    name = sql.Identifier(leaf.schema, leaf.name)
    level = "REPEATABLE READ" if exported else "READ COMMITTED"
    await connection.execute(f"BEGIN ISOLATION LEVEL {level} READ ONLY".encode())
    try:
        if exported:
            await connection.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(exported)))
        await connection.execute(sql.SQL("SELECT FROM ONLY {} LIMIT 0").format(name))  # locks it
    except (psycopg.errors.UndefinedTable, psycopg.errors.InsufficientPrivilege) as error:
        raise _explain(error.sqlstate or "", str(error), leaf) from error
    row = await read_row(connection, "read_file", name=name.as_string(connection))
    if (row["oid"], row["filenode"]) != (leaf.oid, leaf.filenode):
        raise _rewritten(leaf, f"Its file is {row['filenode']}; expected {leaf.filenode}.")
    await connection.execute("; ".join(_SETTINGS).encode())


def _range(page_begin: int, page_end: int | None) -> str:
    upper = "" if page_end is None else f" AND ctid < '({page_end},0)'::tid"
    return f"ctid >= '({page_begin},0)'::tid{upper}"


async def _read_socket(connection: Connection, statement: sql.Composed) -> AsyncGenerator[bytes, None]:
    """Send the command past libpq, whose buffers are empty now, and read everything up to the end of its answer.

    In a thread of its own: the server sends 8 KiB at a time, and each would wake the event loop.
    """
    loop = asyncio.get_running_loop()
    with socket.socket(fileno=os.dup(connection.fileno())) as own, ThreadPoolExecutor(1, "headrace copy") as thread:
        own.settimeout(_SILENT_MAX_S)
        buffer, filled, done = np.empty(CHUNK_BYTES, np.uint8), 0, False
        try:
            own.sendall(protocol_message(b"Q", statement.as_bytes(connection) + b"\0"))
            while not done:
                if filled == len(buffer):  # one row is larger
                    buffer = np.concatenate([buffer, np.empty(len(buffer), np.uint8)])
                filled, chunk, rest, done = await loop.run_in_executor(thread, _read_chunk, own, buffer, filled)
                buffer[: filled - rest] = buffer[rest:filled].copy()
                filled -= rest
                if chunk:
                    yield chunk
        except TimeoutError as error:
            raise Lost(f"the server sent nothing for {_SILENT_MAX_S:.0f} s") from error
        except OSError as error:
            raise Lost(str(error)) from error
        finally:
            if not done:  # the thread may wait for more when nobody wants it any more
                with suppress(OSError):
                    own.shutdown(socket.SHUT_RDWR)


def _read_chunk(own: socket.socket, buffer: Bytes, filled: int) -> tuple[int, bytes, int, bool]:
    """Receive until the buffer is full or the answer seems to be at its end; how many bytes are in it then, and what
    `_cut_heads` makes of them.
    """
    while filled < len(buffer):
        count = own.recv_into(buffer.data[filled:])
        if count == 0:
            raise Lost("the server closed the connection")
        filled += count
        if buffer[max(0, filled - _READY_BYTES) : filled - 1].tobytes() == _READY:
            break
    return filled, *_cut_heads(buffer, filled)


def _cut_heads(buffer: Bytes, filled: int) -> tuple[bytes, int, bool]:
    """The rows in the complete messages; where the first incomplete one begins; whether the answer is at its end.

    Raises Lost and Refused for an error of the server.
    """
    starts, _, others, rest = find_copy_data(buffer, 0, filled)
    keep = np.ones(rest, np.bool_)
    for offset in range(HEAD_BYTES):
        keep[starts + offset] = False
    for begin, end in others:
        keep[begin:end] = False
        if buffer[begin] == ord("E"):
            raise_server_error(*parse_server_error(buffer[begin + HEAD_BYTES : end].tobytes()))
    return buffer[:rest][keep].tobytes(), rest, any(buffer[begin] == ord("Z") for begin, _ in others)


async def _read_libpq(connection: Connection, statement: sql.Composed) -> AsyncGenerator[bytes, None]:
    """The only way through TLS: libpq reads the socket and hands out row by row. Each holds up the event loop.

    psycopg's own loop around this waits for each row, which takes four times as long.
    """
    async with connection.cursor() as cursor, cursor.copy(statement):
        rows: list[bytes] = []
        size, done = 0, False
        while not done:
            count, done = _drain(connection.pgconn, rows)
            size += count
            if size >= CHUNK_BYTES or (done and size):
                yield b"".join(rows)
                rows, size = [], 0
            elif not done:
                await _readable(connection.fileno())


def _drain(pgconn: pq.abc.PGconn, rows: list[bytes]) -> tuple[int, bool]:
    """Add the rows that have come whole, as far as a chunk goes; their bytes, and whether they were the last."""
    size = 0
    while size < CHUNK_BYTES:
        count, row = next_copy_data(pgconn)
        if count < 0:
            while result := pgconn.get_result():
                if result.status == pq.ExecStatus.FATAL_ERROR:
                    raise psycopg.errors.error_from_result(result)
            return size, True
        if count == 0:
            break
        rows.append(bytes(row))
        size += count
    return size, False


async def _readable(fileno: int) -> None:
    """Wait until there is something to read. Raises TimeoutError."""
    loop, readable = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(fileno, readable.set)
    try:
        async with asyncio.timeout(_SILENT_MAX_S):
            await readable.wait()
    finally:
        loop.remove_reader(fileno)


def _explain(sqlstate: str, message: str, leaf: Leaf) -> Error:
    """What an error that does not pass by itself means for a copy."""
    if sqlstate == _NO_PRIVILEGE:
        return InvalidConfiguration(
            f"The role may not read all of {leaf.full_name}.",
            message,
            f"GRANT SELECT ON {leaf.full_name} to it; where row level security is on, let it BYPASSRLS.",
        )
    if sqlstate in _GONE:
        return _rewritten(leaf, message)
    return Unavailable(f"PostgreSQL ended the copy of {leaf.full_name}.", f"{message} (SQLSTATE {sqlstate or 'none'})")


def _rewritten(leaf: Leaf, detail: str) -> Rewritten:
    return Rewritten(f"{leaf.full_name} is not what it was when its copy began.", detail, "Copy it from the start.")
