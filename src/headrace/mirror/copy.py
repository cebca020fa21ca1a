"""Copy: the rows that a table has before its changes are followed, range by range; and those again that are in doubt.

No range shares a snapshot with another, and none needs the one before: what was brought over is written down, and a
restart goes on with the rest (decision 12).
"""

from __future__ import annotations

import asyncio
from bisect import bisect
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from headrace.capture.personal import Personal
from headrace.capture.source_tables import Leaf, SourceTable
from headrace.capture.stream_floor import stream_floor
from headrace.capture.table_copy import Rewritten, copy_range, export_snapshot
from headrace.capture.table_rows import open_rows
from headrace.errors import Conflict
from headrace.mirror.column_type import SETTINGS
from headrace.mirror.comparison import Key, chunks, comparable_by_key, source_hash
from headrace.mirror.doubt import CannotSettle, Doubt
from headrace.mirror.statements import LOADING
from headrace.mirror.table import Table
from headrace.telemetry import logger
from headrace.warehouse.client import DURABLE, ClickHouse
from headrace.warehouse.mirrors import CopiedRange, read_ranges, write_ranges

log = logger(__name__)

RANGE_PAGES = 16_384
"""Pages of one range: 128 MiB, a few seconds or less. Its rows make one part or two, which saves merging them."""
# Ranges are parsed side by side already: parsing one in parallel as well costs more than it gains.
_PARSING = {"input_format_parallel_parsing": 0}
KEYS_AT_ONCE = 100
"""Rows that are read by their keys are held in memory, and have large values."""
LIMITED_RANGE_S = 20
"""With a limit of bytes a second, a range is no larger than what may be read in this time."""
_PAGE_BYTES = 8192
_END = 1 << 62  # the last range of a table goes on for ever


@dataclass(frozen=True, slots=True)
class Range:
    """Pages of a leaf that are still to be copied; `page_end` None: to the end."""

    leaf: Leaf
    page_begin: int
    page_end: int | None


