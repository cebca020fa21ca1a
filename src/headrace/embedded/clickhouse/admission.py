"""Who may run a query now: a bounded number at once, a bounded queue behind them, and one query per query id.

Beyond these limits a request is refused at once, as ClickHouse refuses it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from headrace.embedded.clickhouse.exceptions import Code, refused

WAITING_PER_RUNNING: Final = 8
WAIT_S_MAX: Final = 30.0


class Admission:
    """Hands out places to queries. `queries_max` run at once; eight times as many may wait, each for 30 s."""

    def __init__(self, queries_max: int) -> None:
        self._queries_max = queries_max
        self._places = asyncio.Semaphore(queries_max)
        self._ids: set[str] = set()

    @asynccontextmanager
    async def enter(self, query_id: str) -> AsyncIterator[None]:
        """Hold a place for the time of one query. Raises code 216 for a running id, 202 when there is no place."""
        if query_id in self._ids:
            raise refused(Code.QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING, f"Query with id = {query_id} is already running.")
        if len(self._ids) >= self._queries_max * (1 + WAITING_PER_RUNNING):
            raise self._full()
        self._ids.add(query_id)
        try:
            try:
                async with asyncio.timeout(WAIT_S_MAX):
                    await self._places.acquire()
            except TimeoutError:
                raise self._full() from None
            try:
                yield
            finally:
                self._places.release()
        finally:
            self._ids.discard(query_id)

    def _full(self) -> Exception:
        return refused(
            Code.TOO_MANY_SIMULTANEOUS_QUERIES,
            f"Too many simultaneous queries. Maximum: {self._queries_max}, and as many wait as may wait",
        )
