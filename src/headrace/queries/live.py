"""Live: the answer of a query now, and again whenever the read side moved and the answer changed.

A feed costs one look at the (shared) watermark per tick; the query itself runs only after the watermark moved, once
for all feeds that ask the same, and never for more than about a quarter of the time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import msgspec

from headrace.errors import Error, Unavailable
from headrace.events.position import Position
from headrace.queries.answer import Answer, on_one_line
from headrace.queries.catalog import Query
from headrace.queries.execute import Executor
from headrace.queries.parameters import Values

INTERVAL_S = 0.25
KEEPALIVE_S = 15.0
RETRY_S = 2.0
# A window that ends now moves with the clock, even when nothing is written.
SLIDE_S = 10.0
# A query of 200 ms runs again at the earliest 600 ms later.
REST_RATIO = 3.0
CLIENTS_MAX = 200


class LiveClients:
    """Counts the open feeds of one process, bounds them, and ends them all when the process stops."""

    def __init__(self, *, clients_max: int = CLIENTS_MAX) -> None:
        self._clients_max = clients_max
        self._count = 0
        self._stopping = asyncio.Event()

    def require_room(self) -> None:
        """Raises Unavailable when the process stops or `clients_max` feeds are open."""
        if self._stopping.is_set():
            raise Unavailable("This process is stopping.", hint="Connect again in a moment.")
        if self._count >= self._clients_max:
            raise Unavailable(
                "Too many live clients.",
                f"This process serves at most {self._clients_max} at once.",
                "Close one, ask without /live, or start another API process.",
            )

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Counts one feed for as long as the block runs."""
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1

    def close(self) -> None:
        """End every feed at its next tick. A server that stops calls this first, for feeds never end by themselves."""
        self._stopping.set()

    async def pause(self, seconds: float) -> bool:
        """Wait; False as soon as the feeds shall end."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return True
        return False


async def follow(
    executor: Executor, query: Query, values: Values, *, clients: LiveClients, seen: Position | None = None
) -> AsyncIterator[Answer | Error | None]:
    """The answer now, then each answer that differs from the one before; None every `KEEPALIVE_S` of silence.

    `seen`: the watermark that the reader already has an answer of; nothing is sent until it has moved. An Error is
    given once, and the query is tried again every `RETRY_S`. Ends when `clients` closes or the reader leaves.
    """
    relative = any(parameter.is_relative(values.get(parameter.name, ())) for parameter in query.parameters)
    last: Answer | Error | None = None
    ran_at = spoke_at = time.monotonic()
    rest_s = INTERVAL_S
    while True:
        if await _is_due(executor, seen, slides=relative and time.monotonic() - ran_at >= SLIDE_S):
            ran_at = time.monotonic()
            said = await _ask(executor, query, values)
            rest_s = RETRY_S if isinstance(said, Error) else max(INTERVAL_S, said.elapsed_ms / 1000 * REST_RATIO)
            seen = None if isinstance(said, Error) else said.watermark.position
            if not _same(said, last):
                last, spoke_at = said, time.monotonic()
                yield said
        if time.monotonic() - spoke_at >= KEEPALIVE_S:
            spoke_at = time.monotonic()
            yield None
        if not await clients.pause(rest_s):
            return


async def _is_due(executor: Executor, seen: Position | None, *, slides: bool) -> bool:
    if seen is None or slides:
        return True
    try:
        return (await executor.watermarks.latest()).position > seen
    except Unavailable:
        return True


async def _ask(executor: Executor, query: Query, values: Values) -> Answer | Error:
    try:
        return await executor.answer(query, values, age_max_s=INTERVAL_S)
    except Error as error:
        return error


def _same(said: Answer | Error, last: Answer | Error | None) -> bool:
    if isinstance(said, Answer):
        return isinstance(last, Answer) and said.same_rows(last)
    return isinstance(last, Error) and last.as_dict() == said.as_dict()


async def events(
    executor: Executor, query: Query, values: Values, *, clients: LiveClients, seen: Position | None = None
) -> AsyncIterator[bytes]:
    """`follow` as server-sent events: `answer` (its id is the watermark) and `failure`, each with our JSON as data."""
    with clients.counted():
        async for said in follow(executor, query, values, clients=clients, seen=seen):
            if said is None:
                yield KEEPALIVE
            elif isinstance(said, Error):
                yield server_sent_event("failure", msgspec.json.encode(said.as_dict()))
            else:
                yield server_sent_event("answer", on_one_line(said.as_json()), id=str(said.watermark.position))


KEEPALIVE = b": still here\n\n"


def server_sent_event(event: str, data: bytes, *, id: str | None = None) -> bytes:
    """One event of the stream, as the HTML standard writes it. `data` is JSON without newlines."""
    head = f"id: {id}\n" if id is not None else ""
    return f"{head}event: {event}\n".encode() + b"data: " + data + b"\n\n"
