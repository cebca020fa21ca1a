"""Execute: run a query of the catalog within its limits, and say at which watermark it was answered.

The watermark is read before the query starts, never after: an answer may know more than it claims, never less.
Everything the caller got wrong is refused before ClickHouse is asked; what ClickHouse refuses is the file's fault.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime

from headrace.errors import Error, InvalidConfiguration, InvalidInput, InvalidSQL, LimitExceeded, Unavailable
from headrace.events.position import START, Position
from headrace.queries.answer import Answer
from headrace.queries.cache import AnswerCache
from headrace.queries.catalog import Query
from headrace.queries.formats import JSON, Format
from headrace.queries.parameters import Values, bind
from headrace.settings import Query as Limits
from headrace.warehouse.client import ClickHouse, ClickHouseSettings
from headrace.warehouse.watermark import Watermark, WatermarkReader

# How ClickHouse ends a body when it fails after the first bytes: src/Server/HTTP/WriteBufferFromHTTPServerResponse.cpp.
_EXCEPTION_TAIL = b"\r\n__exception__\r\n"

# Codes of ClickHouse's src/Common/ErrorCodes.cpp.
_BAD_PARAMETER = {457}
_MISSING = {60, 81}
_TIME, _ROWS, _MEMORY = {159, 160}, {396}, {241}

_ANSWER_SETTINGS = {
    # Times mean the same whatever zone the server runs in, and say so.
    "session_timezone": "UTC",
    "date_time_output_format": "iso",
    "output_format_json_quote_64bit_integers": 0,
    "output_format_json_escape_forward_slashes": 0,
    "output_format_write_statistics": 0,
}


@dataclass(frozen=True, slots=True)
class Export:
    """An answer as it streams from ClickHouse. `chunks` raises Unavailable when it breaks off in the middle."""

    watermark: Watermark
    chunks: AsyncIterator[bytes]


class Executor:
    """Runs queries against one ClickHouse. Safe to share between tasks."""

    def __init__(self, *, clickhouse: ClickHouse, watermarks: WatermarkReader, limits: Limits) -> None:
        self._clickhouse = clickhouse
        self._cache = AnswerCache()
        self.watermarks = watermarks
        self.limits = limits

    async def answer(
        self, query: Query, values: Values, *, min_position: Position = START, age_max_s: float = 0.0
    ) -> Answer:
        """Run `query` with `values` and hold its answer in memory, at most `limits.rows_max` rows.

        `min_position`: wait until the watermark has passed it. `age_max_s`: an answer this old may be shared, as far as
        the file's own `cache_s` does not allow more. Raises InvalidInput for `values`, Behind, LimitExceeded,
        Unavailable, and InvalidConfiguration for a file that ClickHouse refuses. Repeating it changes nothing.
        """
        age_max_s = max(age_max_s, query.cache_s)
        if age_max_s <= 0:
            return await self._run(query, values, min_position)
        key = (query.name, tuple(sorted((name, tuple(sent)) for name, sent in values.items())))
        return await self._cache.get(
            key, lambda: self._run(query, values, min_position), age_max_s=age_max_s, at_least=min_position
        )

    async def export(self, query: Query, values: Values, *, format: Format, min_position: Position = START) -> Export:
        """Run `query` and stream its answer in `format`. Errors as `answer`, up to the first bytes of the answer."""
        parameters = bind(query.parameters, values, datetime.now(UTC))
        watermark = await self._watermark(min_position)
        chunks = self._stream(query, parameters, format)
        first = await anext(chunks, b"")
        return Export(watermark, _chain(first, chunks))

    async def columns(self, query: Query) -> dict[str, str]:
        """Name and type of every column of the answer, without running the query. Errors as `answer`.

        Parameters without a default get a harmless value, for the types do not depend on it.
        """
        values = {p.name: [_placeholder(p.type.schema)] for p in query.parameters if p.required}
        parameters = bind(query.parameters, values, datetime.now(UTC))
        try:
            rows = await self._clickhouse.rows(
                f"DESCRIBE TABLE (\n{query.sql}\n)", parameters, settings=self._settings(query)
            )
        except Error as error:
            raise self._explained(error, query) from error
        return {str(row[0]): str(row[1]) for row in rows}

    async def _run(self, query: Query, values: Values, min_position: Position) -> Answer:
        parameters = bind(query.parameters, values, datetime.now(UTC))
        watermark = await self._watermark(min_position)
        started = time.perf_counter()
        try:
            raw = await self._clickhouse.raw(
                query.sql, parameters, format=JSON.clickhouse, settings=self._settings(query)
            )
        except Error as error:
            raise self._explained(error, query) from error
        elapsed_ms = (time.perf_counter() - started) * 1000
        return Answer.from_json(raw, query=query.name, watermark=watermark, elapsed_ms=elapsed_ms)

    async def _stream(self, query: Query, parameters: dict[str, str | None], format: Format) -> AsyncIterator[bytes]:
        tail = b""
        try:
            async with self._clickhouse.stream(
                query.sql, parameters, format=format.clickhouse, settings=self._settings(query)
            ) as chunks:
                async for chunk in chunks:
                    tail = (tail + chunk)[-len(_EXCEPTION_TAIL) :]
                    yield chunk
        except Error as error:
            raise self._explained(error, query) from error
        if tail == _EXCEPTION_TAIL:
            # The status is long sent; breaking the connection is the only way left to say that rows are missing.
            raise Unavailable(f"ClickHouse failed in the middle of the answer of {query.name!r}.")

    async def _watermark(self, min_position: Position) -> Watermark:
        if min_position <= START:
            return await self.watermarks.latest()
        return await self.watermarks.wait_for(min_position, timeout_s=self.limits.wait_max_s)

    def _settings(self, query: Query) -> ClickHouseSettings:
        return {
            **_ANSWER_SETTINGS,
            # 2, not 1: a file may carry a SETTINGS clause of its own, and nothing may be written.
            "readonly": 2,
            "max_execution_time": query.time_max_s or self.limits.time_max_s,
            # Else ClickHouse stops a query early, on an estimate of how long it would take.
            "timeout_before_checking_execution_speed": 0,
            "max_result_rows": query.rows_max or self.limits.rows_max,
            "result_overflow_mode": "throw",
            "max_memory_usage": self.limits.memory_bytes_max,
        }

    def _explained(self, error: Error, query: Query) -> Error:
        """What ClickHouse refused, in terms of the query file and the settings."""
        code = getattr(error.__cause__, "code", None)
        if isinstance(error, LimitExceeded):
            return self._limit(error, query, code)
        if not isinstance(error, InvalidSQL):
            return error
        if code in _BAD_PARAMETER:
            return InvalidInput(f"ClickHouse refused a parameter of {query.name!r}.", _reason(error.detail))
        if code in _MISSING:
            return Unavailable(
                f"The query {query.name!r} reads a table that does not exist (yet).",
                _reason(error.detail),
                "Define it in streams/*.sql and start `headrace worker`; `headrace status` lists the read models.",
            )
        return InvalidConfiguration(
            f"ClickHouse refused the query {query.name!r}.", _reason(error.detail), f"Correct {query.path}."
        )

    def _limit(self, error: LimitExceeded, query: Query, code: int | None) -> LimitExceeded:
        if code in _TIME:
            limit, own = f"{query.time_max_s or self.limits.time_max_s:g} s of time", "time_max_s"
        elif code in _ROWS:
            limit, own = f"{query.rows_max or self.limits.rows_max} rows", "rows_max"
        elif code in _MEMORY:
            limit, own = f"{self.limits.memory_bytes_max} bytes of memory", "memory_bytes_max"
        else:
            return error
        raised = "" if own == "memory_bytes_max" else f", or `-- {own}:` in {query.path.name}"
        return LimitExceeded(
            f"The query {query.name!r} went over its limit of {limit}.",
            _reason(error.detail),
            f"Ask for less, or raise query.{own} in headrace.toml{raised}.",
        )


async def _chain(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if first:
        yield first
    async for chunk in rest:
        yield chunk


def _placeholder(schema: dict[str, object]) -> str:
    by_type = {"integer": "0", "number": "0", "boolean": "false", "array": "[]"}
    if "anyOf" in schema:
        return "now"
    if schema.get("format") == "uuid":
        return "00000000-0000-0000-0000-000000000000"
    return by_type.get(str(schema.get("type")), "")


def _reason(text: str) -> str:
    """ClickHouse's own sentence, without what the driver and the server put around it."""
    found = re.search(r"DB::Exception: (.*?)(?:\. In scope .*|\(version .*)?$", text, re.DOTALL)
    reason = " ".join((found[1] if found else text).split())
    return reason if len(reason) <= 500 else reason[:499] + "…"
