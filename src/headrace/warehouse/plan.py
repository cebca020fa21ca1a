"""Plan: the bounds of a batch, written down before its first row, so that a crash can be repeated exactly."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa

from headrace.bus.batch import Batch
from headrace.events.position import Position
from headrace.warehouse.client import DURABLE, ClickHouse

_READ = """
SELECT batch, first_lsn, first_ordinal, last_lsn, last_ordinal, committed_at
FROM headrace.batches
WHERE source = {{source:String}} AND batch > {{after:UInt64}}
ORDER BY batch {order}
LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """Batch number `batch` of `source` holds every change from `first` to `last`, both included."""

    source: str
    batch: int
    first: Position
    last: Position
    committed_at: datetime

    def token(self, target: str) -> str:
        """What makes a repeated insert of this batch into `target` a no-op on a live server."""
        return f"{self.source}:{target}:{self.first}-{self.last}"


async def write_plan(clickhouse: ClickHouse, plan: Plan, batch: Batch) -> None:
    """Write the plan down. Repeating it writes the same row again, of which one stays."""
    row = {
        "source": pa.array([plan.source]),
        "batch": pa.array([plan.batch], pa.uint64()),
        "first_lsn": pa.array([plan.first.lsn], pa.uint64()),
        "first_ordinal": pa.array([plan.first.ordinal], pa.uint32()),
        "last_lsn": pa.array([plan.last.lsn], pa.uint64()),
        "last_ordinal": pa.array([plan.last.ordinal], pa.uint32()),
        "changes": pa.array([batch.rows], pa.uint64()),
        "undecodable": pa.array([len(batch.undecodable)], pa.uint64()),
        "committed_at": pa.array([plan.committed_at], pa.timestamp("us", "UTC")),
    }
    await clickhouse.insert_arrow("headrace.batches", pa.table(row), settings=DURABLE)


async def read_last_plan(clickhouse: ClickHouse, source: str) -> Plan | None:
    """The newest plan, whether or not it was carried out; None before the first."""
    return await _read(clickhouse, source, after=0, order="DESC")


async def read_plan_after(clickhouse: ClickHouse, source: str, batch: int) -> Plan | None:
    """The plan of the first batch behind `batch`; None when there is none. Plans are kept for 30 days."""
    return await _read(clickhouse, source, after=batch, order="ASC")


async def _read(clickhouse: ClickHouse, source: str, *, after: int, order: str) -> Plan | None:
    rows = await clickhouse.rows(_READ.format(order=order), {"source": source, "after": after})
    if not rows:
        return None
    batch, first_lsn, first_ordinal, last_lsn, last_ordinal, committed_at = rows[0]
    committed_at = committed_at.replace(tzinfo=UTC)
    return Plan(source, batch, Position(first_lsn, first_ordinal), Position(last_lsn, last_ordinal), committed_at)
