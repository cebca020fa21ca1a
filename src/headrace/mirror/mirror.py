"""Mirror: every mirrored table of one source; what the loader gives its changes to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from headrace.bus.batch import Batch, Changes, Definition, Truncated
from headrace.capture.personal import Personal
from headrace.capture.source_tables import SourceTable, describe_table
from headrace.errors import Error, InvalidConfiguration, Unavailable
from headrace.mirror.evolve import CannotFollow, evolve
from headrace.mirror.layout import next_shape
from headrace.mirror.prepare import has_incomplete_inserts
from headrace.mirror.shape import mirrored_name
from headrace.mirror.staged import quoted
from headrace.mirror.table import Table
from headrace.settings import MirroredTable
from headrace.telemetry import logger
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.mirrors import (
    COPYING,
    GONE,
    PAUSED,
    QUARANTINED,
    READY,
    StoredMirror,
    read_mirrors,
)
from headrace.warehouse.plan import Plan
from headrace.warehouse.side_by_side import side_by_side
from headrace.warehouse.watermark import read_watermark

log = logger(__name__)


_INCOMPLETE = (
    "A row came to meet its condition by an update, and the log lacks values that did not change. "
    "ALTER TABLE … REPLICA IDENTITY FULL puts them there."
)
_BEHIND = re.compile(r"(.+)__(?:rows|changes|staging|compared)_(\d+)")


class Mirror:
    """The tables by name and by PostgreSQL's number of them. Only the worker has one.

    `settings` are those of [mirror.table], by table.
    """

    def __init__(
        self,
        *,
        clickhouse: ClickHouse,
        source: str,
        postgres_url: str,
        settings: Mapping[str, MirroredTable],
        personal: Personal,
    ) -> None:
        self._clickhouse = clickhouse
        self._source = source
        self._postgres_url = postgres_url
        self._settings = settings
        self._personal = personal
        self._tables: dict[str, Table] = {}

    def __iter__(self) -> Iterator[Table]:
        return iter(list(self._tables.values()))

    def get(self, name: str) -> Table | None:
        return self._tables.get(name)

    def names(self) -> set[str]:
        """What the tables are called in ClickHouse, also those that are still copied."""
        return {table.stored.name for table in self if table.stored.in_service}

    def is_ready(self, name: str) -> bool:
        """Whether the table is complete, so that something can be built on it."""
        table = self._tables.get(name)
        return table is not None and table.stored.state == READY

    def put(self, stored: StoredMirror) -> Table:
        table = self._tables[stored.name] = Table(clickhouse=self._clickhouse, source=self._source, stored=stored)
        if stored.in_service:
            self.know_personal(table)
        return table

    def know_personal(self, table: Table) -> None:
        """Tell who reads the stream which columns the table has, before it reads changes of it."""
        shape = table.shape
        self._personal.know(table.stored.oid, shape.personal, [column.name for column in shape.columns])

    async def resume(self) -> None:
        """Know again what was there before. Safe to repeat."""
        for stored in (await read_mirrors(self._clickhouse, self._source)).values():
            table = self.put(stored)
            if stored.state == READY:
                await table.make()
                await table.publish()
            if stored.in_service:
                await self._follow_settings(table)
            if table.stored.state in (COPYING, PAUSED):
                await table.make()

    async def _follow_settings(self, table: Table) -> None:
        """Other columns are personal than those that were, or other rows are wanted: copy the table anew before its
        next change comes, so that no value stays, or is taken for another. Values that were hidden are not shown by
        leaving out a line.
        """
        name = table.stored.full_name
        was = (table.shape.personal, table.shape.where)
        wanted = (self._personal.of_table(name), self._settings.get(name, MirroredTable()).where)
        if was == wanted or table.stored.state == QUARANTINED:
            return
        described = await describe_table(self._postgres_url, table.stored.oid)
        if described is None:
            return
        try:
            shape = next_shape(table.shape, described, self._settings)
        except InvalidConfiguration as error:
            await self.quarantine(table, f"{error.message} {error.detail}")
            return
        log.info("settings_changed", table=name, next="it is copied anew")
        generation = table.stored.generation + 1
        state = PAUSED if table.stored.state == PAUSED else COPYING
        await table.save(state=state, generation=generation, shape=shape.to_json(), floor_lsn=0, filenode=0)
        self.know_personal(table)

    async def sweep(self) -> None:
        """Drop the tables that nobody needs any more: of earlier generations, and of mirrors that are gone."""
        kept = {table.stored.stem: table.stored.generation for table in self if table.stored.in_service}
        settled = all(table.stored.state == READY for table in self if table.stored.in_service)
        sql = "SELECT name FROM system.tables WHERE database = {database:String} AND match(name, {pattern:String})"
        found = await self._clickhouse.rows(sql, {"database": self._clickhouse.database, "pattern": _BEHIND.pattern})
        for (name,) in found:
            behind = _BEHIND.fullmatch(name)
            # While one is copied, what its view shows is of an earlier generation, or of the table that it replaces.
            if behind and settled and kept.get(behind[1]) != int(behind[2]):
                await self._clickhouse.execute(
                    f"DROP TABLE IF EXISTS {quoted(self._clickhouse.database)}.{quoted(name)}"
                )

    async def rename(self, table: Table, schema: str, name: str) -> None:
        """Call a table as PostgreSQL calls it now. What reads it under its former name fails, and says why.

        Killed in the middle, it is unknown afterwards, and copied again like a new table.
        """
        old, new_name = table.stored, mirrored_name(schema, name)
        holder = self._tables.get(new_name)
        if holder is not None and holder.stored.in_service and holder.stored.oid != old.oid:
            renamed = await describe_table(self._postgres_url, holder.stored.oid)
            if renamed is not None and (renamed.schema, renamed.name) == (old.schema_name, old.table_name):
                await self.quarantine(table, f"It exchanged its name with {schema}.{name}.")
                return
            await self._give_up_name(holder, renamed)
        await table.save(state=GONE)
        await table.drop_views()
        earlier = (await read_mirrors(self._clickhouse, self._source)).get(new_name)
        revision = earlier.revision if earlier else 0
        new = self.put(replace(old, name=new_name, schema_name=schema, table_name=name, revision=revision))
        await new.save()
        if new.live:
            await new.publish()
        log.info("table_renamed", old=old.name, new=new_name)

    async def _give_up_name(self, holder: Table, renamed: SourceTable | None) -> None:
        """The name belongs to another table now: the one that had it goes by its new name, or is gone."""
        if renamed is None:
            await holder.save(state=GONE)
            await holder.drop_views()
        else:
            await self.rename(holder, renamed.schema, renamed.name)

    async def load(self, plan: Plan, batch: Batch, *, verify: bool) -> None:
        """Load the changes of a batch into the tables that they belong to, side by side."""
        await side_by_side(self._load(plan, changes, verify=verify) for changes in batch.changes.values())
        for truncated in batch.truncated:
            await self._truncate(plan, truncated)

    async def _load(self, plan: Plan, changes: Changes, *, verify: bool) -> None:
        table = self._find(changes.definition.oid)
        if table is None:
            return
        relation = changes.definition.relation
        if (table.stored.schema_name, table.stored.table_name) != (relation.schema, relation.name):
            await self.rename(table, relation.schema, relation.name)
            table = self._find(changes.definition.oid) or table
        if changes.withheld:
            await self.quarantine(table, changes.withheld)
            return
        if table.stored.state != QUARANTINED and not table.shape.fits(changes.definition):
            await self._evolve(table, changes.definition)
        floor_lsn = table.stored.floor_lsn  # what is below it is copied; 0: its copy looks after that itself
        if table.shape.where and floor_lsn and has_incomplete_inserts(changes, floor_lsn):
            await self.quarantine(table, _INCOMPLETE)
            return
        try:
            await table.load(plan, changes, verify=verify)
        except Unavailable:
            raise
        except Error as error:  # of this table alone: the others go on
            await self.quarantine(table, f"Its changes cannot be loaded. {error.message} {error.detail}")

    async def _evolve(self, table: Table, sent: Definition) -> None:
        """Follow a change of the columns, or stop this one table: the others go on."""
        catalog = await describe_table(self._postgres_url, sent.oid)
        full_name = sent.relation.full_name
        rewritten = catalog is not None and catalog.filenode != table.stored.filenode
        if not table.shape.key:  # the hashes of all rows would change
            await self.quarantine(table, "Its columns changed, and it has no key.")
            return
        try:
            shape, choices = table.shape, self._settings.get(full_name, MirroredTable()).columns
            evolution = evolve(shape, sent, catalog, rewritten=rewritten, choices=choices)
        except CannotFollow as reason:
            await self.quarantine(table, str(reason))
            return
        await table.evolve(evolution)
        log.info(
            "table_evolved",
            table=full_name,
            added=[column.name for column, _ in evolution.added],
            dropped=evolution.dropped,
            renamed=evolution.renamed,
            retyped=[column.name for column in evolution.retyped],
        )

    async def _truncate(self, plan: Plan, truncated: Truncated) -> None:
        table = self._find(truncated.definition.oid)
        if table is None:
            return
        if table.live:
            await table.truncate(plan, truncated)
        elif table.stored.state in (COPYING, PAUSED):
            await table.save(floor_lsn=0)  # what was copied or staged before is of no use: it is copied anew

    async def quarantine(self, table: Table, problem: str) -> None:
        """Stop this one table, and say why. Call it under the loader's lock."""
        if table.stored.state == QUARANTINED:
            return
        name = table.stored.full_name
        log.error("table_quarantined", table=name, problem=problem)
        applied = table.stored.applied_batch
        if table.live:
            applied = (await read_watermark(self._clickhouse, self._source)).batch
        problem = f"{problem} Run `headrace mirror resync {name}`."
        await table.save(state=QUARANTINED, applied_batch=applied, problem=problem)

    def _find(self, oid: int) -> Table | None:
        """The table that is PostgreSQL's `oid` now; not one that was removed or dropped."""
        for table in self:
            if table.stored.oid == oid and table.stored.in_service:
                return table
        return None
