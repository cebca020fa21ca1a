"""One request and its answer: what is read, on which connection it runs, and what is sent when.

The order here carries the promises: a query never outlives its client, a cut-off body never becomes a short insert,
and a connection goes back only after its query has ended.
"""

from __future__ import annotations

import asyncio
import secrets
import string
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from headrace.embedded.clickhouse import responses
from headrace.embedded.clickhouse.admission import Admission
from headrace.embedded.clickhouse.body import Body, ClientGone
from headrace.embedded.clickhouse.compression import choose, encoder
from headrace.embedded.clickhouse.engine import Engine
from headrace.embedded.clickhouse.exceptions import ClickHouseException, Code, refused
from headrace.embedded.clickhouse.execution import Execution, Result, changes_session
from headrace.embedded.clickhouse.feed import PIPE_BYTES, PIPE_COMPRESSION, Pipe, Spool
from headrace.embedded.clickhouse.formats import content_type
from headrace.embedded.clickhouse.request import Request
from headrace.embedded.clickhouse.responses import Send
from headrace.embedded.clickhouse.sessions import Session, Sessions, Unshared
from headrace.embedded.clickhouse.statement import Incomplete, InlineInsert, inline_insert

T = TypeVar("T")

QUERY_BYTES_MAX: Final = 16 << 20
INSERT_HEAD_BYTES_MAX: Final = 1 << 20
_KILL_AGAIN_S: Final = 0.1


class Aborted(Exception):
    """The response broke off in its middle on purpose; the connection must be closed without a proper end."""


@dataclass(frozen=True, slots=True)
class House:
    """What all requests share."""

    engine: Engine
    admission: Admission
    sessions: Sessions
    spool: Spool
    threads: ThreadPoolExecutor


