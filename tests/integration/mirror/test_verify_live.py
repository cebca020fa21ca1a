"""Verification while rows change: what is under way settles, what was cut off goes on, and what differs is repaired."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from support.made_mirror import FAR, make_mirror, paused, plant, run_sql

from headrace.capture.personal import Personal
from headrace.capture.stream_floor import log_end
from headrace.errors import Behind, Conflict
from headrace.mirror.repair import Repair
from headrace.mirror.schedule import Schedule, due
from headrace.mirror.statements import copied_version
from headrace.mirror.table import Table
from headrace.mirror.verify import Verifier
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.verifications import Verification, read_differences, read_verifications
from headrace.warehouse.watermark import write_watermark

MADE = ("CREATE TABLE t (id int PRIMARY KEY, n int)", "INSERT INTO t SELECT g, g FROM generate_series(1, 45) AS g")


class Refilled(list[str]):
    """What was told to be filled anew."""

    async def __call__(self, names: Sequence[str]) -> None:
        self.extend(names)


def verifier(clickhouse: ClickHouse, url: str, **more: object) -> Verifier:
    settings = {"range_rows": 10, "wait_max_s": 5, **more}
    return Verifier(clickhouse=clickhouse, source=clickhouse.database, postgres_url=url, **settings)  # type: ignore[arg-type]


async def bring(clickhouse: ClickHouse, table: Table, id_: int, n: int | None, version: int) -> None:
    """A change as the stream would bring it; n None: the row is deleted."""
    await clickhouse.execute(
        f"INSERT INTO {table.objects.rows} VALUES ({id_}, {'NULL' if n is None else n}, {version}, {int(n is None)})"
    )


async def test_a_change_that_the_mirror_has_not_got_yet_is_no_difference(clickhouse: ClickHouse, url: str) -> None:
    await run_sql(url, *MADE)
    table = await make_mirror(clickhouse, url, "t")
    source = clickhouse.database
    await clickhouse.execute(
        f"DELETE FROM headrace.watermarks WHERE source = '{source}'", settings={"mutations_sync": 1}
    )
    await run_sql(url, "UPDATE t SET n = 0 WHERE id = 7", "DELETE FROM t WHERE id = 8", "INSERT INTO t VALUES (99, 99)")
    running = asyncio.create_task(verifier(clickhouse, url).verify(table.stored))
    version = await log_end(url) << 64
    await bring(clickhouse, table, 7, 0, version)
    await bring(clickhouse, table, 8, None, version)
    await bring(clickhouse, table, 99, 99, version)
    await write_watermark(clickhouse, source, batch=2, position=FAR, committed_at=datetime.now(UTC))
    found = await running
    assert (found.state, found.rows) == ("clean", 45)


async def test_rows_that_change_all_the_time_are_never_clean(clickhouse: ClickHouse, url: str) -> None:
    await run_sql(url, *MADE)
    table = await make_mirror(clickhouse, url, "t")
    done = asyncio.Event()

    async def write() -> None:
        n = 1000
        while not done.is_set():
            n += 1
            await run_sql(url, f"UPDATE t SET n = {n} WHERE id = 7")

    writing = asyncio.create_task(write())
    found = await verifier(clickhouse, url).verify(table.stored)
    done.set()
    await writing
    # Different only where two looks in a row fell between two writes.
    assert found.state in ("unsettled", "different")
    assert found.unsettled + found.differences == 1


async def test_without_a_worker_it_gives_up_and_goes_on_later(clickhouse: ClickHouse, url: str) -> None:
    await run_sql(url, *MADE)
    table = await make_mirror(clickhouse, url, "t")
    source = clickhouse.database
    await clickhouse.execute(
        f"DELETE FROM headrace.watermarks WHERE source = '{source}'", settings={"mutations_sync": 1}
    )
    with pytest.raises(Behind):
        await verifier(clickhouse, url, wait_max_s=0.1).verify(table.stored)
    assert (await read_verifications(clickhouse, source))["t"].state == "stopped"
    with pytest.raises(Conflict, match="cannot be verified now"):
        await verifier(clickhouse, url).verify(paused(table.stored))


@pytest.mark.parametrize("key", ["id int PRIMARY KEY", 'id text COLLATE "C.utf8" PRIMARY KEY'])
async def test_a_comparison_that_was_cut_off_goes_on_where_it_was(clickhouse: ClickHouse, url: str, key: str) -> None:
    await run_sql(url, f"CREATE TABLE t ({key}, n int)", "INSERT INTO t SELECT g, g FROM generate_series(1, 65) AS g")
    table = await make_mirror(clickhouse, url, "t")
    await plant(clickhouse, table, "n IN (1, 9, 65)", "0 AS n")
    begun = asyncio.Event()

    def on_progress(now: Verification, rows: int) -> None:
        if now.rows >= 20:
            begun.set()

    # Slow enough that it is cut off before its end.
    slow = verifier(clickhouse, url, rows_per_s=50, on_progress=on_progress)
    running = asyncio.create_task(slow.verify(table.stored))
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    stopped = (await read_verifications(clickhouse, clickhouse.database))["t"]
    assert stopped.state == "stopped"
    assert 20 <= stopped.rows < 65

    seen: list[int] = []
    again = verifier(clickhouse, url, on_progress=lambda now, rows: seen.append(now.rows))
    found = await again.verify(table.stored, earlier=stopped)
    assert (found.run, found.rows, found.changed) == (stopped.run, 65, 3)
    assert stopped.rows <= seen[0] <= stopped.rows + 10
    anew = await again.verify(table.stored, earlier=found)  # it was not cut off
    assert anew.run != found.run


def repair_of(clickhouse: ClickHouse, url: str, refilled: Refilled) -> Repair:
    return Repair(
        clickhouse=clickhouse,
        source=clickhouse.database,
        postgres_url=url,
        personal=Personal({}),
        lock=asyncio.Lock(),
        refill=refilled,
    )


async def test_repair_brings_over_what_differs(clickhouse: ClickHouse, url: str) -> None:
    await run_sql(url, *MADE)
    table = await make_mirror(clickhouse, url, "t")
    await run_sql(url, "DELETE FROM t WHERE id = 3")
    await plant(clickhouse, table, "id IN (1, 45)", deleted=True)
    await plant(clickhouse, table, "id IN (2, 44)", "0 AS n")
    compare = verifier(clickhouse, url)
    found = await compare.verify(table.stored)
    assert (found.missing, found.extra, found.changed) == (2, 1, 2)
    refilled = Refilled()
    repair = repair_of(clickhouse, url, refilled)
    assert await repair.run(table) == 5
    assert refilled == ["t"]
    assert (await compare.verify_again(table.stored, found)).state == "clean"
    assert (await compare.verify(table.stored)).state == "clean"
    assert await clickhouse.rows("SELECT count(), sum(n) FROM t") == [(44, sum(range(1, 46)) - 3)]


async def test_a_repaired_row_yields_to_the_changes_that_come_later(clickhouse: ClickHouse, url: str) -> None:
    await run_sql(url, *MADE)
    table = await make_mirror(clickhouse, url, "t")
    await plant(clickhouse, table, "id IN (1, 2, 3, 4)", "0 AS n")
    await verifier(clickhouse, url).verify(table.stored)
    before = await log_end(url)
    repair = repair_of(clickhouse, url, Refilled())
    await repair.run(table)
    ((version,),) = await clickhouse.rows(f"SELECT max(_version) FROM {table.objects.rows} FINAL WHERE id = 1")
    assert copied_version(before - 1) <= version < await log_end(url) << 64
    # The stream brings a change that the read saw already, one that came behind it, and a late one from before.
    await bring(clickhouse, table, 1, 111, await log_end(url) << 64)
    await bring(clickhouse, table, 2, None, await log_end(url) << 64)
    await bring(clickhouse, table, 3, 333, (before - 1) << 64)
    assert await clickhouse.rows("SELECT id, n FROM t WHERE id < 5 ORDER BY id") == [(1, 111), (3, 3), (4, 4)]


async def test_repair_needs_a_comparison_and_a_key(clickhouse: ClickHouse, url: str) -> None:
    await run_sql(url, "CREATE TABLE t (n int)", "ALTER TABLE t REPLICA IDENTITY FULL", "INSERT INTO t VALUES (1)")
    table = await make_mirror(clickhouse, url, "t")
    repair = repair_of(clickhouse, url, Refilled())
    with pytest.raises(Conflict, match="not compared"):
        await repair.run(table)
    await verifier(clickhouse, url).verify(table.stored)
    with pytest.raises(Conflict, match="no key"):
        await repair.run(table)


async def test_the_worker_compares_what_is_due(clickhouse: ClickHouse, url: str) -> None:
    await run_sql(url, *MADE)
    table = await make_mirror(clickhouse, url, "t")
    source = clickhouse.database
    schedule = Schedule(clickhouse=clickhouse, source=source, verifier=verifier(clickhouse, url), every_h=1)
    await schedule.run_due(timedelta(hours=1))
    first = (await read_verifications(clickhouse, source))["t"]
    assert first.state == "clean"
    await schedule.run_due(timedelta(hours=1))
    assert (await read_verifications(clickhouse, source))["t"] == first
    later = datetime.now(UTC) + timedelta(hours=2)
    assert due([table.stored], {"t": first}, every=timedelta(hours=1), now=later) == [table.stored]
    assert due([paused(table.stored)], {"t": first}, every=timedelta(hours=1), now=later) == []
    assert await read_differences(clickhouse, source, first, rows_max=10) == []
