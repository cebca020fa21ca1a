"""Rows that a copy cannot be sure of are read from PostgreSQL again by their keys, before the table is live."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from support.made_mirror import make_mirror, plant, run_sql
from support.mirror_side import MirrorSide

from headrace.capture.personal import Personal
from headrace.capture.source_tables import describe_table
from headrace.capture.table_copy import Rewritten
from headrace.mirror import arrival
from headrace.mirror.copy import Copy
from headrace.mirror.doubt import CannotSettle, Doubt
from headrace.mirror.staged import UPDATE
from headrace.mirror.table import Table
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.mirrors import COPYING


async def read_again(clickhouse: ClickHouse, url: str, table: Table, doubt: Doubt) -> int:
    copy = Copy(
        clickhouse=clickhouse,
        source=clickhouse.database,
        postgres_url=url,
        workers=1,
        bytes_per_s_max=None,
        personal=Personal({}),
    )
    described = await describe_table(url, table.stored.oid)
    assert described is not None
    return await copy.read_again(table, described, doubt, asyncio.Lock())


async def stage(clickhouse: ClickHouse, table: Table, *moves: tuple[str, str]) -> None:
    """Updates that gave rows another key, both as SQL, and left the value of the last column out."""
    places = table.shape.key_places
    columns = [*(f"root{place}" for place in places), *(f"c{place}" for place in places)]
    left_out = len(table.shape.columns) - 1
    for number, (old, new) in enumerate(moves):
        await clickhouse.execute(
            f"INSERT INTO {table.objects.staging} (_kind, _lsn, _ordinal, _unchanged, _moved, _batch, "
            f"{', '.join(columns)}) VALUES ({UPDATE}, 2000, {number}, [{left_out}], 1, 1, {old}, {new})"
        )
    await table.save(state=COPYING, applied_batch=1)


@asynccontextmanager
async def changing_keys(side: MirrorSide) -> AsyncIterator[None]:
    """All keys change all the time, and no change has the large value."""
    stop = asyncio.Event()

    async def change() -> None:
        while not stop.is_set():
            await side.run("UPDATE t SET id = id + 1")

    changing = asyncio.create_task(change())
    try:
        yield
    finally:
        stop.set()
        await changing


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("id int", ["1", "2", "3", "4"]),
        ("id int, c0 text", ["1, 'it''s'", "1, ''", "2, 'it''s'", "2, 'a\t\"b\"'"]),
        ("_chain int, _moved text, k0 int", ["68, 'a', 1", "68, 'b', 1", "68, 'a', 2", "68, 'b', 2"]),
        ("_unchanged int, _side int, _kind int", ["1, 1, 68", "2, 1, 68", "1, 2, 68", "1, 1, 1"]),
        ("id timestamptz", [f"'2026-03-0{day} 00:00:00+00'" for day in range(1, 5)]),
    ],
)
async def test_a_row_in_doubt_becomes_what_it_is_in_postgres(
    clickhouse: ClickHouse, url: str, key: str, values: list[str]
) -> None:
    names = ", ".join(column.split()[0] for column in key.split(", "))
    await run_sql(
        url,
        f"CREATE TABLE t ({key}, doc text, PRIMARY KEY ({names}))",
        f"INSERT INTO t VALUES ({values[0]}, 'its own'), ({values[1]}, 'deleted soon')",
    )
    table = await make_mirror(clickhouse, url, "t")
    await plant(clickhouse, table, "doc = 'its own'", "'of another row' AS doc")
    await run_sql(url, f"DELETE FROM t WHERE ({names}) = ({values[1]})")
    await stage(clickhouse, table, (values[2], values[0]), (values[3], values[1]))
    doubt = Doubt(clickhouse, table)
    assert await read_again(clickhouse, url, table, doubt) == 2
    assert await clickhouse.rows("SELECT doc FROM t") == [("its own",)]
    assert await read_again(clickhouse, url, table, doubt) == 0


async def test_a_table_whose_keys_find_no_rows_is_not_taken_for_complete(clickhouse: ClickHouse, url: str) -> None:
    await run_sql(url, "CREATE TABLE t (id float8 PRIMARY KEY, doc text)", "INSERT INTO t VALUES (1, '')")
    table = await make_mirror(clickhouse, url, "t")
    await stage(clickhouse, table, ("2", "1"))
    with pytest.raises(CannotSettle, match="cannot be read again"):
        await read_again(clickhouse, url, table, Doubt(clickhouse, table))


async def test_a_key_that_its_column_does_not_know_any_more_has_the_table_copied_anew(
    clickhouse: ClickHouse, url: str
) -> None:
    """It ended the worker, again after each restart."""
    await run_sql(
        url,
        "CREATE TYPE size AS ENUM ('s', 'm')",
        "CREATE TABLE t (id size PRIMARY KEY, doc text)",
        "INSERT INTO t VALUES ('s', '')",
    )
    table = await make_mirror(clickhouse, url, "t")
    await stage(clickhouse, table, ("'s'", "'m'"))
    await run_sql(url, "ALTER TYPE size RENAME VALUE 'm' TO 'l'")
    with pytest.raises(Rewritten):
        await read_again(clickhouse, url, table, Doubt(clickhouse, table))
    assert table.stored.floor_lsn == 0


async def test_a_large_key_that_an_update_leaves_out_is_that_of_its_row(side: MirrorSide) -> None:
    """PostgreSQL sends such a key beside the new row only, as the key that the row had."""
    await side.run("CREATE TABLE t (id text PRIMARY KEY, n int); ALTER TABLE t ALTER id SET STORAGE EXTERNAL")
    side.start()
    await side.mirrored.wait_until_ready()
    await side.run("INSERT INTO t SELECT repeat(chr(64 + n), 2400), n FROM generate_series(1, 3) AS n")
    await side.run("UPDATE t SET n = n + 100; UPDATE t SET n = n + 1, id = 'small' WHERE n = 101")
    await side.assert_whole()


async def test_a_table_whose_keys_change_too_fast_is_stopped_and_a_full_identity_lets_it_be_copied(
    side: MirrorSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrival, "ROUNDS_MAX", 2)
    await side.run("CREATE TABLE t (id int PRIMARY KEY, doc text); ALTER TABLE t ALTER doc SET STORAGE EXTERNAL")
    await side.run("INSERT INTO t SELECT n * 10000, repeat(n::text, 9000) FROM generate_series(1, 20) AS n")
    async with changing_keys(side):
        side.start()
        assert "REPLICA IDENTITY FULL" in await side.mirrored.wait_until_quarantined("public.t")
        await side.run("ALTER TABLE t REPLICA IDENTITY FULL")
        await side.mirrored.wait_until_ready(resync=True)
    await side.assert_whole(from_empty=False)


async def test_a_table_that_is_resumed_while_its_keys_change_keeps_a_change_stream_that_adds_up(
    side: MirrorSide,
) -> None:
    """No row of it is in doubt: it was right when it was paused. Rows that are read again have no entry there."""
    await side.run("CREATE TABLE t (id int PRIMARY KEY, doc text); ALTER TABLE t ALTER doc SET STORAGE EXTERNAL")
    side.start()
    await side.mirrored.wait_until_ready()
    await side.run("INSERT INTO t SELECT n * 1000, repeat(n::text, 9000) FROM generate_series(1, 20) AS n")
    await side.mirrored.wait()
    await side.mirrored.ask("pause", ["public.t"])
    async with changing_keys(side):
        await side.run("DELETE FROM t WHERE id < 3000")
        await side.mirrored.ask("resume", ["public.t"])
        await side.mirrored.wait_until_ready()
    await side.assert_whole()
