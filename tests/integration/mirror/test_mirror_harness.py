"""The harness of the mirror's tests is tested: its workload runs, and its oracle sees every difference."""

from __future__ import annotations

from pathlib import Path
from random import Random

import psycopg
import pytest
from support.fault_system import kill_and_keep
from support.mirror_load import Writer, create_pgbench_tables, create_tables, more, run_pgbench, writing
from support.mirror_oracle import assert_changes_add_up, assert_mirrored, difference, quoted_table, read_source
from support.mirror_workload import Transaction, Workload, draw_tables

from headrace.embedded.postgres import EmbeddedPostgres
from headrace.warehouse.client import ClickHouse

SOURCE = """
CREATE TYPE mood AS ENUM ('happy');
CREATE TABLE things (k int PRIMARY KEY, "a.b" text, money numeric(12,2), number numeric, moment timestamptz,
  document jsonb, flag bool, tags text[] NOT NULL, labels text[], code uuid, mood mood);
INSERT INTO things VALUES
  (1, E'it''s\\t\\\\ "ü"', 12.30, 1.10, '2026-03-29 01:30:00.25+01', '{"b": 1.50, "a": null}', true,
   '{a,NULL,"c,\\"d\\\\",""}', '{x,NULL,"y z"}', '00000000-0000-4000-8000-ffffffffffff', 'happy'),
  (2, '', -0.01, 'NaN', '1900-01-01 00:00:00+00', '[]', false, '{}', '{}', NULL, NULL),
  (3, NULL, NULL, NULL, NULL, NULL, NULL, '{NULL}', NULL, NULL, NULL);
"""
# As a mirror would hold them; written by hand.
MIRROR = """
CREATE TABLE things (k Int32, `a.b` Nullable(String), money Nullable(Decimal(12, 2)), number Nullable(String),
  moment Nullable(DateTime64(6, 'UTC')), document Nullable(String), flag Nullable(Bool),
  tags Array(Nullable(String)), labels Nullable(String), code Nullable(UUID), mood LowCardinality(Nullable(String)))
ENGINE = MergeTree ORDER BY k
"""
ROWS = r"""
INSERT INTO things VALUES
  (1, 'it\'s\t\\ "ü"', 12.3, '1.10', '2026-03-29 00:30:00.250000', '{"a": null, "b": 1.50}', true,
   ['a', NULL, 'c,"d\\', ''], '{x,NULL,"y z"}', '00000000-0000-4000-8000-ffffffffffff', 'happy'),
  (2, '', -0.01, 'NaN', '1900-01-01 00:00:00', '[]', false, [], '{}', NULL, NULL),
  (3, NULL, NULL, NULL, NULL, NULL, NULL, [NULL], NULL, NULL, NULL)
"""
PLANTED = (
    ("ALTER TABLE things DELETE WHERE k = 2", "missing  k='2'"),
    ("INSERT INTO things SELECT * REPLACE (4 AS k) FROM things WHERE things.k = 1", "too many k='4'"),
    ("INSERT INTO things SELECT * FROM things WHERE k = 1", "too many k='1'"),
    ("ALTER TABLE things UPDATE `a.b` = '' WHERE k = 3", "at '3': a.b: NULL in PostgreSQL, '' in ClickHouse"),
    ("ALTER TABLE things UPDATE `a.b` = NULL WHERE k = 2", "at '2': a.b: '' in PostgreSQL, NULL in ClickHouse"),
    ("ALTER TABLE things UPDATE money = 12.31 WHERE k = 1", "at '1': money: '12.30' in PostgreSQL, '12.31'"),
    ("ALTER TABLE things UPDATE number = '1.1' WHERE k = 1", "at '1': number: '1.10' in PostgreSQL, '1.1'"),
    ("ALTER TABLE things UPDATE moment = moment + INTERVAL 1 MICROSECOND WHERE k = 1", "at '1': moment"),
    ('ALTER TABLE things UPDATE document = \'{"a": null, "b": 1.5}\' WHERE k = 1', "at '1': document"),
    ("ALTER TABLE things UPDATE flag = true WHERE k = 2", "at '2': flag: 'false' in PostgreSQL, 'true'"),
    ("ALTER TABLE things UPDATE tags = [''] WHERE k = 3", "at '3': tags"),
    ('ALTER TABLE things UPDATE labels = \'{x,"NULL","y z"}\' WHERE k = 1', "at '1': labels"),
    ("ALTER TABLE things UPDATE labels = '{}' WHERE k = 3", "at '3': labels: NULL in PostgreSQL, '[]'"),
    ("ALTER TABLE things UPDATE mood = NULL WHERE k = 1", "at '1': mood"),
)


async def run(url: str, statements: str) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(f"SET search_path = public; {statements}".encode())


async def test_oracle_takes_equal_tables_for_equal(url: str, clickhouse: ClickHouse) -> None:
    await run(url, SOURCE)
    await clickhouse.execute(MIRROR)
    await clickhouse.execute(ROWS)
    await assert_mirrored(url, clickhouse, ["public.things"])


async def test_oracle_sees_every_planted_difference(url: str, clickhouse: ClickHouse) -> None:
    await run(url, SOURCE)
    for statement, seen in PLANTED:
        await clickhouse.execute("DROP TABLE IF EXISTS things SYNC")
        await clickhouse.execute(MIRROR)
        await clickhouse.execute(ROWS)
        await clickhouse.execute(statement, settings={"mutations_sync": 2})
        assert seen in await difference(url, clickhouse, "public.things"), statement


