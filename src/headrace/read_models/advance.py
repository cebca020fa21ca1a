"""Advance: apply a slice of batches to one stream or table, around the changes that it cannot take.

ClickHouse refuses a whole INSERT … SELECT for one bad row. The rows that fail are found by halving the slice, go to
the dead letters, and are left out from then on; everything else flows on.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from uuid import uuid4

from headrace.errors import InvalidInput, LimitExceeded
from headrace.events.position import START, Position
from headrace.read_models.model import CannotAdvance, ReadModel
from headrace.read_models.poison import POISON_MAX, extent_of, find_failing_rows, letters_of
from headrace.streaming_sql.generate import advance_sql, probe_sql
from headrace.streaming_sql.slice import Slice
from headrace.telemetry import logger
from headrace.warehouse.client import DURABLE, ClickHouse, ClickHouseSettings
from headrace.warehouse.dead_letters import (
    EXCLUDED_POSITIONS,
    EXCLUDED_ROWS,
    DeadLetter,
    excluded_targets,
    write_dead_letters,
)
from headrace.warehouse.definitions import FAILED, write_definition
from headrace.warehouse.watermark import Watermark

log = logger(__name__)

# For few rows, starting threads costs ClickHouse more than they bring: a fifth of the processor time of a batch.
ONE_THREAD_ROWS_MAX = 5_000
ONE_THREAD: ClickHouseSettings = {"max_threads": 1, "max_insert_threads": 1}


class Advance:
    """Applies slices to read models of one source."""

    def __init__(self, *, clickhouse: ClickHouse, source: str) -> None:
        self._clickhouse = clickhouse
        self._source = source
        self._excluded: set[str] = set()

    async def resume(self) -> None:
        """Find out which read models leave changes out."""
        self._excluded = await excluded_targets(self._clickhouse, self._source)

    async def __call__(
        self, model: ReadModel, after: int, upto: int, *, verify: bool, rows_expected: int | None = None
    ) -> None:
        """Apply the batches after `after` up to `upto`. With `verify`, only what the read model lacks of them.

        `rows_expected`, where known, lets ClickHouse do without threads for little.
        Raises Unavailable when ClickHouse is away, CannotAdvance when more than `POISON_MAX` changes fail or when the
        slice does not fit into memory.
        """
        rows = Slice(after, upto)
        if verify:
            await stop_queries(self._clickhouse, f"headrace:{self._source}:{model.name}:")
        settings = ONE_THREAD if rows_expected is not None and rows_expected <= ONE_THREAD_ROWS_MAX else {}
        try:
            await self._advance(model, rows, settings, verify=verify)
        except (InvalidInput, LimitExceeded) as error:
            raise CannotAdvance(str(error)) from error

    async def fill_current(self, model: ReadModel, watermark: Watermark) -> None:
        """Fill an empty read model over rows that change from those that the mirrored table has at the watermark.

        Repeating it adds what is missing while the watermark is the same. Raises as applying does.
        """
        await stop_queries(self._clickhouse, f"headrace:{self._source}:{model.name}:")
        try:
            await self._advance(model, Slice(0, watermark.batch, current=True), {}, verify=True, at=watermark.position)
        except (InvalidInput, LimitExceeded) as error:
            raise CannotAdvance(str(error)) from error

    async def _advance(
        self, model: ReadModel, rows: Slice, settings: ClickHouseSettings, *, verify: bool, at: Position = START
    ) -> None:
        try:
            await self._insert(model, rows, settings, verify=verify)
        except InvalidInput as error:
            if model.definition.reads == "facts":
                poison = await self._find_poison(model, rows, error)
            else:
                poison = await self._find_poison_rows(model, rows, error, at)
            log.error("dead_letters", target=model.name, count=len(poison), first=str(poison[0].position))
            await write_dead_letters(self._clickhouse, self._source, poison)
            self._excluded.add(model.name)
            await self._insert(model, rows, settings, verify=True)

    async def _insert(self, model: ReadModel, rows: Slice, settings: ClickHouseSettings, *, verify: bool) -> None:
        sql = advance_sql(
            model.definition,
            self._clickhouse.database,
            model.columns,
            rows,
            verify=verify,
            excluding=self._excluding(model),
        )
        attempt = uuid4()
        # A verified insert completes what an earlier one began: it must not pass for its repetition.
        token = f"{self._source}:{model.name}:{rows.after}-{rows.upto}" + (f":{attempt}" if verify else "")
        await self._clickhouse.execute(
            sql,
            self._parameters(model, rows),
            settings={**DURABLE, **settings, "insert_deduplication_token": token},
            query_id=f"headrace:{self._source}:{model.name}:{rows.upto}:{attempt}",
        )

    async def _find_poison(self, model: ReadModel, rows: Slice, error: InvalidInput) -> list[DeadLetter]:
        """The changes that fail on their own, in commit order. Raises CannotAdvance when the fault is not theirs."""
        try:
            positions = await self._positions(model, rows)
        except InvalidInput as gone:
            raise CannotAdvance(f"Its source cannot be read. {gone}") from gone
        found: list[DeadLetter] = []
        halves = [(0, len(positions))] if positions else []
        while halves:
            begin, end = halves.pop()
            part = Slice(rows.after, rows.upto, positions[begin], positions[end - 1])
            problem = await self._problem(model, part)
            if problem and end - begin > 1:
                middle = (begin + end) // 2
                halves += [(middle, end), (begin, middle)]
            elif problem:
                found.append(await self._letter(model, rows, positions[begin], problem))
                if len(found) > POISON_MAX:
                    raise CannotAdvance(
                        f"more than {POISON_MAX} changes of one batch fail; the first: {found[0].reason}"
                    )
        if not found:
            raise CannotAdvance(str(error)) from error
        return found

    async def _find_poison_rows(
        self, model: ReadModel, rows: Slice, error: InvalidInput, at: Position
    ) -> list[DeadLetter]:
        """The same where a position may have several rows."""
        try:
            failing = await find_failing_rows(
                rows, partial(extent_of, self._clickhouse, model), partial(self._problem, model)
            )
            left_out = await self._left_out(model)
            letters = await letters_of(self._clickhouse, model, rows, failing, at=at, left_out=left_out)
        except InvalidInput as gone:
            raise CannotAdvance(f"Its source cannot be read. {gone}") from gone
        if not letters:
            raise CannotAdvance(str(error)) from error
        return letters

    async def _left_out(self, model: ReadModel) -> list[int]:
        parameters = {"source": self._source, "target": model.name}
        return [int(row[0]) for row in await self._clickhouse.rows(EXCLUDED_ROWS, parameters)]

    async def _problem(self, model: ReadModel, part: Slice) -> str:
        """Why the part cannot be computed, or nothing."""
        sql = probe_sql(
            model.definition, self._clickhouse.database, model.columns, part, excluding=self._excluding(model)
        )
        try:
            await self._clickhouse.execute(sql, self._parameters(model, part))
        except InvalidInput as error:
            return error.detail or error.message
        return ""

    async def _positions(self, model: ReadModel, rows: Slice) -> list[tuple[int, int]]:
        sql = (
            f"SELECT _lsn, _ordinal FROM `{self._clickhouse.database}`.`{model.definition.source}` "
            "WHERE _batch > {after:UInt64} AND _batch <= {upto:UInt64} ORDER BY _lsn, _ordinal"
        )
        return [(lsn, ordinal) for lsn, ordinal in await self._clickhouse.rows(sql, rows.parameters())]

    async def _letter(self, model: ReadModel, rows: Slice, at: tuple[int, int], reason: str) -> DeadLetter:
        sql = (
            f"SELECT _batch, data FROM `{self._clickhouse.database}`.events "
            "WHERE _batch > {after:UInt64} AND _batch <= {upto:UInt64} "
            "AND _lsn = {lsn:UInt64} AND _ordinal = {ordinal:UInt32}"
        )
        found = await self._clickhouse.rows(sql, {**rows.parameters(), "lsn": at[0], "ordinal": at[1]})
        batch, data = found[0]
        return DeadLetter(model.name, Position(*at), batch, reason, data.encode())

    def _excluding(self, model: ReadModel) -> str:
        if model.name not in self._excluded:
            return ""
        return EXCLUDED_POSITIONS if model.definition.reads == "facts" else EXCLUDED_ROWS

    def _parameters(self, model: ReadModel, rows: Slice) -> dict[str, object]:
        return {**rows.parameters(), "source": self._source, "target": model.name}


async def stop_queries(clickhouse: ClickHouse, prefix: str) -> None:
    """Stop the queries whose id begins with `prefix`, so that none of them writes behind the back of a verification."""
    await clickhouse.execute("KILL QUERY WHERE startsWith(query_id, {prefix:String}) SYNC", {"prefix": prefix})


async def fail(model: ReadModel, *, clickhouse: ClickHouse, source: str, problem: str) -> None:
    """Take `model` out of service and say why; `headrace rebuild` brings it back."""
    log.error("read_model_failed", name=model.name, problem=problem)
    failed = replace(model.stored, state=FAILED, problem=problem)
    model.stored = await write_definition(clickhouse, source, failed)
