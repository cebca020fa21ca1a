"""From which PostgreSQL server, and from which of its histories, a source was loaded: what its positions belong to."""

from __future__ import annotations

import pyarrow as pa

from headrace.warehouse.client import DURABLE, ClickHouse

_READ = """
SELECT system, timeline FROM headrace.origins FINAL WHERE source = {source:String}
"""


async def read_origin(clickhouse: ClickHouse, source: str) -> tuple[int, int] | None:
    """System identifier and timeline; None when nothing was loaded yet."""
    rows = await clickhouse.rows(_READ, {"source": source})
    return (int(rows[0][0]), int(rows[0][1])) if rows else None


async def write_origin(clickhouse: ClickHouse, source: str, system: int, timeline: int) -> None:
    """Write down what is read from now on. Repeating it changes nothing."""
    row = {
        "source": pa.array([source]),
        "system": pa.array([system], pa.uint64()),
        "timeline": pa.array([timeline], pa.uint32()),
    }
    await clickhouse.insert_arrow("headrace.origins", pa.table(row), settings=DURABLE)