async def test_oracle_compares_tables_without_a_key_as_multisets(url: str, clickhouse: ClickHouse) -> None:
    await run(
        url, "CREATE SCHEMA shop; CREATE TABLE shop.log (n int); INSERT INTO shop.log VALUES (1), (1), (2), (NULL)"
    )
    await clickhouse.execute("CREATE TABLE shop_log (n Nullable(Int32)) ENGINE = MergeTree ORDER BY tuple()")
    await clickhouse.execute("INSERT INTO shop_log VALUES (2), (1), (NULL), (1)")
    assert not await difference(url, clickhouse, "shop.log")
    await clickhouse.execute("INSERT INTO shop_log VALUES (2)")
    assert "too many n='2' × 1" in await difference(url, clickhouse, "shop.log")
    await run(url, "INSERT INTO shop.log VALUES (2), (3)")
    assert "missing  n='3'" in await difference(url, clickhouse, "shop.log")


async def test_oracle_compares_the_columns(url: str, clickhouse: ClickHouse) -> None:
    await run(url, "CREATE TABLE things (k int PRIMARY KEY, name text)")
    await clickhouse.execute("CREATE TABLE things (k Int32, title Nullable(String)) ENGINE = MergeTree ORDER BY k")
    with pytest.raises(AssertionError, match=r"\['k', 'name'\] in PostgreSQL, \['k', 'title'\] in ClickHouse"):
        await difference(url, clickhouse, "public.things")


async def test_oracle_adds_the_change_stream_up(url: str, clickhouse: ClickHouse) -> None:
    await run(url, "CREATE TABLE things (k int PRIMARY KEY, name text); INSERT INTO things VALUES (1, 'new')")
    await clickhouse.execute(
        "CREATE TABLE things_changes (k Int32, name Nullable(String), _operation String, _sign Int8) "
        "ENGINE = MergeTree ORDER BY tuple()"
    )
    await clickhouse.execute(
        "INSERT INTO things_changes VALUES (1, 'old', 'insert', 1), (1, 'old', 'update_before', -1), "
        "(1, 'new', 'update_after', 1), (2, 'x', 'insert', 1), (2, 'x', 'delete', -1)"
    )
    await assert_changes_add_up(url, clickhouse, ["public.things"])
    await clickhouse.execute("INSERT INTO things_changes VALUES (2, 'x', 'delete', -1)")
    with pytest.raises(AssertionError):
        await assert_changes_add_up(url, clickhouse, ["public.things"])


@pytest.mark.parametrize("seed", range(8))
async def test_workload_is_accepted_by_postgres_and_leaves_rows(url: str, seed: int) -> None:
    draw = Random(seed)
    tables = draw_tables(draw)
    await create_tables(url, tables)
    writer = Writer(url)
    workload = Workload(draw, tables, schema_changes=seed % 2 == 1, big_rows=500)
    await writer.run(workload.transactions(150))
    await writer.run([Transaction(tuple(workload.insert_fresh(table, 3)[0] for table in tables))])
    assert len(writer.refused) < 15, writer.refused
    assert writer.committed > 100
    assert writer.rolled_back > 5
    contents = [await read_source(url, table.name) for table in tables]
    assert all(content.rows for content in contents)
    for table, content in zip(tables, contents, strict=True):
        names = {column.name for column in content.columns}
        assert names == {*table.key, *(column.name for column in table.columns)} | (
            {"id"} if table.identity == "index" else set()
        )


async def test_workload_leaves_values_outside_of_their_rows(url: str) -> None:
    draw = Random(5)
    tables = draw_tables(draw)
    await create_tables(url, tables)
    await Writer(url).run(Workload(draw, tables, big_rows=500).transactions(100))
    async with await psycopg.AsyncConnection.connect(url) as connection:
        query = "SELECT pg_relation_size(reltoastrelid) FROM pg_class WHERE oid = %s::regclass"
        sizes = [await (await connection.execute(query, (quoted_table(table.name),))).fetchone() for table in tables]
    assert any(size and size[0] for size in sizes)


async def test_every_transaction_is_carried_out_once_although_postgres_is_killed(tmp_path: Path) -> None:
    postgres = EmbeddedPostgres(tmp_path / "postgres")
    await postgres.start()
    try:
        tables = draw_tables(Random(1))
        await create_tables(postgres.url, tables)
        writers = [(Writer(postgres.url, n), Workload(Random(n), tables, writer=n, big_rows=500)) for n in range(2)]
        async with writing(writers, pause_s=0):
            for _ in range(2):
                await more(writers, 50)
                await kill_and_keep("postgres", postgres)
            await more(writers, 50)
        async with await psycopg.AsyncConnection.connect(postgres.url) as connection:
            for writer, _ in writers:
                cursor = await connection.execute(
                    "SELECT count(*) FROM public.progress WHERE writer = %s", (writer.number,)
                )
                assert await cursor.fetchone() == (writer.committed,)
    finally:
        await postgres.stop()


async def test_pgbench_runs_and_its_history_has_no_key(url: str) -> None:
    await create_pgbench_tables(url, 1)
    await run_pgbench(url, seconds=1)
    history = await read_source(url, "public.pgbench_history")
    assert history.rows
    assert not any(column.key for column in history.columns)
