"""Keeper: beside the loader, brings the mirrored tables to where they are wanted: adds, copies, removes.

State changes happen under the loader's lock, between two batches. What takes long goes on beside it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from headrace.capture.obstacles import find_obstacles
from headrace.capture.publication import publish, unpublish
from headrace.capture.source_tables import SourceTable, describe_table, find_tables
from headrace.capture.stream_floor import log_end, stream_floor
from headrace.capture.table_copy import Rewritten
from headrace.errors import Error, InvalidConfiguration, Unavailable
from headrace.mirror.copy import Copy
from headrace.mirror.mirror import Mirror
from headrace.mirror.repair import Repair
from headrace.mirror.shape import Shape, mirrored_name, shape_of
from headrace.mirror.table import Table
from headrace.telemetry import logger
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.mirrors import (
    COPYING,
    GONE,
    PAUSED,
    QUARANTINED,
    READY,
    REMOVED,
    MirrorRequest,
    StoredMirror,
    read_mirrors,
    read_requests,
    write_request,
)
from headrace.warehouse.watermark import Watermark

log = logger(__name__)

LOOK_EVERY_S = 0.5
DISCOVER_EVERY_S = 10.0
# Catching up between two batches holds them up, so only this little is left for then.
LAST_BATCHES_MAX = 20
SLICE_ROWS_MAX = 200_000
WAIT_S = 0.02

_SLICE = """
SELECT maxIf(_batch, rows <= {rows_max:UInt64}), max(rows) FROM (
    SELECT _batch, sum(count()) OVER (ORDER BY _batch) AS rows
    FROM %s
    WHERE _batch > {after:UInt64} AND _batch <= {upto:UInt64}
    GROUP BY _batch
    ORDER BY _batch
)
"""


class Loading(Protocol):
    """What the keeper needs of the loader."""

    lock: asyncio.Lock
    watermark: Watermark


class MirrorKeeper:
    """Runs until cancelled. `patterns` are the tables that headrace.toml names, `choices` how columns are wanted, by
    table and column. `refill` is told the name of a table whose rows were replaced as a whole.
    """

    def __init__(
        self,
        *,
        clickhouse: ClickHouse,
        source: str,
        postgres_url: str,
        publication: str,
        patterns: Sequence[str],
        choices: Mapping[str, Mapping[str, str]],
        mirror: Mirror,
        loader: Loading,
        copy: Copy,
        refill: Callable[[Sequence[str]], Awaitable[None]],
    ) -> None:
        self._clickhouse = clickhouse
        self._source = source
        self._url = postgres_url
        self._publication = publication
        self._patterns = patterns
        self._choices = choices
        self._mirror = mirror
        self._loader = loader
        self._copy = copy
        self._refill = refill
        self._repair = Repair(
            clickhouse=clickhouse,
            source=source,
            postgres_url=postgres_url,
            lock=loader.lock,
            refill=refill,
        )
        self._told: dict[str, str] = {}

    async def run(self) -> None:
        discover_at = 0.0
        loop = asyncio.get_running_loop()
        while True:
            try:
                if loop.time() >= discover_at:
                    await self.discover()
                    discover_at = loop.time() + DISCOVER_EVERY_S
                await self._carry_out_requests()
                await self._bring_over()
            except Unavailable as error:
                log.warning("mirror_waits", reason=str(error))
            await asyncio.sleep(LOOK_EVERY_S)

    async def discover(self) -> None:
        """Add the tables that are named and not mirrored yet. What cannot be is said once, and tried again."""
        try:
            wanted = await find_tables(self._url, self._patterns)
        except InvalidConfiguration as error:
            self._tell(str(self._patterns), error)
            return
        for each in wanted:
            try:
                if await self._is_new(each):
                    await self._add(each)
            except Unavailable:
                raise
            except Error as error:
                self._tell(each.full_name, error)

    async def _is_new(self, described: SourceTable) -> bool:
        """Whether a table is not mirrored yet. One that has taken over the name of another is."""
        holder = self._mirror.get(mirrored_name(described.schema, described.name))
        if holder is None or holder.stored.state == GONE:
            return not any(table.stored.oid == described.oid for table in self._mirror if table.stored.in_service)
        if holder.stored.state == REMOVED:  # until somebody asks for it
            return False
        if holder.stored.oid == described.oid:
            return False
        renamed = await describe_table(self._url, holder.stored.oid)
        if renamed is not None and (renamed.schema, renamed.name) != (described.schema, described.name):
            async with self._loader.lock:
                await self._mirror.rename(holder, renamed.schema, renamed.name)
        return True

    def _tell(self, table: str, error: Error) -> None:
        if self._told.get(table) != str(error):
            log.error("table_not_mirrored", table=table, problem=str(error))
        self._told[table] = str(error)

    async def _add(self, described: SourceTable) -> None:
        """Begin to mirror a table."""
        obstacles = await find_obstacles(self._url, [described], self._publication)
        if obstacles:
            raise InvalidConfiguration(
                f"{described.full_name} cannot be mirrored as it is.",
                " ".join(each.reason for each in obstacles),
                " ".join(each.hint for each in obstacles),
            )
        name = mirrored_name(described.schema, described.name)
        shape = self._shape(described)
        earlier = (await read_mirrors(self._clickhouse, self._source)).get(name)
        stored = StoredMirror(
            name=name,
            schema_name=described.schema,
            table_name=described.name,
            oid=described.oid,
            state=COPYING,
            shape=shape.to_json(),
            generation=earlier.generation + 1 if earlier else 1,
            stem=f"{name}_{described.oid}",
            revision=earlier.revision if earlier else 0,
        )
        async with self._loader.lock:
            table = self._mirror.put(stored)
            await table.make()
            await table.save(applied_batch=self._loader.watermark.batch)
        log.info("table_added", table=described.full_name, name=name)

    async def _bring_over(self) -> None:
        for table in self._mirror:
            if table.stored.state == COPYING:
                await self._bring_over_one(table)

    async def _bring_over_one(self, table: Table) -> None:
        described = await describe_table(self._url, table.stored.oid)
        if described is None:
            await self._quarantine(table, "It does not exist in PostgreSQL any more.")
            return
        if table.stored.floor_lsn == 0 or described.filenode != table.stored.filenode:
            await self._begin_copy(table, described)
        try:
            await self._copy.run(table, described)
        except Rewritten as error:
            log.warning("copy_begins_anew", table=described.full_name, reason=str(error))
            return
        await self._catch_up(table)

    async def _begin_copy(self, table: Table, described: SourceTable) -> None:
        """Empty tables in the present shape, whose changes are staged; then the floor from which on changes count."""
        shape = self._shape(described).to_json()
        begun = table.stored.filenode != 0 or shape != table.stored.shape
        async with self._loader.lock:
            await table.save(
                generation=table.stored.generation + begun,
                shape=shape,
                floor_lsn=0,
                since_batch=0,
                snapshot="",
                filenode=described.filenode,
                applied_batch=self._loader.watermark.batch,
            )
            await table.make()
        await publish(self._url, self._publication, [table.stored.oid])
        floor_lsn = await stream_floor(self._url)
        async with self._loader.lock:
            await table.save(floor_lsn=floor_lsn)

    async def _catch_up(self, table: Table) -> None:
        """Apply what was staged, and let the table go live between two batches.

        Copied rows may hold commits that are not loaded yet. They must be: an insert of a row that stands already would
        count twice.
        """
        end = await log_end(self._url) - 1
        loader = self._loader
        while (
            loader.watermark.position.lsn < end
            or loader.watermark.batch - table.stored.applied_batch > LAST_BATCHES_MAX
        ):
            if table.stored.floor_lsn == 0:  # truncated meanwhile
                return
            if loader.watermark.batch > table.stored.applied_batch:
                await table.catch_up(await self._slice_end(table, loader.watermark.batch))
            else:
                await asyncio.sleep(WAIT_S)
        async with loader.lock:
            if table.stored.floor_lsn == 0 or table.stored.state != COPYING:
                return
            await table.catch_up(loader.watermark.batch)
            since = table.stored.since_batch or loader.watermark.batch
            # Before the table is ready: a kill in between must not leave its readers as they were.
            await self._refill([table.stored.name])
            await table.save(state=READY, since_batch=since, problem="")
            await table.publish()
        await self._mirror.sweep()
        log.info("table_ready", table=table.stored.name, batch=table.stored.since_batch)

    async def _slice_end(self, table: Table, upto: int) -> int:
        """The batch that the next slice goes up to: as many whole batches as fit, but at least one."""
        after = table.stored.applied_batch
        parameters = {"after": after, "upto": upto, "rows_max": SLICE_ROWS_MAX}
        ((end, total),) = await self._clickhouse.rows(_SLICE % table.objects.staging, parameters)
        return int(upto if total <= SLICE_ROWS_MAX else max(end, after + 1))

    async def _carry_out_requests(self) -> None:
        for request in await read_requests(self._clickhouse, self._source):
            if request.wish:
                answer = await self._carry_out(request)
                await write_request(self._clickhouse, self._source, MirrorRequest(request.name, "", answer))

    async def _carry_out(self, request: MirrorRequest) -> str:
        """Do what is asked; the answer is empty, or says why it was not done."""
        schema, _, name = request.name.partition(".")
        table = self._mirror.get(mirrored_name(schema, name))
        state = table.stored.state if table and table.stored.in_service else REMOVED
        match request.wish:
            case "add" if state == REMOVED:
                try:
                    for each in await find_tables(self._url, [request.name]):
                        await self._add(each)
                except InvalidConfiguration as error:
                    return str(error)
            case "remove" if table and state != REMOVED:
                await self._remove(table)
            case "pause" if table and state == READY:
                async with self._loader.lock:
                    await table.save(state=PAUSED, applied_batch=self._loader.watermark.batch)
            case "resume" if table and state == PAUSED:
                async with self._loader.lock:
                    await table.save(state=COPYING)
            case "resync" if table and state != REMOVED:
                async with self._loader.lock:
                    await table.save(state=COPYING, floor_lsn=0, problem="")
            case "repair" if table and state == READY:
                try:
                    await self._repair.run(table)
                except Error as error:  # said to who asked; `verify` finds again what was not brought over
                    return str(error)
            case _:
                return f"It is {state}."
        log.info("request_carried_out", table=request.name, wish=request.wish)
        return ""

    async def _remove(self, table: Table) -> None:
        await unpublish(self._url, self._publication, [table.stored.oid])
        async with self._loader.lock:
            await table.save(state=REMOVED)
            await table.drop_views()
        await self._mirror.sweep()

    async def _quarantine(self, table: Table, problem: str) -> None:
        async with self._loader.lock:
            await table.save(state=QUARANTINED, problem=problem)
        log.error("table_quarantined", table=table.stored.name, problem=problem)

    def _shape(self, described: SourceTable) -> Shape:
        return shape_of(described, self._choices.get(described.full_name, {}))