class Copy:
    """Copies tables of one source. `workers` ranges are under way at once; all together read `bytes_per_s_max`."""

    def __init__(
        self,
        *,
        clickhouse: ClickHouse,
        source: str,
        postgres_url: str,
        workers: int,
        bytes_per_s_max: int | None,
        personal: Personal,
    ) -> None:
        self._clickhouse = clickhouse
        self._source = source
        self._postgres_url = postgres_url
        self._personal = personal
        self._slots = asyncio.Semaphore(workers)
        self._bytes_per_s_max = bytes_per_s_max and bytes_per_s_max / workers
        self._range_pages = RANGE_PAGES
        if self._bytes_per_s_max:  # a range is read at full speed, and then there is a pause
            self._range_pages = max(1, min(RANGE_PAGES, int(self._bytes_per_s_max * LIMITED_RANGE_S) // _PAGE_BYTES))

    async def run(self, table: Table, described: SourceTable) -> None:
        """Bring over what is missing. Raises Rewritten when it must begin anew; repeating it goes on.

        A table without a key is copied in one snapshot, and from the start after a crash: of rows that are copied twice
        nobody could tell that they are the same.
        """
        if not table.objects.copied_at_once:
            await self._copy_missing(table, described, None)
        elif not table.stored.snapshot:
            await table.empty()
            async with export_snapshot(self._postgres_url) as exported:
                await self._copy_missing(table, described, exported.name)
            await table.finish_copy(exported.seen)

    async def read_again(self, table: Table, described: SourceTable, doubt: Doubt, lock: asyncio.Lock) -> int:
        """Read the rows that are in doubt by their keys, as rows copied at a new floor; how many keys. Changes up to
        `table.stored.applied_batch` are applied, and none while this goes on. `lock` is the loader's.

        Raises CannotSettle when no row can be found by its key, and Rewritten when the copy must begin anew. A retry
        with another `doubt` reads again what is in doubt then.
        """
        found = 0
        async with aclosing(doubt.found()) as pages:
            async for keys in pages:
                if not comparable_by_key(table.shape):
                    raise CannotSettle("Rows changed while they were copied, and cannot be read again by such a key.")
                try:
                    await self._read_keys(table, described, keys, lock)
                except Conflict as error:
                    async with lock:
                        await table.save(floor_lsn=0)
                    raise Rewritten(error.message, error.detail, error.hint) from error
                found += len(keys)
        if found:
            log.info("rows_read_again", table=described.full_name, keys=found)
        return found

    async def _read_keys(self, table: Table, described: SourceTable, keys: Sequence[Key], lock: asyncio.Lock) -> None:
        objects, shape = table.objects, table.shape
        columns = [column.name for column in shape.columns]
        floor_lsn = await stream_floor(self._postgres_url)
        async with open_rows(self._postgres_url, described, shape.key, source_hash(shape), where=shape.where) as rows:
            for some in chunks(keys, KEYS_AT_ONCE):
                copied = await rows.copy_by_key(some, columns, self._personal)
                async with lock:
                    if table.stored.floor_lsn == 0 or table.objects != objects:
                        raise Conflict(f"{described.full_name} changed while its rows were read again.")
                    await table.put_copied(some, copied, floor_lsn)

    async def _copy_missing(self, table: Table, described: SourceTable, exported: str | None) -> None:
        done = [] if exported else await read_ranges(self._clickhouse, self._source, table.stored)
        missing = list(ranges(described.leaves, done, self._range_pages))
        log.info("copy_began", table=described.full_name, ranges=len(missing), done=len(done))
        try:
            async with asyncio.TaskGroup() as group:
                for each in missing:
                    await self._slots.acquire()
                    group.create_task(self._copy_one(table, each, exported)).add_done_callback(
                        lambda _: self._slots.release()
                    )
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from failed
        log.info("copy_ended", table=described.full_name)

    async def _copy_one(self, table: Table, range_: Range, exported: str | None) -> None:
        began = asyncio.get_running_loop().time()
        count = _Count()
        objects = table.objects
        columns = [column.name for column in objects.shape.columns]
        sql = objects.copy(table.stored.floor_lsn)
        async with aclosing(self._rows(table, range_, columns, exported)) as chunks:
            written = await self._clickhouse.insert_select(
                sql, count.of(chunks), settings={**DURABLE, **SETTINGS, **LOADING, **_PARSING}
            )
        if written < count.rows:
            await self._set_aside(table, range_, columns, exported)
        end = _END if range_.page_end is None else range_.page_end
        copied = CopiedRange(range_.leaf.oid, range_.page_begin, end, count.rows, count.bytes)
        await write_ranges(self._clickhouse, self._source, table.stored, [copied])
        if self._bytes_per_s_max:
            took_s = asyncio.get_running_loop().time() - began
            await asyncio.sleep(max(0.0, count.bytes / self._bytes_per_s_max - took_s))

    def _rows(
        self, table: Table, range_: Range, columns: Sequence[str], exported: str | None
    ) -> AsyncGenerator[bytes, None]:
        return copy_range(
            self._postgres_url,
            range_.leaf,
            columns,
            range_.page_begin,
            range_.page_end,
            where=table.shape.where,
            exported=exported,
            personal=self._personal,
            full_name=table.stored.full_name,
        )

    async def _set_aside(self, table: Table, range_: Range, columns: Sequence[str], exported: str | None) -> None:
        """Read the range again for the rows that a column cannot hold: they become dead letters."""
        parameters = {"source": self._source, "target": table.stored.name, "lsn": table.stored.floor_lsn}
        async with aclosing(self._rows(table, range_, columns, exported)) as chunks:
            found = await self._clickhouse.insert_select(
                table.objects.copied_letters(), chunks, parameters, settings=DURABLE
            )
        log.error("dead_letters", target=table.stored.name, count=found)


class _Count:
    """Counts rows and bytes of COPY's text format on their way: a line each, since newlines in values are escaped."""

    def __init__(self) -> None:
        self.rows = 0
        self.bytes = 0

    async def of(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            self.rows += chunk.count(b"\n")
            self.bytes += len(chunk)
            yield chunk


def ranges(leaves: Sequence[Leaf], done: Sequence[CopiedRange], pages: int = RANGE_PAGES) -> Iterator[Range]:
    """The ranges of all leaves that are not done, of so many pages. The last one of each leaf has no end: a table can
    grow.
    """
    for leaf in leaves:
        ends = {each.page_begin: each.page_end for each in done if each.leaf == leaf.oid}
        begins = [*sorted(ends), _END]
        begin = 0
        while begin < _END:
            if begin in ends:
                begin = ends[begin]
                continue
            end = _END if begin + pages > leaf.pages else begin + pages
            end = min(end, begins[bisect(begins, begin)])
            yield Range(leaf, begin, None if end == _END else end)
            begin = end
