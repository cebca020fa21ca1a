"""Watermark: the highest position up to which every ready read model is complete.

One that is being filled or has failed is not vouched for; `headrace.definitions` says which those are.

It is a row in ClickHouse, written after everything it vouches for. Readers may hold a slightly old one: it only
grows, so an old watermark is still true.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa

from headrace.errors import Behind
from headrace.events.position import START, Position
from headrace.warehouse.client import DURABLE, ClickHouse

CACHE_S = 0.025
POLL_S = 0.01

_READ = """
SELECT batch, lsn, ordinal, committed_at, written_at
FROM headrace.watermarks
WHERE source = {source:String}
ORDER BY lsn DESC, ordinal DESC, written_at DESC
LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Watermark:
    """How far every read model is.

    `batch` is the last complete batch. `position` is its end, or further: an idle worker moves it on with the log. What
    was committed until `committed_at` is loaded: the commit time of the last transaction, or when the worker last found
    the log idle. `written_at` is when the worker last vouched for it.
    """

    batch: int
    position: Position
    committed_at: datetime
    written_at: datetime


NOTHING = Watermark(0, START, datetime.fromtimestamp(0, UTC), datetime.fromtimestamp(0, UTC))


async def read_watermark(clickhouse: ClickHouse, source: str) -> Watermark:
    """The watermark as ClickHouse holds it now; `NOTHING` before the first batch."""
    rows = await clickhouse.rows(_READ, {"source": source})
    if not rows:
        return NOTHING
    batch, lsn, ordinal, committed_at, written_at = rows[0]
    return Watermark(batch, Position(lsn, ordinal), _utc(committed_at), _utc(written_at))


async def write_watermark(
    clickhouse: ClickHouse, source: str, *, batch: int, position: Position, committed_at: datetime
) -> None:
    """Vouch for everything up to `position`. Repeating it only renews `written_at`."""
    await clickhouse.insert_arrow(
        "headrace.watermarks",
        pa.table(
            {
                "source": pa.array([source]),
                "batch": pa.array([batch], pa.uint64()),
                "lsn": pa.array([position.lsn], pa.uint64()),
                "ordinal": pa.array([position.ordinal], pa.uint32()),
                "committed_at": pa.array([committed_at], pa.timestamp("us", "UTC")),
            }
        ),
        settings=DURABLE,
    )


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


class WatermarkReader:
    """The watermark for many concurrent readers: at most one look at ClickHouse every `CACHE_S` seconds."""

    def __init__(self, *, clickhouse: ClickHouse, source: str) -> None:
        self._clickhouse = clickhouse
        self._source = source
        self._latest = NOTHING
        self._read_at = -CACHE_S
        self._reading = asyncio.Lock()

    async def latest(self) -> Watermark:
        """A watermark that was true at most `CACHE_S` seconds ago."""
        async with self._reading:
            if time.monotonic() - self._read_at >= CACHE_S:
                self._latest = await read_watermark(self._clickhouse, self._source)
                self._read_at = time.monotonic()
            return self._latest

    async def wait_for(self, position: Position, *, timeout_s: float) -> Watermark:
        """Wait until the watermark has passed `position`: read your writes. Raises Behind after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while (watermark := await self.latest()).position < position:
            if time.monotonic() >= deadline:
                raise Behind(
                    f"The read side did not reach {position} within {timeout_s:g} s.",
                    f"It is at {watermark.position}, written {watermark.written_at.isoformat()}.",
                    "`headrace status` shows the lag; the command itself is safe in PostgreSQL.",
                )
            await asyncio.sleep(POLL_S)
        return watermark
