"""Table: one mirrored table as the worker knows it, and how batches reach it.

A batch goes staging → changes → rows (decision 12). The rows are touched only when all changes of the batch stand, so a
repeat computes the same; `verify` then adds only what is missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc

from headrace.bus.batch import Changes, Truncated
from headrace.mirror.column_type import SETTINGS
from headrace.mirror.comparison import Comparison, Key, listed_keys
from headrace.mirror.evolve import Evolution
from headrace.mirror.keyless import KeylessObjects
from headrace.mirror.prepare import prepare
from headrace.mirror.shape import Shape
from headrace.mirror.staged import DELETE, IN_SLICE, INSERT, UPDATE
from headrace.mirror.statements import LOADING, Objects, copied_version
from headrace.telemetry import logger
from headrace.warehouse.client import DURABLE, ClickHouse, ClickHouseSettings
from headrace.warehouse.feeding import in_pieces
from headrace.warehouse.mirrors import COPYING, PAUSED, READY, StoredMirror, write_mirror
from headrace.warehouse.plan import Plan

log = logger(__name__)

STAGED_BATCHES_MAX = 64
"""After so many batches the staging table of a live table is emptied; nobody reads them again."""
SLICE_ROWS_MAX = 200_000
"""Staged changes that are applied at once, unless one batch has more."""
_SLICE = f"""
SELECT min(_batch), maxIf(_batch, rows <= {{rows_max:UInt64}}), minIf(_batch, moves) FROM (
    SELECT _batch, sum(count()) OVER (ORDER BY _batch) AS rows, max(_moved) AS moves
    FROM %s
    WHERE {IN_SLICE}
    GROUP BY _batch
    ORDER BY _batch
)
"""


class Table:
    """`stored` is its state as written down; only the worker changes it, under the loader's lock."""

    def __init__(self, *, clickhouse: ClickHouse, source: str, stored: StoredMirror) -> None:
        self._clickhouse = clickhouse
        self._source = source
        self.stored = stored
        self._saving = asyncio.Lock()
        self._staged_batches = 0

    @property
    def shape(self) -> Shape:
        return Shape.from_json(self.stored.shape)

    @property
    def objects(self) -> Objects:
        return self._objects_as(self.stored)

    def _objects_as(self, stored: StoredMirror) -> Objects:
        shape = Shape.from_json(stored.shape)
        return objects_of(self._clickhouse.database, stored.name, stored.stem, stored.generation, shape)

    @property
    def live(self) -> bool:
        return self.stored.state == READY

    async def save(self, **changes: Any) -> None:
        """Write down another state of the table. What others write at the same time is not lost."""
        async with self._saving:
            self.stored = await write_mirror(self._clickhouse, self._source, replace(self.stored, **changes))

    async def make(self) -> None:
        """Make the tables of this generation that are missing."""
        await self._run(self.objects.create())

    async def become(self, **changes: Any) -> None:
        """Make the tables of another generation, or of other columns, and only then be that: when ClickHouse goes away
        in between, changes still find the tables that they had.
        """
        await self._run(self._objects_as(replace(self.stored, **changes)).create())
        await self.save(**changes)

    async def publish(self) -> None:
        """Let the views show this generation."""
        await self._run(self.objects.publish(self.stored.since_batch))

    async def drop_views(self) -> None:
        await self._run(self.objects.drop_views())

    async def load(self, plan: Plan, changes: Changes, *, verify: bool) -> None:
        """Load one batch's changes: into the rows of a live table, else to wait in the staging table."""
        if self.stored.state not in (READY, COPYING, PAUSED):
            return
        objects = self.objects
        rows = prepare(changes, objects.shape.key_places)
        slice_ = {"after": plan.batch - 1, "upto": plan.batch}
        inserts, updates, deletes = (_count(rows, kind) for kind in (INSERT, UPDATE, DELETE))
        if self.live and objects.goes_straight(only_inserts=inserts == rows.num_rows, verify=verify):
            written = await self._insert(objects.insert(verify=verify), rows, slice_, plan)
            if written < objects.images_of(inserts, updates, deletes):
                await self._set_aside(rows, plan)
            await self._execute(objects.advance(), slice_)
            return
        written = await self._insert(objects.stage(), rows, {"batch": plan.batch}, plan)
        if written < rows.num_rows:
            await self._set_aside(rows, plan)
        if self.live:
            fill = pc.list_flatten(rows["_unchanged"]).unique().to_pylist()
            await self._execute(objects.change(fill=fill, verify=verify), slice_)
            await self._execute(objects.advance(), slice_)
            await self._clear_staging()

    async def evolve(self, evolution: Evolution) -> None:
        """Go on with other columns. What was staged in the old ones is lost: a table that is copied begins anew."""
        await self._run(self.objects.evolve(evolution), {"alter_sync": 1, "mutations_sync": 1})
        floor = {} if self.live else {"floor_lsn": 0}
        await self.become(shape=evolution.shape.to_json(), **floor)
        if self.live:
            await self.publish()

    async def truncate(self, plan: Plan, truncated: Truncated) -> None:
        """Delete every row that there is; a table that is not live notes the place."""
        slice_ = {"after": plan.batch - 1, "upto": plan.batch}
        place = {"lsn": truncated.position.lsn, "ordinal": truncated.position.ordinal}
        committed_at = plan.committed_at.strftime("%Y-%m-%d %H:%M:%S.%f")
        await self._execute(self.objects.truncate(), {**slice_, **place, "committed_at": committed_at})
        await self._execute(self.objects.advance(), slice_)

    async def empty(self) -> None:
        """Forget what was copied."""
        objects = self.objects
        await self._run([f"TRUNCATE TABLE {name}" for name in (objects.changes, objects.rows)])

    async def finish_copy(self, seen: str) -> None:
        """Everything that the snapshot `seen` holds is copied. For a table without a key."""
        objects = self.objects
        assert isinstance(objects, KeylessObjects), "the ranges of other tables are finished one by one"
        await self._execute(objects.finish_copy(self.stored.floor_lsn), {"upto": 0})
        await self.save(snapshot=seen)

    async def put_copied(self, keys: Sequence[Key], copied: bytes, floor_lsn: int) -> None:
        """Write rows that were read by their keys, as COPY gives them, with the version of rows copied at a floor. Of
        the keys, those without a row get a tombstone, one version lower. Repeating it changes nothing.
        """
        written = await self._insert_bytes(self.objects.copy(floor_lsn), copied)
        if written < copied.count(b"\n"):
            parameters = {"source": self._source, "target": self.stored.name, "lsn": floor_lsn}
            await self._insert_bytes(self.objects.copied_letters(), copied, parameters)
        # Last, and lower: nobody may see a row gone that is there.
        tombstones = Comparison(self.objects).tombstones(copied_version(floor_lsn) - 1)
        await self._insert_bytes(tombstones, listed_keys(keys).encode())

    async def has_incomplete_inserts(self, upto: int) -> bool:
        """Whether inserts that are staged and not applied lack values; see `prepare`."""
        slice_ = {"after": self.stored.applied_batch, "upto": upto}
        ((count,),) = await self._clickhouse.rows(self.objects.incomplete_inserts(), slice_)
        return bool(count)

    async def slice_end(self, upto: int) -> int:
        """The batch that `catch_up` can go to next: as many whole batches as fit, but at least one. One in which a key
        changed is a slice of its own.
        """
        parameters = {"after": self.stored.applied_batch, "upto": upto, "rows_max": SLICE_ROWS_MAX}
        ((first, fits, moves),) = await self._clickhouse.rows(_SLICE % self.objects.staging, parameters)
        if not first:  # nothing is staged
            return upto
        end = max(first, fits)
        return int(end if not moves else max(first, min(end, moves - 1)))

    async def catch_up(self, upto: int) -> None:
        """Apply the staged changes up to a batch: of batches in which no key changed, or of one batch, for which alone
        it is known which row a change began from. Repeating it changes nothing.
        """
        slice_ = {"after": self.stored.applied_batch, "upto": upto}
        fill = [place for (place,) in await self._clickhouse.rows(self.objects.left_out(), slice_)]
        await self._execute(self.objects.catch_up(fill=fill), {**slice_, **_seen_by(self.stored.snapshot)})
        await self._execute(self.objects.advance(), slice_)
        await self.save(applied_batch=upto)

    async def _insert(self, sql: str, rows: pa.Table, parameters: Mapping[str, Any], plan: Plan) -> int:
        attempt = str(uuid4())
        return await self._clickhouse.insert_select(
            sql,
            rows,
            parameters,
            settings={**DURABLE, **SETTINGS, "insert_deduplication_token": attempt},
            query_id=f"headrace:{self._source}:{self.stored.name}:{plan.batch}:{attempt}",
        )

    async def _insert_bytes(self, sql: str, rows: bytes, parameters: Mapping[str, Any] | None = None) -> int:
        # The driver repeats an insert by itself when the connection breaks.
        settings = {**DURABLE, **SETTINGS, "insert_deduplication_token": str(uuid4())}
        return await self._clickhouse.insert_select(sql, in_pieces(rows), parameters, settings=settings)

    async def _set_aside(self, rows: pa.Table, plan: Plan) -> None:
        """The changes that a column cannot hold, as dead letters."""
        parameters = {"source": self._source, "target": self.stored.name, "batch": plan.batch}
        count = await self._insert(self.objects.letters(), rows, parameters, plan)
        if count:  # none when the driver had to repeat the insert, and the first one had come through
            log.error("dead_letters", target=self.stored.name, count=count, batch=plan.batch)

    async def _clear_staging(self) -> None:
        self._staged_batches += 1
        if self._staged_batches >= STAGED_BATCHES_MAX:
            self._staged_batches = 0
            await self._clickhouse.execute(f"TRUNCATE TABLE {self.objects.staging}")

    async def _execute(self, sql: str, parameters: Mapping[str, Any]) -> None:
        attempt = str(uuid4())
        await self._clickhouse.execute(
            sql,
            parameters,
            settings={**DURABLE, **LOADING, "insert_deduplication_token": attempt},
            query_id=f"headrace:{self._source}:{self.stored.name}:{parameters['upto']}:{attempt}",
        )

    async def _run(self, statements: Sequence[str], settings: ClickHouseSettings | None = None) -> None:
        for statement in statements:
            await self._clickhouse.execute(statement, settings=settings)


def objects_of(database: str, name: str, stem: str, generation: int, shape: Shape) -> Objects:
    """What stands in ClickHouse for a mirrored table of this shape."""
    kind = Objects if shape.key else KeylessObjects
    return kind(database, name, stem, generation, shape)


def _count(rows: pa.Table, kind: int) -> int:
    return int(pc.sum(pc.equal(rows["_kind"], kind)).as_py() or 0)


def _seen_by(snapshot: str) -> dict[str, Any]:
    """A snapshot of PostgreSQL, xmin:xmax:running, with the numbers of transactions as the stream has them."""
    if not snapshot:
        return {}
    _, xmax, running = snapshot.split(":")
    return {"xmax": int(xmax) % 2**32, "running": [int(each) % 2**32 for each in running.split(",") if each]}
