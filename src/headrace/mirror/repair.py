"""Repair: brings the rows over again that a comparison found different. Only the worker does it.

For each part a floor L is taken: every snapshot from then on sees all commits up to L. The rows are read from
PostgreSQL, and written once the mirror has everything that the read could see, between two batches. Their version is
that of rows that were copied at L: above every change up to L, below every later one. So what was wrong is replaced,
and a change that the read did not see, or saw before the stream brought it, still has the last word. A row that is gone
in PostgreSQL gets a tombstone, one version lower. An update that comes between and leaves out a large value (TOAST)
takes over what was wrong; so `headrace mirror verify` looks at the repaired rows once more.

From another process this could not be done: a batch takes the images before its changes from the rows, and a row that
changes between two attempts to load one batch would give it images of both.

The change stream has no entry for a repair. What reads the table is filled anew instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final

from headrace.capture.personal import Personal
from headrace.capture.source_tables import describe_table
from headrace.capture.stream_floor import log_end, stream_floor
from headrace.capture.table_rows import Key, SourceRows, open_rows
from headrace.errors import Conflict, Unavailable
from headrace.events.position import Position
from headrace.mirror.comparison import comparable_by_key, source_hash
from headrace.mirror.table import Table
from headrace.telemetry import logger
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.verifications import Verification, read_differences, read_verifications
from headrace.warehouse.watermark import WatermarkReader

log = logger(__name__)

KEYS_AT_ONCE: Final = 1000
FLOOR_WAIT_MAX_S: Final = 60.0
WATERMARK_WAIT_MAX_S: Final = 60.0


class Repair:
    """Of the tables of one source. `lock` is the loader's. `refill` is told the name of a table that was repaired."""

    def __init__(
        self,
        *,
        clickhouse: ClickHouse,
        source: str,
        postgres_url: str,
        personal: Personal,
        lock: asyncio.Lock,
        refill: Callable[[Sequence[str]], Awaitable[None]],
    ) -> None:
        self._clickhouse = clickhouse
        self._source = source
        self._url = postgres_url
        self._personal = personal
        self._lock = lock
        self._watermarks = WatermarkReader(clickhouse=clickhouse, source=source)
        self._refill = refill

    async def run(self, table: Table) -> int:
        """Bring over the rows that the last comparison found different; how many. Repeating it does it again.

        Raises Conflict when there is nothing to go by, or the table changes meanwhile; Unavailable.
        """
        found = (await read_verifications(self._clickhouse, self._source)).get(table.stored.name)
        if found is None or (found.stem, found.generation) != (table.stored.stem, table.stored.generation):
            raise Conflict(
                "The table was not compared since it was copied.", hint="Run `headrace mirror verify` first."
            )
        described = await describe_table(self._url, table.stored.oid)
        if described is None or not comparable_by_key(table.shape):
            raise Conflict(
                "Its rows cannot be brought over one by one: it has no key to find them by.",
                hint="Run `headrace mirror resync`.",
            )
        if described.full_name != table.stored.full_name:  # by its name its personal columns are known
            raise Conflict(f"It is called {described.full_name} now.", hint="Repair it when it is mirrored as that.")
        repaired = 0
        shape = table.shape
        async with open_rows(self._url, described, shape.key, source_hash(shape), where=shape.where) as rows:
            async for keys in self._keys(found):
                await self._bring_over(table, rows, keys)
                repaired += len(keys)
        async with self._lock:
            await self._refill([table.stored.name])
        log.info("table_repaired", table=described.full_name, rows=repaired)
        return repaired

    async def _keys(self, found: Verification) -> AsyncIterator[list[Key]]:
        after: Key = ()
        while page := await read_differences(self._clickhouse, self._source, found, after=after, rows_max=KEYS_AT_ONCE):
            yield [each.key for each in page]
            after = page[-1].key

    async def _bring_over(self, table: Table, rows: SourceRows, keys: Sequence[Key]) -> None:
        try:
            async with asyncio.timeout(FLOOR_WAIT_MAX_S):
                floor_lsn = await stream_floor(self._url)
        except TimeoutError as error:
            raise Unavailable(
                f"A transaction in PostgreSQL has been writing for more than {FLOOR_WAIT_MAX_S:g} s.",
                "Rows are brought over once every transaction has ended that was running.",
                "Look for it in pg_stat_activity, and repair again.",
            ) from error
        shape, objects = table.shape, table.objects
        copied = await rows.copy_by_key(keys, [column.name for column in shape.columns], self._personal)
        end = Position(await log_end(self._url) - 1)
        await self._watermarks.wait_for(end, timeout_s=WATERMARK_WAIT_MAX_S)
        async with self._lock:
            if not table.live or table.objects != objects:
                raise Conflict("The table became another one while it was repaired.", hint="Verify it again.")
            await table.put_copied(keys, copied, floor_lsn)