class Exchange:
    """Answers one request to run a query."""

    def __init__(self, house: House, request: Request, body: Body, send: Send) -> None:
        self._house = house
        self._request = request
        self._body = body
        self._send = send
        self._query_id = request.query_id or str(uuid.uuid4())
        self._started_ns = time.perf_counter_ns()
        self._responding = False
        self._gone: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Answer. Raises `Aborted` when the query failed after the response had begun."""
        try:
            await self._answer()
        except ClickHouseException as exception:
            if self._responding:
                raise Aborted from exception
            await self._refuse(exception)
        except ClientGone:
            pass
        finally:
            if self._gone is not None:
                self._gone.cancel()

    async def _answer(self) -> None:
        for name in ("compress", "decompress"):
            if self._request.flag(name):
                raise refused(Code.NOT_IMPLEMENTED, f"The URL argument '{name}' is not supported: use HTTP compression")
        text, insert = await self._read_statement()
        async with self._house.admission.enter(self._query_id):
            with self._connection_for_request() as lease:
                try:
                    if insert is None:
                        execution, result = await self._watch(self._submit(partial(self._statement, lease, text)))
                    else:
                        execution, result = await self._insert(lease, insert, text[insert.data_start :])
                    last = await self._all_but_last(execution, result)
                finally:
                    if lease.open:
                        await self._submit(partial(self._end, lease, text))
        # Only now: a client that has the whole answer may use its session and its query id again at once.
        await self._respond_last(result, last)

    async def _read_statement(self) -> tuple[bytes, InlineInsert | None]:
        """The statement, whole; or an INSERT's head with the first of its rows, the rest still in the body."""
        request = self._request
        if request.is_form:
            request.add_form(await self._body.read_all(QUERY_BYTES_MAX))
        text = request.arguments.get("query", "").encode(errors="surrogateescape")
        if text:
            text += b"\n"
        while True:
            try:
                insert = inline_insert(text, complete=self._body.ended)
            except Incomplete:
                if len(text) > INSERT_HEAD_BYTES_MAX:
                    raise refused(Code.QUERY_IS_TOO_LARGE, "The INSERT's text before its data is too long") from None
                text += await self._body.read()
                continue
            break
        if insert is None:
            text += await self._body.read_all(QUERY_BYTES_MAX)
            if not text.strip():
                raise refused(Code.SYNTAX_ERROR, "Syntax error: failed at position 1 (end of query): . Empty query")
        return text, insert

    @contextmanager
    def _connection_for_request(self) -> Iterator[Session | Unshared]:
        wanted = self._request.session()
        self._house.sessions.expire()
        if wanted is None:
            yield Unshared(self._house.engine)
            return
        session_id, timeout_s, must_exist = wanted
        close_after = self._request.flag("close_session")
        with self._house.sessions.use(session_id, timeout_s, must_exist=must_exist, close_after=close_after) as session:
            yield session

    def _end(self, lease: Session | Unshared, text: bytes) -> None:
        """Blocks; the last thing that a query's thread does."""
        lease.end(self._request.settings, self._request.database, forget=changes_session(text))

    def _begin(self, lease: Session | Unshared) -> Execution:
        """Blocks; the first thing that a query's thread does."""
        request = self._request
        connection = lease.begin(request.settings, request.database, self._query_id, read_only=request.read_only)
        return Execution(
            connection,
            parameters=request.parameters,
            default_format=request.default_format,
            whole=request.flag("wait_end_of_query"),
            encoder=encoder(self._encoding, self._level) if self._encoding else None,
        )

    def _statement(self, lease: Session | Unshared, text: bytes) -> tuple[Execution, Result]:
        execution = self._begin(lease)
        refuse_writes = self._request.read_only and not lease.keeps_read_only
        settings = " ".join(self._request.settings).encode()
        result = execution.statement(text, settings, refuse_writes=refuse_writes)
        if execution.ended:
            self._end(lease, text)  # in the same thread, which saves two switches
        return execution, result

    async def _insert(self, lease: Session | Unshared, insert: InlineInsert, rows: bytes) -> tuple[Execution, Result]:
        if self._request.read_only:
            raise refused(Code.READONLY, "Cannot execute query in readonly mode.")
        path = self._house.spool.new_path()
        while len(rows) <= PIPE_BYTES and (piece := await self._body.read()):
            rows += piece
        if len(rows) <= PIPE_BYTES:
            return await self._watch(self._submit(partial(self._insert_from_file, lease, insert, path, rows)))
        pipe = Pipe(path)
        work = self._submit(partial(self._insert_from, lease, insert, path, PIPE_COMPRESSION))
        try:
            await self._pump(pipe, rows, work)
            return await self._watch(work)
        finally:
            await self._kill(work, pipe)
            pipe.stop()

    def _insert_from(
        self, lease: Session | Unshared, insert: InlineInsert, path: Path, compression: str = "none"
    ) -> tuple[Execution, Result]:
        execution = self._begin(lease)
        result = execution.insert(insert, str(path), compression, self._request.settings)
        self._end(lease, b"")
        return execution, result

    def _insert_from_file(
        self, lease: Session | Unshared, insert: InlineInsert, path: Path, rows: bytes
    ) -> tuple[Execution, Result]:
        path.write_bytes(rows)
        try:
            return self._insert_from(lease, insert, path)
        finally:
            path.unlink()

    async def _pump(self, pipe: Pipe, rows: bytes, work: asyncio.Future[T]) -> None:
        """Move the body into the pipe until its end, or until the engine has given up."""
        pump = asyncio.ensure_future(self._fill(pipe, rows))
        await _first_of(pump, work)
        if work.done():
            pump.cancel()
            await asyncio.wait({pump})
            return
        pump.result()

    async def _fill(self, pipe: Pipe, rows: bytes) -> None:
        await pipe.write(rows)
        while piece := await self._body.read():
            await pipe.write(piece)
        await pipe.finish()

    def _submit(self, job: Callable[[], T]) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._house.threads, job)

    async def _watch(self, work: asyncio.Future[T]) -> T:
        """Wait for a query. Cancels it when its client goes away, or when the server stops."""
        if self._body.ended and self._gone is None:
            self._gone = asyncio.ensure_future(self._body.gone())
        try:
            await _first_of(work, *([self._gone] if self._gone else []))
            finished = work.done()
        finally:
            await self._kill(work)
        if not finished:
            raise ClientGone
        return work.result()

    async def _kill(self, work: asyncio.Future[T], pipe: Pipe | None = None) -> None:
        """Cancel a running query and wait for its end. Repeats, because it may not have started when first told."""
        while not work.done():
            killed = await asyncio.to_thread(self._house.engine.kill, self._query_id)
            if killed and pipe is not None:
                pipe.end()  # wakes the query if it waits for rows; being cancelled, it stores none
            await asyncio.wait({work}, timeout=_KILL_AGAIN_S)
        if not work.cancelled():
            work.exception()

    async def _all_but_last(self, execution: Execution, result: Result) -> bytes:
        """Send a streamed result up to its last piece, which is returned; nothing is sent of a result in one piece."""
        tag = "".join(secrets.choice(string.ascii_lowercase) for _ in range(16))
        piece = result.first
        while not execution.ended:
            if not self._responding:
                self._responding = True
                await responses.start(self._send, 200, {**self._headers(result), "X-ClickHouse-Exception-Tag": tag})
            await responses.piece(self._send, piece, more=True)
            try:
                piece = await self._watch(self._submit(execution.next_piece))
            except ClickHouseException as exception:
                tail = responses.exception_tail(exception, self._house.engine.version, tag)
                await responses.piece(self._send, execution.tail(tail), more=True)
                raise
        return piece

    async def _respond_last(self, result: Result, piece: bytes) -> None:
        if self._responding:
            await responses.piece(self._send, piece, more=False)
        else:
            self._responding = True
            await responses.whole(self._send, 200, self._headers(result), piece)

    def _headers(self, result: Result) -> responses.Headers:
        headers = {
            **self._common_headers(),
            "Content-Type": content_type(result.format),
            "X-ClickHouse-Format": result.format,
            "X-ClickHouse-Timezone": self._request.settings.get("session_timezone") or self._house.engine.timezone,
            "X-ClickHouse-Summary": responses.summary(result.progress, time.perf_counter_ns() - self._started_ns),
        }
        if self._encoding:
            headers["Content-Encoding"] = self._encoding
        return headers

    def _common_headers(self) -> responses.Headers:
        return {
            "X-ClickHouse-Query-Id": self._query_id,
            "X-ClickHouse-Server-Display-Name": self._house.engine.display_name,
            "Keep-Alive": f"timeout={responses.KEEP_ALIVE_S}",
        }

    async def _refuse(self, exception: ClickHouseException) -> None:
        headers = {
            **self._common_headers(),
            "Content-Type": "text/plain; charset=UTF-8",
            "X-ClickHouse-Exception-Code": str(exception.code),
        }
        await responses.whole(self._send, exception.status, headers, exception.body(self._house.engine.version))

    @property
    def _encoding(self) -> str:
        if self._request.settings.get("enable_http_compression", "1") not in ("1", "true"):
            return ""
        return choose(self._request.headers.get("accept-encoding", ""))

    @property
    def _level(self) -> int:
        text = self._request.settings.get("http_zlib_compression_level", "3")
        return int(text) if text.isdecimal() else 3


async def _first_of(*futures: asyncio.Future[Any]) -> None:
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
