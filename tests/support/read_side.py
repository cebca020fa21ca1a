"""A worker's read side without its capture: batches are made by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pyarrow as pa

from headrace.bus.batch import Batch
from headrace.events.event import Event
from headrace.events.event_types import EventTypes
from headrace.events.position import Position
from headrace.read_models.advance import Advance
from headrace.read_models.deploy import Deployer
from headrace.read_models.keeper import Keeper
from headrace.read_models.loader import EVENTS, Loader
from headrace.read_models.mirrored_tables import MirroredTables, NoMirroredTables
from headrace.read_models.model import ReadModels
from headrace.read_models.rewrite import Rewrite
from headrace.streaming_sql.definition import define_all
from headrace.streaming_sql.generate import batch_sql
from headrace.streaming_sql.parser import parse
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.event_views import create_event_views
from headrace.warehouse.schema import create_schema


class Deposited(Event):
    account: str
    amount: int
    note: str | None = None


class Withdrawn(Event):
    account: str
    amount: int


def make_batch(lsn: int, events: Sequence[tuple[str, dict[str, object]]], *, schema_version: int = 1) -> Batch:
    """One transaction at `lsn` with these (type, data) events, all of one schema version."""
    now = datetime.now(UTC)
    count = len(events)
    rows = pa.table(
        {
            "stream": pa.array([f"account-{data['account']}" for _, data in events], pa.string()),
            "version": pa.array([lsn + i for i in range(count)], pa.int64()),
            "type": pa.array([kind for kind, _ in events], pa.string()),
            "schema_version": pa.array([schema_version] * count, pa.int32()),
            "data": pa.array([json.dumps(data) for _, data in events], pa.string()),
            "metadata": pa.array(["{}"] * count, pa.string()),
            "recorded_at": pa.array([now] * count, pa.timestamp("us", "UTC")),
            "_lsn": pa.array([lsn] * count, pa.uint64()),
            "_ordinal": pa.array(range(count), pa.uint32()),
        }
    )
    return Batch(
        first=Position(lsn, 0),
        last=Position(lsn + 7),
        confirm_lsn=lsn + 8,
        committed_at=now,
        transactions=1,
        inserts={EVENTS: rows},
    )


@dataclass
class ReadSide:
    """One source's loader and read models, as the worker wires them; `again()` is what a restart makes."""

    clickhouse: ClickHouse
    source: str
    on_step: Callable[[str], None] = lambda step: None
    models: ReadModels = field(default_factory=ReadModels)
    events: EventTypes = field(default_factory=lambda: EventTypes([Deposited, Withdrawn]))
    mirrored: MirroredTables = field(default_factory=NoMirroredTables)

    def __post_init__(self) -> None:
        self.advance = Advance(clickhouse=self.clickhouse, source=self.source)
        self.loader = Loader(
            clickhouse=self.clickhouse,
            source=self.source,
            models=self.models,
            advance=self.advance,
            events=self.events,
            on_step=lambda step: self.on_step(step),
        )
        self.deployer = Deployer(
            clickhouse=self.clickhouse,
            source=self.source,
            models=self.models,
            event_types=self.events.by_name(),
            mirrored=self.mirrored,
        )
        self.rewrite = Rewrite(
            clickhouse=self.clickhouse,
            source=self.source,
            events=self.events,
            refill=self.deployer.refill,
            on_step=lambda step: self.on_step(step),
        )
        self.keeper = Keeper(
            clickhouse=self.clickhouse,
            source=self.source,
            models=self.models,
            loader=self.loader,
            advance=self.advance,
            deployer=self.deployer,
            mirrored=self.mirrored,
        )

    async def start(self, batch_of: Callable[[Position], Batch] | None = None) -> None:
        await create_schema(self.clickhouse)
        await self.rewrite.run()
        await create_event_views(self.clickhouse, self.events)
        await self.advance.resume()
        await self.deployer.resume()
        unfinished = await self.loader.resume()
        if unfinished is not None:
            assert batch_of is not None, "a batch was left unfinished"
            await self.loader.load(batch_of(unfinished.last), unfinished)

    async def deploy(self, text: str) -> None:
        await self.deployer.deploy(define_all(parse(text), self.deployer.aggregates))
        await self.keeper.fill_all()

    def again(self) -> ReadSide:
        return ReadSide(self.clickhouse, self.source, events=self.events, mirrored=self.mirrored)

    async def content(self, name: str) -> list[tuple[object, ...]]:
        rows = await self.clickhouse.rows(f"SELECT * FROM `{self.clickhouse.database}`.`{name}` ORDER BY ALL")
        return [tuple(row) for row in rows]

    async def batch_content(self, name: str) -> list[tuple[object, ...]]:
        """What the read model must hold: its definition, run as one query."""
        model = self.models.get(name)
        assert model is not None
        sql = f"SELECT * FROM ({batch_sql(model.definition, self.clickhouse.database)}) ORDER BY ALL"
        return [tuple(row) for row in await self.clickhouse.rows(sql)]
