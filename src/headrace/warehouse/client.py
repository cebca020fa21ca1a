"""The one way to ClickHouse: SQL in, rows, bytes or Arrow out, over its HTTP interface.

Embedded or a cluster, it is an address; no code path differs. Nothing above the warehouse may see an exception of
the driver: every one becomes a class of `headrace.errors`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import aiohttp
import clickhouse_connect
import pyarrow as pa
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.exceptions import ClickHouseError

from headrace.errors import Error, InvalidConfiguration, InvalidSQL, LimitExceeded, Unavailable
from headrace.warehouse.feeding import fed

CONNECT_TIMEOUT_S = 5
CONNECTIONS_MAX = 32
PIECE_BYTES = 256 << 10

# Codes of ClickHouse's src/Common/ErrorCodes.cpp, by what the caller can do about them.
_LIMITS = {158, 159, 160, 241, 290, 307, 396}
_AUTHENTICATION = {192, 193, 194, 497, 516}
_WAIT = {74, 75, 76, 202, 209, 210, 236, 243, 252, 279, 394, 425, 439, 999}

# An insert answers only when its parts are on disk: recent servers would otherwise gather inserts in memory.
DURABLE = {"async_insert": 0, "wait_for_async_insert": 1}

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
Parameters = Mapping[str, Any]
ClickHouseSettings = Mapping[str, Any]


class ClickHouse:
    """A pool of connections to one ClickHouse, with one default database. Safe to share between tasks."""

    def __init__(self, client: AsyncClient, *, url: str, database: str) -> None:
        self._client = client
        self.url = url
        self.database = database

    @classmethod
    async def connect(cls, url: str, *, database: str, timeout_s: float = 300.0) -> Self:
        """Open `http(s)://user:password@host:port`; makes `database` if it does not exist.

        `timeout_s` bounds one request. Raises Unavailable when nothing answers, InvalidConfiguration for a wrong
        address, user or password.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidConfiguration(
                "clickhouse.url is not an HTTP address.",
                f"Got the scheme {parts.scheme!r} and the host {parts.hostname!r}.",
                "Write http://user:password@host:8123; ClickHouse's native port 9000 is not used.",
            )
        with translated(url):
            client = await clickhouse_connect.get_async_client(
                host=parts.hostname,
                port=parts.port or (8443 if parts.scheme == "https" else 8123),
                interface=parts.scheme,
                username=unquote(parts.username or "default"),
                password=unquote(parts.password or ""),
                connect_timeout=CONNECT_TIMEOUT_S,
                send_receive_timeout=timeout_s,
                connector_limit=CONNECTIONS_MAX,
                connector_limit_per_host=CONNECTIONS_MAX,
                # Over loopback compression costs more than it saves.
                compress=parts.hostname not in _LOOPBACK,
                query_retries=0,
            )
            await client.command(f"CREATE DATABASE IF NOT EXISTS `{database}`")
        client.database = database
        return cls(client, url=url, database=database)

    async def close(self) -> None:
        """Close every connection; requests under way fail with Unavailable."""
        await self._client.close()

    async def execute(
        self,
        sql: str,
        parameters: Parameters | None = None,
        *,
        settings: ClickHouseSettings | None = None,
        query_id: str | None = None,
    ) -> None:
        """Run one statement whose answer does not matter: DDL, INSERT … SELECT."""
        await self.raw(sql, parameters, settings=settings, query_id=query_id)

    async def rows(
        self, sql: str, parameters: Parameters | None = None, *, settings: ClickHouseSettings | None = None
    ) -> Sequence[Sequence[Any]]:
        """Run one SELECT and give its rows as Python values. For small answers: all of them are held in memory."""
        with translated(self.url):
            result = await self._client.query(sql, parameters=_bound(parameters), settings=dict(settings or {}))
        return result.result_rows

    async def table(
        self, sql: str, *, settings: ClickHouseSettings | None = None
    ) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        """Run one SELECT and give the names of its columns and its rows. For small answers, like `rows`."""
        with translated(self.url):
            result = await self._client.query(sql, settings=dict(settings or {}))
        return result.column_names, result.result_rows

    async def raw(
        self,
        sql: str,
        parameters: Parameters | None = None,
        *,
        format: str | None = None,
        settings: ClickHouseSettings | None = None,
        query_id: str | None = None,
    ) -> bytes:
        """Run one statement and give its answer as ClickHouse wrote it, in the named output format."""
        with translated(self.url):
            answer: bytes = await self._client.raw_query(
                sql,
                parameters=_bound(parameters),
                fmt=format,
                settings={**(settings or {}), **({"query_id": query_id} if query_id else {})},
            )
        return answer

    @asynccontextmanager
    async def stream(
        self, sql: str, parameters: Parameters | None = None, *, format: str, settings: ClickHouseSettings | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Run one SELECT and give its answer in chunks as they arrive. Leaving the block cancels the rest."""
        with translated(self.url):
            source = await self._client.raw_stream(
                sql, parameters=_bound(parameters), fmt=format, settings=dict(settings or {})
            )
            async with source as chunks:
                yield chunks

    async def insert_select(
        self,
        sql: str,
        rows: pa.Table | AsyncIterable[bytes],
        parameters: Parameters | None = None,
        *,
        settings: ClickHouseSettings | None = None,
        query_id: str | None = None,
    ) -> int:
        """Run `INSERT … SELECT … FROM input(…) … FORMAT …` over the rows; returns how many rows were written.

        `rows` is a table for FORMAT ArrowStream, or the bytes of any other format as they come; what these fail with is
        raised, and what was sent is not stored. A repeated insert whose `insert_deduplication_token` is known writes
        none.
        """
        head = f"{_with_literals(sql, parameters or {})}\n".encode()
        settings = {**(settings or {}), **({"query_id": query_id} if query_id else {})}
        if isinstance(rows, pa.Table):
            return await self._insert(_body(head, rows), settings)
        async with fed(rows) as pieces:
            return await self._insert(_chained(head, pieces), settings)

    async def _insert(self, body: Any, settings: ClickHouseSettings) -> int:
        with translated(self.url):
            summary = await self._client.raw_insert(insert_block=body, settings=dict(settings))
        return int(summary.written_rows)

    async def insert_arrow(
        self,
        table: str,
        rows: pa.Table,
        *,
        settings: ClickHouseSettings | None = None,
        query_id: str | None = None,
    ) -> None:
        """Insert all rows as one request. Repeating it with the same `insert_deduplication_token` adds nothing.

        The driver repeats the request by itself when the connection breaks: give every insert that counts a token.
        """
        with translated(self.url):
            await self._client.raw_insert(
                table,
                column_names=rows.column_names,
                insert_block=to_arrow_stream(rows),
                fmt="ArrowStream",
                settings={**(settings or {}), **({"query_id": query_id} if query_id else {})},
            )


def to_arrow_stream(rows: pa.Table) -> bytes:
    """The table in the format that ClickHouse calls ArrowStream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    stream: bytes = sink.getvalue().to_pybytes()
    return stream


_PARAMETER = re.compile(r"\{(\w+):[^}]+\}")


def _with_literals(sql: str, parameters: Parameters) -> str:
    """The driver sends no parameters with the rows of an insert, so their values stand in the text."""

    def literal(found: re.Match[str]) -> str:
        if found[1] not in parameters:  # braces in the name of a column
            return found[0]
        value = parameters[found[1]]
        if isinstance(value, int | list):
            return str(value)
        escaped = str(value).replace("\\", "\\\\").replace("'", "\\'")
        return f"'{escaped}'"

    return _PARAMETER.sub(literal, sql)


def _body(head: bytes, rows: pa.Table) -> Any:
    """Small tables are whole, so that the driver can repeat them by itself; large ones are not copied."""
    return head + to_arrow_stream(rows) if rows.nbytes < PIECE_BYTES else _in_pieces(head, rows)


class _Pieces:
    """A file for Arrow's writer that keeps what it is given, without copying it."""

    closed = False

    def __init__(self) -> None:
        self.pieces: list[memoryview] = []

    def write(self, data: pa.Buffer | bytes) -> None:
        self.pieces.append(memoryview(data))

    def flush(self) -> None:
        """Nothing is held back."""


async def _in_pieces(head: bytes, rows: pa.Table) -> AsyncIterator[Any]:
    """The head, and the table as an Arrow stream: bytes and views of `PIECE_BYTES` or less. Columns are not copied."""
    file = _Pieces()
    with pa.ipc.new_stream(file, rows.schema) as writer:
        writer.write_table(rows)
    small = bytearray(head)
    for piece in file.pieces:
        if len(small) + piece.nbytes <= PIECE_BYTES:
            small += piece
            continue
        yield bytes(small)
        small = bytearray()
        for begin in range(0, piece.nbytes, PIECE_BYTES):
            yield piece[begin : begin + PIECE_BYTES]
    yield bytes(small)


async def _chained(head: bytes, rest: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    yield head
    async for piece in rest:
        yield piece


def _bound(parameters: Parameters | None) -> dict[str, Any] | None:
    return dict(parameters) if parameters else None


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Turn what the driver raises into what the caller can act on."""
    try:
        yield
    except ClickHouseError as error:
        raise _translate(error, url) from error
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise _unreachable(url, str(error) or type(error).__name__) from error


def _translate(error: ClickHouseError, url: str) -> Error:
    code = getattr(error, "code", None)
    text = _words(str(error))
    if code is None:
        return _unreachable(url, text)
    if code in _LIMITS:
        return LimitExceeded("ClickHouse stopped the query at a limit.", text, "Narrow the query, or raise the limit.")
    if code in _AUTHENTICATION:
        return InvalidConfiguration("ClickHouse refused the user or the password.", text, "Check clickhouse.url.")
    if code in _WAIT:
        return Unavailable("ClickHouse cannot do this now.", text, "It is tried again; `headrace doctor` shows more.")
    return InvalidSQL("ClickHouse refused the statement.", text)


# What the driver adds around ClickHouse's own words, and a list of every keyword there is.
_AROUND = re.compile(
    r"^Received ClickHouse exception, code: \d+, server response: |\(version [^()]*\)|\(for url [^()]*\)"
    r"|Expected one of: .*?\. (?=\(SYNTAX_ERROR\))",
    re.DOTALL,
)


def _words(text: str) -> str:
    return " ".join(_AROUND.sub("", text).split())


def _unreachable(url: str, reason: str) -> Unavailable:
    parts = urlsplit(url)
    return Unavailable(
        f"ClickHouse cannot be reached at {parts.hostname}:{parts.port}.",
        reason,
        "Start it, or correct clickhouse.url; `headrace doctor` checks both databases.",
    )
