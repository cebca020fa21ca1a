"""Loader: the load protocol. Plan, insert, advance, vouch; and after a crash the same again, verified by content.

The order of the steps is the whole guarantee. A plan stands in ClickHouse before its first row; the watermark is
written after the last one; the caller confirms to PostgreSQL only then. So at any moment at most one batch is
unfinished, and its bounds are known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from random import random
from typing import Protocol

from headrace.bus.batch import Batch, Relation
from headrace.errors import Corrupt, Unavailable
from headrace.events.event_types import EventTypes
from headrace.events.position import Position
from headrace.read_models.advance import Advance, fail, stop_queries
from headrace.read_models.model import CannotAdvance, ReadModel, ReadModels
from headrace.read_models.upcast import upcast
from headrace.telemetry import logger
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.dead_letters import DeadLetter, write_dead_letters
from headrace.warehouse.definitions import READY
from headrace.warehouse.event_log import insert_events, log_rows
from headrace.warehouse.plan import Plan, read_last_plan, write_plan
from headrace.warehouse.side_by_side import side_by_side
from headrace.warehouse.watermark import NOTHING, Watermark, read_watermark, write_watermark

log = logger(__name__)

EVENTS = Relation("headrace", "events")
BACKOFF_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


def _ignore(step: str) -> None:
    """Steps are announced for progress and fault tests; by default nobody listens."""


class LoadsTables(Protocol):
    """What takes the changes of mirrored tables. A repeat with `verify` adds only what is missing."""

    async def load(self, plan: Plan, batch: Batch, *, verify: bool) -> None: ...


class Loader:
    """Loads one source's batches, one at a time. `lock` is held while a batch is under way."""

    def __init__(
        self,
        *,
        clickhouse: ClickHouse,
        source: str,
        models: ReadModels,
        advance: Advance,
        events: EventTypes,
        tables: LoadsTables | None = None,
        on_step: Callable[[str], None] = _ignore,
    ) -> None:
        self._clickhouse = clickhouse
        self._events = events
        self._source = source
        self._models = models
        self._advance = advance
        self._tables = tables
        self._on_step = on_step
        self.lock = asyncio.Lock()
        self.watermark: Watermark = NOTHING

    async def resume(self) -> Plan | None:
        """Find out how far the source is; the plan that was begun but not finished, if there is one.

        Queries that a killed worker left running are stopped first, so that nothing appears behind our back.
        """
        await stop_queries(self._clickhouse, f"headrace:{self._source}:")
        self.watermark = await read_watermark(self._clickhouse, self._source)
        plan = await read_last_plan(self._clickhouse, self._source)
        if plan is None or plan.batch <= self.watermark.batch:
            return None
        if plan.batch != self.watermark.batch + 1:
            raise Corrupt(
                "ClickHouse holds a plan that does not follow the watermark.",
                f"Source {self._source}: plan of batch {plan.batch}, watermark at batch {self.watermark.batch}.",
                "Stop the worker and run `headrace recover`.",
            )
        return plan

    async def load(self, batch: Batch, unfinished: Plan | None = None) -> None:
        """Load one batch completely. Waits as long as ClickHouse is away, saying so, and then verifies by content.

        With `unfinished`, the batch is the repeat of that plan and has exactly its bounds.
        """
        async with self.lock:
            plan = unfinished or Plan(
                self._source, self.watermark.batch + 1, batch.first, batch.last, batch.committed_at
            )
            if plan.last != batch.last:
                raise Corrupt(
                    "The log does not give an unfinished batch again as it was planned.",
                    f"Planned up to {plan.last}, read up to {batch.last}.",
                    "The replication slot was replaced: stop the worker and run `headrace recover`.",
                )
            await self._until_done(plan, batch, verify=unfinished is not None)

    async def vouch(self, position: Position, committed_at: datetime | None = None) -> None:
        """The log is idle and everything up to `position` is loaded: say so, so that readers can tell.

        `committed_at` is a moment up to which that holds; None: it is not known to be later than before.
        """
        async with self.lock:
            position = max(position, self.watermark.position)
            await self._vouch(self.watermark.batch, position, committed_at or self.watermark.committed_at)

    async def _until_done(self, plan: Plan, batch: Batch, *, verify: bool) -> None:
        attempt = 0
        while True:
            try:
                await self._carry_out(plan, batch, verify=verify)
                return
            except Unavailable as error:
                pause_s = BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)] * (0.5 + random())
                log.warning(
                    "load_waits", batch=plan.batch, attempt=attempt, pause_s=round(pause_s, 2), reason=str(error)
                )
                await asyncio.sleep(pause_s)
                attempt += 1
                verify = True

    async def _carry_out(self, plan: Plan, batch: Batch, *, verify: bool) -> None:
        if verify:
            await stop_queries(self._clickhouse, f"headrace:{self._source}:")
        await write_plan(self._clickhouse, plan, batch)
        self._on_step("planned")
        await self._write_undecodable(plan, batch)
        if EVENTS in batch.inserts:
            rows, failed = upcast(log_rows(plan, batch.inserts[EVENTS]), self._events)
            await self._write_letters(plan, failed)
            await insert_events(self._clickhouse, plan, rows, verify=verify)
            self._on_step("events_inserted")
        if self._tables is not None and (batch.changes or batch.truncated):
            await self._tables.load(plan, batch, verify=verify)
            self._on_step("tables_loaded")
        if batch.rows or batch.truncated:
            for level in self._models.levels(READY):
                await side_by_side(self._advance_or_fail(model, plan, batch.rows, verify=verify) for model in level)
                self._on_step("advanced:" + ",".join(model.name for model in level))
        await self._vouch(plan.batch, plan.last, plan.committed_at)
        self._on_step("watermark_written")

    async def _advance_or_fail(self, model: ReadModel, plan: Plan, rows: int, *, verify: bool) -> None:
        if model.stored.state != READY:  # it has failed with what it reads, in this very batch
            return
        try:
            self._models.require_source(model)
            await self._advance(model, plan.batch - 1, plan.batch, verify=verify, rows_expected=rows)
        except CannotAdvance as error:
            problem = str(error)
            for name in self._models.downstream(model.name):
                affected = self._models.get(name)
                if affected is not None:
                    await fail(affected, clickhouse=self._clickhouse, source=self._source, problem=problem)
                problem = f"{model.name}, which it reads, failed"

    async def _write_undecodable(self, plan: Plan, batch: Batch) -> None:
        letters = [
            DeadLetter(bad.relation.full_name, bad.position, plan.batch, bad.reason, bad.raw)
            for bad in batch.undecodable
        ]
        await self._write_letters(plan, letters)

    async def _write_letters(self, plan: Plan, letters: Sequence[DeadLetter]) -> None:
        if letters:
            log.error("dead_letters", count=len(letters), batch=plan.batch, first=str(letters[0].position))
        await write_dead_letters(self._clickhouse, self._source, letters)

    async def _vouch(self, batch: int, position: Position, committed_at: datetime) -> None:
        await write_watermark(self._clickhouse, self._source, batch=batch, position=position, committed_at=committed_at)
        self.watermark = Watermark(batch, position, committed_at, committed_at)
