"""Survey: how far each mirrored table is and how the slot fares, asked of both databases. Changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from headrace.capture.slot_health import SlotHealth, slot_health
from headrace.capture.source_tables import Leaf, describe_tables
from headrace.capture.stream_floor import log_end
from headrace.events.position import START
from headrace.mirror.shape import Shape
from headrace.mirror.table import objects_of
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.mirrors import COPYING, PAUSED, READY, CopiedRange, StoredMirror, read_mirrors, read_ranges
from headrace.warehouse.plan import Plan, read_plan_after
from headrace.warehouse.verifications import Verification, read_verifications
from headrace.warehouse.watermark import NOTHING, Watermark, read_watermark

RATE_OF_LAST_S = 60.0


@dataclass(frozen=True, slots=True)
class Lag:
    """What a table lacks: `bytes` of log that are committed, `s` since the oldest of it; None: nothing is known.

    All tables share one slot and its order, so a ready table is as far as the watermark. One that is not ready lacks
    every batch behind the last that was applied to it.
    """

    bytes: int | None
    s: float | None


@dataclass(frozen=True, slots=True)
class CopyProgress:
    """How far the copy of a table is. `bytes` are COPY's; `bytes_total` is an estimate by the pages that are done.

    `bytes_per_s` is that of the last minute. None: too little is done to tell.
    """

    rows: int
    bytes: int
    fraction: float
    bytes_total: int | None
    bytes_per_s: float | None
    left_s: float | None


@dataclass(frozen=True, slots=True)
class TableSurvey:
    """One table. `rows` are those in ClickHouse, versions that are not merged yet included; `waiting` are changes that
    are kept until the table goes on.
    """

    stored: StoredMirror
    rows: int
    waiting: int
    lag: Lag
    copy: CopyProgress | None
    verified: Verification | None


@dataclass(frozen=True, slots=True)
class Survey:
    """Everything. `slot` is None when there is none; `heard_s` is how long ago the worker last vouched for anything."""

    tables: list[TableSurvey]
    slot: SlotHealth | None
    lag: Lag
    heard_s: float | None


async def survey(clickhouse: ClickHouse, source: str, postgres_url: str, slot: str) -> Survey:
    """Ask both databases. Raises Unavailable."""
    now = datetime.now(UTC)
    watermark = await read_watermark(clickhouse, source)
    end_lsn = await log_end(postgres_url)
    live = _lag_of_watermark(watermark, end_lsn, now)
    verified = await read_verifications(clickhouse, source)
    tables = [each for each in (await read_mirrors(clickhouse, source)).values() if each.in_service]
    copying = [each.oid for each in tables if each.state == COPYING]
    leaves = {each.oid: each.leaves for each in await describe_tables(postgres_url, copying)} if copying else {}
    found = []
    for stored in tables:
        rows, waiting = await _count(clickhouse, stored)
        lag = live
        if stored.state in (COPYING, PAUSED) and stored.floor_lsn == 0:
            lag = Lag(None, None)  # its copy has not begun
        elif stored.state != READY and (lacks := await read_plan_after(clickhouse, source, stored.applied_batch)):
            lag = _lag_behind(lacks, end_lsn, now)
        copy = None
        if stored.oid in leaves:
            begun = stored.floor_lsn > 0  # else what is written down is of an earlier copy
            done = await read_ranges(clickhouse, source, stored) if begun else []
            copy = copy_progress(leaves[stored.oid], done, now)
        found.append(TableSurvey(stored, rows, waiting, lag, copy, verified.get(stored.name)))
    heard_s = None if watermark is NOTHING else max(0.0, (now - watermark.written_at).total_seconds())
    return Survey(found, await slot_health(postgres_url, slot), live, heard_s)


def _lag_of_watermark(watermark: Watermark, end_lsn: int, now: datetime) -> Lag:
    """What is committed and not loaded. An idle worker moves the watermark on with the log."""
    if watermark.position == START:
        return Lag(None, None)
    lacking = max(0, end_lsn - 1 - watermark.position.lsn)
    return Lag(lacking, _age(watermark.committed_at, now) if lacking else 0.0)


def _lag_behind(lacks: Plan, end_lsn: int, now: datetime) -> Lag:
    return Lag(max(0, end_lsn - lacks.first.lsn), _age(lacks.committed_at, now))


def _age(moment: datetime, now: datetime) -> float:
    return max(0.0, (now - moment).total_seconds())


def copy_progress(leaves: Sequence[Leaf], done: Sequence[CopiedRange], now: datetime) -> CopyProgress:
    """How far a copy is whose ranges `done` are brought over, of a table whose leaves are `leaves` now. Pure."""
    pages = {leaf.oid: max(1, leaf.pages) for leaf in leaves}  # an empty leaf has one range as well
    done_pages = sum(_pages(each, pages.get(each.leaf, 0)) for each in done)
    fraction = min(1.0, done_pages / max(1, sum(pages.values())))
    bytes_ = sum(each.bytes for each in done)
    total = round(bytes_ / fraction) if fraction else None
    per_s = _bytes_per_s(done, now)
    left_s = (total - bytes_) / per_s if total is not None and per_s else None
    return CopyProgress(sum(each.rows for each in done), bytes_, fraction, total, per_s, left_s)


def _pages(range_: CopiedRange, pages: int) -> int:
    """The last range of a leaf has no end."""
    return max(0, min(range_.page_end, pages) - range_.page_begin)


def _bytes_per_s(done: Sequence[CopiedRange], now: datetime) -> float | None:
    """Of the last minute, or since the first range was done: when that one began is not known."""
    moments = [each.copied_at for each in done if each.copied_at]
    since = max(min(moments, default=now), now - timedelta(seconds=RATE_OF_LAST_S))
    took_s = (now - since).total_seconds()
    recent = sum(each.bytes for each in done if each.copied_at and each.copied_at > since)
    return recent / took_s if recent and took_s > 0 else None


async def _count(clickhouse: ClickHouse, stored: StoredMirror) -> tuple[int, int]:
    """Rows of the table, and staged changes that wait."""
    shape = Shape.from_json(stored.shape)
    objects = objects_of(clickhouse.database, stored.name, stored.stem, stored.generation, shape)
    sql = (
        "SELECT sum(rows) FROM system.parts WHERE active AND database = {database:String} "
        "AND endsWith({rows:String}, concat('`', table, '`'))"
    )
    parameters = {"rows": objects.rows, "database": clickhouse.database}
    ((rows,),) = await clickhouse.rows(sql, parameters)
    if stored.state not in (COPYING, PAUSED):
        return rows, 0
    sql = f"SELECT count() FROM {objects.staging} WHERE _batch > {{after:UInt64}}"
    ((waiting,),) = await clickhouse.rows(sql, {"after": stored.applied_batch})
    return rows, waiting
