"""Rewrite: bring the event log to the versions that the domain declares now, before anything else begins.

The log is copied beside itself, upcast on the way, and the two change places in one step. Until that step nothing has
changed, and a killed rewrite begins again; what reads an upcast type was marked to be filled anew before it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from uuid import uuid4

import pyarrow as pa

from headrace.events.event_types import EventTypes
from headrace.read_models.advance import stop_queries
from headrace.read_models.fill import slice_end
from headrace.read_models.upcast import EVENTS_TARGET, Shape, not_known_yet, upcast
from headrace.telemetry import logger
from headrace.warehouse.client import DURABLE, ClickHouse
from headrace.warehouse.dead_letters import DeadLetter, write_dead_letters
from headrace.warehouse.definitions import DROPPED, read_definitions

log = logger(__name__)

PAGE_ROWS_MAX = 100_000
COPY = "events__upcast"
_OLD = "(type, schema_version) IN {old:Array(Tuple(String, UInt32))}"
_SETTLE = """
INSERT INTO headrace.dead_letters (source, target, lsn, ordinal, batch, status, reason, raw)
WITH waiting AS (
    SELECT * FROM headrace.dead_letters FINAL
    WHERE source = {{source:String}} AND target = {{target:String}} AND status = 'waiting'
)
SELECT source, target, lsn, ordinal, batch, 'loaded', reason, raw FROM waiting
WHERE (lsn, ordinal) IN (
    SELECT _lsn, _ordinal FROM {log}
    WHERE (_lsn, _ordinal) IN (SELECT lsn, ordinal FROM waiting)
    AND (type, schema_version) IN {{current:Array(Tuple(String, UInt32))}}
)
"""


def _ignore(step: str) -> None:
    """By default nobody listens to the steps."""


class Rewrite:
    """Rewrites the event log of one source. `refill` marks what reads the named types to be built and filled anew."""

    def __init__(
        self,
        *,
        clickhouse: ClickHouse,
        source: str,
        events: EventTypes,
        refill: Callable[[Collection[str]], Awaitable[None]],
        on_step: Callable[[str], None] = _ignore,
    ) -> None:
        self._clickhouse = clickhouse
        self._source = source
        self._events = events
        self._refill = refill
        self._on_step = on_step
        self._log = f"`{clickhouse.database}`.events"
        self._copy = f"`{clickhouse.database}`.{COPY}"

    async def run(self) -> None:
        """Upcast what the log holds in older versions. Repeating it goes on; with nothing to do it costs one look.

        Raises InvalidConfiguration when the log holds a version that the domain does not know yet.
        """
        await stop_queries(self._clickhouse, f"headrace:{self._source}:")
        await self._clickhouse.execute(f"DROP TABLE IF EXISTS {self._copy} SYNC")
        old = await self._old_shapes()
        if old and await self._some_can_be_upcast(old):
            log.info("rewriting_event_log", shapes=[f"{kind} {version}" for kind, version in old])
            await self._copy_upcast(old)
            self._on_step("log_copied")
            await self._drop_former_views(old)
            await self._refill(self._readable_as(old))
            self._on_step("read_models_marked")
            await self._clickhouse.execute(f"EXCHANGE TABLES {self._log} AND {self._copy}")
            self._on_step("log_exchanged")
            await self._clickhouse.execute(f"DROP TABLE {self._copy} SYNC")
            log.info("event_log_rewritten")
        await self._settle_letters()

    async def _old_shapes(self) -> list[Shape]:
        found = await self._clickhouse.rows(f"SELECT DISTINCT type, schema_version FROM {self._log} ORDER BY ALL")
        shapes = [(str(kind), int(version)) for kind, version in found]
        newer = [shape for shape in shapes if self._events.is_newer(*shape)]
        if newer:
            sql = f"SELECT * FROM {self._log} WHERE {_OLD} ORDER BY _lsn, _ordinal LIMIT 1"
            raise not_known_yet((await self._rows(sql, newer)).to_pylist()[0], self._events)
        return [shape for shape in shapes if self._events.is_old(*shape)]

    async def _some_can_be_upcast(self, old: Sequence[Shape]) -> bool:
        """Whether a rewrite would change anything: rows that fail as they did before are no reason for one."""
        sql = (
            f"SELECT * FROM {self._log} WHERE {_OLD} AND (_lsn, _ordinal) > ({{lsn:UInt64}}, {{ordinal:UInt32}}) "
            "ORDER BY _lsn, _ordinal LIMIT 1000"
        )
        at = (0, 0)
        while True:
            rows = await self._rows(sql, old, lsn=at[0], ordinal=at[1])
            if rows.num_rows == 0:
                return False
            _, failed = upcast(rows, self._events)
            if len(failed) < rows.num_rows:
                return True
            await self._write_new(failed)
            at = failed[-1].position

    async def _copy_upcast(self, old: Sequence[Shape]) -> None:
        await self._clickhouse.execute(f"CREATE TABLE {self._copy} AS {self._log}")
        ((last,),) = await self._clickhouse.rows(f"SELECT max(_batch) FROM {self._log}")
        between = "_batch > {after:UInt64} AND _batch <= {upto:UInt64}"
        after = 0
        while after < last:
            upto = await slice_end(self._clickhouse, after, last, rows_max=PAGE_ROWS_MAX)
            await self._clickhouse.execute(
                f"INSERT INTO {self._copy} SELECT * FROM {self._log} WHERE {between} AND NOT {_OLD}",
                {"after": after, "upto": upto, "old": list(old)},
                settings={**DURABLE, "insert_deduplicate": 0},
                query_id=self._query_id(),
            )
            rows = await self._rows(
                f"SELECT * FROM {self._log} WHERE {between} AND {_OLD}", old, after=after, upto=upto
            )
            if rows.num_rows:
                await self._insert_upcast(rows)
            self._on_step(f"log_copied_to:{upto}")
            after = upto

    async def _insert_upcast(self, rows: pa.Table) -> None:
        upcasted, failed = upcast(rows, self._events)
        await self._write_new(failed)
        await self._clickhouse.insert_arrow(
            self._copy,
            upcasted,
            settings={**DURABLE, "insert_deduplication_token": str(uuid4())},
            query_id=self._query_id(),
        )

    async def _write_new(self, letters: Sequence[DeadLetter]) -> None:
        """Write the letters that there are not yet: on the others somebody may have decided."""
        if not letters:
            return
        sql = (
            "SELECT lsn, ordinal FROM headrace.dead_letters FINAL WHERE source = {source:String} "
            "AND target = {target:String} AND status != 'loaded' AND batch >= {first:UInt64} AND batch <= {last:UInt64}"
        )
        batches = [letter.batch for letter in letters]
        parameters = {"source": self._source, "target": EVENTS_TARGET, "first": min(batches), "last": max(batches)}
        known = {(lsn, ordinal) for lsn, ordinal in await self._clickhouse.rows(sql, parameters)}
        new = [letter for letter in letters if tuple(letter.position) not in known]
        if new:
            log.error("dead_letters", target=EVENTS_TARGET, count=len(new), first=str(new[0].position))
        await write_dead_letters(self._clickhouse, self._source, new)

    async def _settle_letters(self) -> None:
        """The events that failed once and are upcast by now are loaded."""
        current = [(each.__name__, each.schema_version) for each in self._events]
        if not current:
            return
        await self._clickhouse.execute(
            _SETTLE.format(log=self._log),
            {"source": self._source, "target": EVENTS_TARGET, "current": current},
            settings={**DURABLE, "insert_deduplicate": 0},
        )

    async def _drop_former_views(self, old: Sequence[Shape]) -> None:
        """Under a former name nothing is left: what still reads it must fail, not be empty."""
        stored = await read_definitions(self._clickhouse, self._source)
        taken = {row.name for row in stored.values() if row.state != DROPPED}
        for name in {kind for kind, _ in old} - set(self._events.by_name()) - taken:
            await self._clickhouse.execute(f"DROP VIEW IF EXISTS `{self._clickhouse.database}`.`{name}`")

    def _readable_as(self, old: Sequence[Shape]) -> list[str]:
        """The names that show these events: their own, former ones, and those of the types they inherit from."""
        changed = [found for kind, _ in old if (found := self._events.find(kind)) is not None]
        shown = {each.__name__ for each in self._events if any(issubclass(found, each) for found in changed)}
        return sorted(shown | {kind for kind, _ in old})

    async def _rows(self, sql: str, shapes: Sequence[Shape], **parameters: int) -> pa.Table:
        bound = {**parameters, "old": list(shapes)}
        return pa.ipc.open_stream(await self._clickhouse.raw(sql, bound, format="ArrowStream")).read_all()

    def _query_id(self) -> str:
        return f"headrace:{self._source}:{COPY}:{uuid4()}"
