"""Keeper: beside the loader, brings the mirrored tables to where they are wanted: adds, copies, removes.

State changes happen under the loader's lock, between two batches. What takes long goes on beside it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from headrace.capture.personal import Personal
from headrace.capture.publication import published, unfiltered, unpublish
from headrace.capture.source_tables import SourceTable, describe_table, find_tables
from headrace.errors import Error, InvalidConfiguration, Unavailable
from headrace.mirror.arrival import Arrival, Loading
from headrace.mirror.layout import is_append_only, wanted_shape
from headrace.mirror.mirror import Mirror
from headrace.mirror.obstacles import refuse_obstacles
from headrace.mirror.repair import Repair
from headrace.mirror.shape import mirrored_name
from headrace.mirror.table import Table
from headrace.settings import MirroredTable
from headrace.telemetry import logger
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.mirrors import (
    COPYING,
    GONE,
    PAUSED,
    READY,
    REMOVED,
    MirrorRequest,
    StoredMirror,
    read_mirrors,
    read_requests,
    write_request,
)

log = logger(__name__)

LOOK_EVERY_S = 0.5
DISCOVER_EVERY_S = 10.0


class MirrorKeeper:
    """Runs until cancelled. `patterns` are the tables that headrace.toml names, `settings` those of [mirror.table].
    `refill` is told the name of a table whose rows were replaced as a whole.
    """

    def __init__(
        self,
        *,
        clickhouse: ClickHouse,
        source: str,
        postgres_url: str,
        publication: str,
        patterns: Sequence[str],
        settings: Mapping[str, MirroredTable],
        mirror: Mirror,
        loader: Loading,
        arrival: Arrival,
        refill: Callable[[Sequence[str]], Awaitable[None]],
        personal: Personal,
    ) -> None:
        self._clickhouse = clickhouse
        self._source = source
        self._url = postgres_url
        self._publication = publication
        self._patterns = patterns
        self._settings = settings
        self._mirror = mirror
        self._loader = loader
        self._arrival = arrival
        self._repair = Repair(
            clickhouse=clickhouse,
            source=source,
            postgres_url=postgres_url,
            personal=personal,
            lock=loader.lock,
            refill=refill,
        )
        self._personal = personal
        self._told: dict[str, str] = {}

    async def run(self) -> None:
        discover_at = 0.0
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    if loop.time() >= discover_at:
                        await self.discover()
                        discover_at = loop.time() + DISCOVER_EVERY_S
                    await self._carry_out_requests()
                except Unavailable as error:
                    log.warning("mirror_waits", reason=str(error))
                self._arrival.look()
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            await self._arrival.stop()

    async def discover(self) -> None:
        """Add the tables that are named and not mirrored yet. What cannot be is said once, and tried again."""
        try:
            wanted = await find_tables(self._url, self._patterns)
        except InvalidConfiguration as error:
            self._tell(str(self._patterns), error)
            return
        await self._check_published()
        for each in wanted:
            try:
                if await self._is_new(each):
                    await self._add(each)
            except Unavailable:
                raise
            except Error as error:
                self._tell(each.full_name, error)
        self._check_settings({each.full_name for each in wanted})

    def _check_settings(self, wanted: set[str]) -> None:
        """Say which settings are for no table: a wrong letter in a name would show what is personal."""
        mirrored = {table.stored.full_name for table in self._mirror if table.stored.in_service}
        for name in sorted(self._settings.keys() - wanted - mirrored):
            self._tell(
                name,
                InvalidConfiguration(
                    f'[mirror.table."{name}"] in headrace.toml is for no table that is mirrored.',
                    hint="Correct the name, or take the settings out.",
                ),
            )

    async def _check_published(self) -> None:
        """Stop tables that the publication does not publish as they need it: rows that came meanwhile are in no log for
        us, or are not wanted. A publication may be dropped and made anew, and DROP COLUMN … CASCADE takes a table out.
        """
        begun = {
            table.stored.oid: table for table in self._mirror if table.stored.in_service and table.stored.floor_lsn
        }
        appended = {oid for oid, table in begun.items() if is_append_only(table.stored.full_name, self._settings)}
        filtered = {oid for oid, table in begun.items() if table.shape.where}
        lost = appended - await published(self._url, self._publication, appended) if appended else set()
        bare = await unfiltered(self._url, self._publication, filtered) if filtered else set()
        for oids, without in ((lost, "it"), (bare, "its condition")):
            for oid in oids:
                async with self._loader.lock:
                    await self._mirror.quarantine(begun[oid], f"Its publication was without {without}.")

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
        await refuse_obstacles(self._url, [described], self._publication, self._settings)
        name = mirrored_name(described.schema, described.name)
        shape = wanted_shape(described, self._settings)
        earlier = (await read_mirrors(self._clickhouse, self._source)).get(name)
        if earlier is None or not earlier.in_service:
            await self._check_name(name, described)
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

    async def _check_name(self, name: str, described: SourceTable) -> None:
        """Raises InvalidConfiguration when ClickHouse has something else of that name."""
        names = [name, f"{name}_changes"]
        sql = "SELECT name FROM system.tables WHERE database = {database:String} AND name IN {names:Array(String)}"
        found = await self._clickhouse.rows(sql, {"database": self._clickhouse.database, "names": names})
        if found:
            raise InvalidConfiguration(
                f"{described.full_name} cannot be mirrored: it would be called {name} in ClickHouse.",
                f"The database has something else that is called {found[0][0]}.",
                "Rename one of them.",
            )

    async def _carry_out_requests(self) -> None:
        for request in await read_requests(self._clickhouse, self._source):
            if request.wish:
                try:
                    answer = await self._carry_out(request)
                except Error as error:  # said to who asked
                    answer = str(error)
                await write_request(self._clickhouse, self._source, MirrorRequest(request.name, "", answer))

    async def _carry_out(self, request: MirrorRequest) -> str:
        """Do what is asked; the answer is empty, or says why it was not done."""
        schema, _, name = request.name.partition(".")
        table = self._mirror.get(mirrored_name(schema, name))
        state = table.stored.state if table and table.stored.in_service else REMOVED
        match request.wish:
            case "add" if state == REMOVED:
                for each in await find_tables(self._url, [request.name]):
                    await self._add(each)
            case "remove" if table and state != REMOVED:
                await self._remove(table)
            case "pause" if table and state == READY:
                async with self._loader.lock:
                    await table.save(state=PAUSED, applied_batch=self._loader.watermark.batch)
            case "resume" if table and state == PAUSED:
                async with self._loader.lock:
                    await table.save(state=COPYING)
            case "resync" if table and state != REMOVED:
                await self._arrival.stop(table.stored.stem)
                async with self._loader.lock:
                    await table.save(state=COPYING, floor_lsn=0, problem="")
            case "repair" if table and state == READY:
                await self._repair.run(table)
            case _:
                return "It is not mirrored." if state == REMOVED else f"It is {state}."
        log.info("request_carried_out", table=request.name, wish=request.wish)
        return ""

    async def _remove(self, table: Table) -> None:
        await self._arrival.stop(table.stored.stem)
        await unpublish(self._url, self._publication, [table.stored.oid])
        async with self._loader.lock:
            await table.save(state=REMOVED)
            await table.drop_views()
            self._personal.forget(table.stored.oid)
        await self._mirror.sweep()
