"""Arrival: bringing mirrored tables over until they are live, several beside each other, each as a task of its own.

State changes happen under the loader's lock, between two batches. A failure of one table stops that table alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from headrace.capture.publication import publish
from headrace.capture.source_tables import SourceTable, describe_table
from headrace.capture.stream_floor import log_end, stream_floor
from headrace.capture.table_copy import Rewritten
from headrace.errors import Error, Unavailable, Unknown
from headrace.mirror.copy import Copy
from headrace.mirror.doubt import CannotSettle, Doubt
from headrace.mirror.layout import is_append_only, next_shape
from headrace.mirror.mirror import Mirror
from headrace.mirror.obstacles import refuse_obstacles
from headrace.mirror.table import Table
from headrace.settings import MirroredTable
from headrace.telemetry import logger
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.mirrors import COPYING, READY
from headrace.warehouse.watermark import Watermark

log = logger(__name__)

# Tables that are brought over at the same time; all of them share the workers of the copy.
TABLES_MAX = 4
# Catching up between two batches holds them up, so only this little is left for then.
LAST_BATCHES_MAX = 20
WAIT_S = 0.02
# So long the loader is held up at a time, by batches that have to be applied one by one.
HELD_UP_S = 0.2
# Rows in doubt are read so many times: those that move on meanwhile become fewer each time.
ROUNDS_MAX = 20


class Loading(Protocol):
    """What the keeper needs of the loader."""

    lock: asyncio.Lock
    watermark: Watermark


class Arrival:
    """`settings` are those of [mirror.table], by table. `refill` hears of a table whose rows were replaced.
    `reads_appends` says whether the publication for tables that are only appended to is read.
    """

    def __init__(
        self,
        *,
        clickhouse: ClickHouse,
        postgres_url: str,
        publication: str,
        settings: Mapping[str, MirroredTable],
        mirror: Mirror,
        loader: Loading,
        copy: Copy,
        refill: Callable[[Sequence[str]], Awaitable[None]],
        reads_appends: Callable[[], bool],
    ) -> None:
        self._clickhouse = clickhouse
        self._url = postgres_url
        self._publication = publication
        self._settings = settings
        self._mirror = mirror
        self._loader = loader
        self._copy = copy
        self._refill = refill
        self._reads_appends = reads_appends
        self._under_way: dict[str, asyncio.Task[None]] = {}

    def look(self) -> None:
        """Take up tables that are to be brought over. Raises what ended one of them and nobody expected."""
        for stem, task in list(self._under_way.items()):
            if task.done():
                del self._under_way[stem]
                task.result()
        for table in self._mirror:
            if len(self._under_way) >= TABLES_MAX:
                return
            if table.stored.state == COPYING and table.stored.stem not in self._under_way:
                self._under_way[table.stored.stem] = asyncio.create_task(self._bring_over(table))

    async def stop(self, *stems: str) -> None:
        """Leave tables where they are; none named: all. What was copied stays known."""
        tasks = [self._under_way.pop(stem) for stem in stems or list(self._under_way) if stem in self._under_way]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _bring_over(self, table: Table) -> None:
        """Copy what is missing of a table and let it go live. What may pass by itself is tried again later."""
        begun = False
        try:
            described = await describe_table(self._url, table.stored.oid)
            if described is None:
                raise Unknown("It does not exist in PostgreSQL any more.")
            if table.stored.floor_lsn == 0 or described.filenode != table.stored.filenode:
                await self._begin_copy(table, described)
            begun = True
            await self._copy.run(table, described)
            await self._settle(table, described)
            await self._go_live(table)
        except Rewritten as error:
            log.warning("copy_begins_anew", table=table.stored.full_name, reason=str(error))
        except Unavailable as error:
            log.warning("copy_waits", table=table.stored.full_name, reason=str(error))
        except Error as error:
            async with self._loader.lock:
                if begun and table.stored.floor_lsn == 0:  # it became another one, whose statements are others
                    log.warning("copy_begins_anew", table=table.stored.full_name, reason=str(error))
                    return
                await self._mirror.quarantine(table, " ".join(filter(None, (error.message, error.detail, error.hint))))

    async def _begin_copy(self, table: Table, described: SourceTable) -> None:
        """Empty tables in the present shape, whose changes are staged; then the floor from which on changes count."""
        appends = is_append_only(described.full_name, self._settings)
        if appends and not self._reads_appends():
            raise Unavailable("The worker does not read the publication for appended tables yet.", hint="It will soon.")
        wanted = next_shape(table.shape, described, self._settings)
        if wanted.where:  # a condition that is set later may meet a table that it would stop
            await refuse_obstacles(self._url, [described], self._publication, self._settings)
        shape = wanted.to_json()
        begun = table.stored.filenode != 0 or shape != table.stored.shape
        async with self._loader.lock:
            watermark = self._loader.watermark
            await table.become(
                generation=table.stored.generation + begun,
                shape=shape,
                floor_lsn=0,
                since_batch=0,
                snapshot="",
                filenode=described.filenode,
                applied_batch=watermark.batch,
            )
            self._mirror.know_personal(table)
        await publish(self._url, self._publication, [table.stored.oid], appends=appends, where=wanted.where)
        await stream_floor(self._url)
        async with self._loader.lock:
            if wanted.where and await table.has_incomplete_inserts(self._loader.watermark.batch):
                raise Rewritten("A row came to meet its condition while the copy began, without its large values.")
            # Lower than it could be: the changes that count are those of whole batches, for only of a batch is it known
            # which row each change began from. What a copied row holds of them already is applied once more.
            await table.save(floor_lsn=max(1, watermark.position.lsn - 1))

    async def _settle(self, table: Table, described: SourceTable) -> None:
        """Apply what was staged, and read the rows again that are in doubt then, until none is.

        Of a table that was live before none is. Its change stream would not bear it either: images begin from rows.
        """
        doubt = Doubt(self._clickhouse, table)
        for _ in range(ROUNDS_MAX):
            await self._catch_up(table)
            if not table.shape.key or table.stored.since_batch:
                return
            if not await self._copy.read_again(table, described, doubt, self._loader.lock):
                return
        raise CannotSettle("Keys of its rows change faster than the rows can be read.")

    async def _catch_up(self, table: Table) -> None:
        """Apply all that was staged until now, and what came meanwhile but for a few batches.

        Copied rows may hold commits that are not loaded yet. They must be: an insert of a row that stands already would
        count twice.
        """
        end = await log_end(self._url) - 1
        while self._loader.watermark.position.lsn < end:
            await self._apply(table)
        reached = self._loader.watermark.batch
        while table.stored.applied_batch < reached or self._behind(table) > LAST_BATCHES_MAX:
            await self._apply(table)

    async def _apply(self, table: Table) -> None:
        """Apply some of what was staged, or wait a little for more."""
        loader, clock = self._loader, asyncio.get_running_loop().time
        if table.stored.floor_lsn == 0:
            raise Rewritten("It was truncated, or its columns changed.")
        if not self._behind(table):
            await asyncio.sleep(WAIT_S)
            return
        end = await table.slice_end(loader.watermark.batch)
        if end > table.stored.applied_batch + 1:
            await table.catch_up(end)
            return
        # Where each batch has to be applied alone, as many may come meanwhile; a loader that waits makes fewer of them.
        async with loader.lock:
            until = clock() + HELD_UP_S
            await table.catch_up(end)
            while self._behind(table) and clock() < until:
                await table.catch_up(await table.slice_end(loader.watermark.batch))

    def _behind(self, table: Table) -> int:
        return self._loader.watermark.batch - table.stored.applied_batch

    async def _go_live(self, table: Table) -> None:
        loader = self._loader
        async with loader.lock:
            if table.stored.floor_lsn == 0 or table.stored.state != COPYING:
                return
            while self._behind(table):
                await table.catch_up(await table.slice_end(loader.watermark.batch))
            since = table.stored.since_batch or loader.watermark.batch + 1
            await table.save(since_batch=since)
            # Before the table is ready: a kill in between must leave neither its views nor its readers as they were.
            await table.publish()
            await self._refill([table.stored.name])
            await table.save(state=READY, problem="")
        await self._mirror.sweep()
        log.info("table_ready", table=table.stored.name, since_batch=table.stored.since_batch)
