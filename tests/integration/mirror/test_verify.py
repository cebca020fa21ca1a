"""Verification against PostgreSQL and ClickHouse: clean tables are clean, and each planted difference is named."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from support.made_mirror import make_mirror, plant, run_sql

from headrace.mirror.verify import Verifier
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.verifications import Difference, Verification, read_differences

RANGE_ROWS = 10
KEYS = {
    "int": ("id int PRIMARY KEY", "g"),
    "bigint_negative": ("id bigint PRIMARY KEY", "g - 20"),
    "numeric": ("id numeric(20, 3) PRIMARY KEY", "g + 0.125"),
    "plain_numeric": ("id numeric PRIMARY KEY", "g + 0.50"),
    "text_c": ('id text COLLATE "C" PRIMARY KEY', "chr(g % 30 + 65) || E'\\t\\\\''\"é' || g"),
    "text_other": ('id text COLLATE "C.utf8" PRIMARY KEY', "chr(g % 60 + 65) || E'\\t\\\\''\"é' || g"),
    "varchar": ("id varchar(40) PRIMARY KEY", "'k' || g"),
    "bpchar": ("id char(8) PRIMARY KEY", "'k' || g"),
    "uuid": ("id uuid PRIMARY KEY", "md5(g::text)::uuid"),
    "bytea": ("id bytea PRIMARY KEY", "decode(md5(g::text), 'hex')"),
    "date": ("id date PRIMARY KEY", "date '2020-01-01' + g"),
    "timestamp": ("id timestamp PRIMARY KEY", "timestamp '2020-01-01' + g * interval '1.5 s'"),
    "timestamptz": ("id timestamptz PRIMARY KEY", "timestamptz '2020-01-01 00:00+00' + g * interval '1.5 s'"),
    "enum": ("id label PRIMARY KEY", "('l' || g)::label"),
    "float": ("id float8 PRIMARY KEY", "g / 3.0"),
}


async def differences(clickhouse: ClickHouse, found: Verification) -> list[Difference]:
    return await read_differences(clickhouse, clickhouse.database, found, rows_max=1000)


def verifier(clickhouse: ClickHouse, url: str) -> Verifier:
    return Verifier(
        clickhouse=clickhouse, source=clickhouse.database, postgres_url=url, range_rows=RANGE_ROWS, wait_max_s=5
    )


async def kinds(clickhouse: ClickHouse, found: Verification) -> dict[tuple[str, ...], str]:
    return {each.key: each.kind for each in await differences(clickhouse, found)}


@pytest.mark.parametrize("name", KEYS)
async def test_every_kind_of_difference_is_found_for_every_kind_of_key(
    clickhouse: ClickHouse, url: str, name: str
) -> None:
    key, value = KEYS[name]
    labels = ", ".join(f"'l{g}'" for g in range(101))
    await run_sql(
        url,
        f"CREATE TYPE label AS ENUM ({labels})",
        f"CREATE TABLE t ({key}, place int NOT NULL, note text)",
        f"INSERT INTO t SELECT {value}, g, 'note ' || g FROM generate_series(1, 45) AS g",
        "ANALYZE t",
    )
    table = await make_mirror(clickhouse, url, "t")
    clean = await verifier(clickhouse, url).verify(table.stored)
    assert (clean.state, clean.rows, clean.differences) == ("clean", 45, 0)

    # Extra ones stand between the others, before the first one and behind the last one.
    await run_sql(url, "DELETE FROM t WHERE place IN (2, 25, 44)")
    await plant(clickhouse, table, "place IN (1, 22, 45)", deleted=True)
    await plant(clickhouse, table, "place IN (3, 23, 43)", "'other' AS note")
    found = await verifier(clickhouse, url).verify(table.stored)
    if name == "float":
        assert (found.state, found.differences) == ("different", 1)
        return
    assert (found.state, found.missing, found.extra, found.changed, found.unsettled) == ("different", 3, 3, 3, 0)
    shown = await differences(clickhouse, found)
    assert [each.columns for each in shown if each.kind == "changed"] == [("note",)] * 3
    (wanted,) = await run_sql(url, "SELECT array_agg(format('%s', id)) FROM t WHERE place IN (1, 22, 45)")
    assert {each.key[0] for each in shown if each.kind == "missing"} == set(wanted[0])


async def test_an_empty_table_and_an_emptied_one(clickhouse: ClickHouse, url: str) -> None:
    await run_sql(url, "CREATE TABLE t (id int PRIMARY KEY)")
    table = await make_mirror(clickhouse, url, "t")
    assert (await verifier(clickhouse, url).verify(table.stored)).state == "clean"
    await clickhouse.execute(
        f"INSERT INTO {table.objects.rows} SELECT number, 1, 0 FROM numbers(95)"  # far more than a range
    )
    found = await verifier(clickhouse, url).verify(table.stored)
    assert (found.state, found.extra, found.missing) == ("different", 95, 0)


async def test_a_mirror_that_lost_everything(clickhouse: ClickHouse, url: str) -> None:
    await run_sql(url, "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t SELECT generate_series(1, 35)")
    table = await make_mirror(clickhouse, url, "t")
    await clickhouse.execute(f"TRUNCATE TABLE {table.objects.rows}")
    found = await verifier(clickhouse, url).verify(table.stored)
    assert (found.state, found.missing, found.extra) == ("different", 35, 0)


@pytest.mark.parametrize("second", ["b int", 'b text COLLATE "C"', 'b text COLLATE "C.utf8"', "b uuid"])
async def test_keys_of_several_columns(clickhouse: ClickHouse, url: str, second: str) -> None:
    value = "md5(g::text)::uuid" if "uuid" in second else "g" if "int" in second else "'b' || g"
    await run_sql(
        url,
        f'CREATE TABLE t (n int, {second}, "a%s""`\'\\" smallint, PRIMARY KEY ("a%s""`\'\\", b))',
        f"INSERT INTO t SELECT g, {value}, g / 17 FROM generate_series(1, 61) AS g",
    )
    table = await make_mirror(clickhouse, url, "t")
    assert (await verifier(clickhouse, url).verify(table.stored)).state == "clean"
    await plant(clickhouse, table, "n IN (30, 61)", "n + 1 AS n")
    await plant(clickhouse, table, "n = 1", deleted=True)
    await run_sql(url, "DELETE FROM t WHERE n = 40")
    found = await verifier(clickhouse, url).verify(table.stored)
    assert (found.missing, found.extra, found.changed) == (1, 1, 2)
    assert len((await differences(clickhouse, found))[0].key) == 2


COLUMNS = {
    "bool": ("true", "false"),
    "int2": ("-32768", "7"),
    "int8": ("9223372036854775807", "0"),
    "float4": ("'NaN'", "1.1"),
    "float8": ("'-Infinity'", "0.1"),
    "numeric(30, 10)": ("-0.0000000001", "12345678901234567890.5"),
    "numeric": ("1.000", "1e50"),
    "text": ("E'a\\t\\n\\\\''é'", "''"),
    "varchar(5)": ("'abc'", "''"),
    "char(5)": ("'a'", "'abcde'"),
    "bytea": ("'\\x00ff'", "''"),
    "date": ("'1969-12-31'", "'2299-12-31'"),
    "timestamp": ("'2024-02-29 23:59:59.123456'", "'1900-01-01'"),
    "timestamptz": ("'2024-02-29 23:59:59.1+05'", "'1969-12-31 23:59:59.999999+00'"),
    "time": ("'12:34:56.7'", "'00:00'"),
    "interval": ("'1 day 2 hours'", "'-1 month'"),
    "uuid": ("'00000000-0000-0000-0000-000000000001'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'"),
    "jsonb": ("'{\"a\": [1, null]}'", "'null'"),
    "inet": ("'10.0.0.1/8'", "'::1'"),
    "int[] NOT NULL": ("'{1,NULL,3}'", "'{}'"),
    "text[] NOT NULL": ("ARRAY['a,b', NULL, '\"', '\\', '']", "'{}'"),
    "timestamptz[] NOT NULL": ("ARRAY[timestamptz '2024-01-01 00:00+00']", "'{}'"),
    "int[]": ("'{1,2}'", "'{{1},{2}}'"),
    "int4range": ("'[1,5)'", "'empty'"),
    "mood": ("'happy'", "'sad'"),
}


async def test_values_of_every_type_are_the_same_on_both_sides(clickhouse: ClickHouse, url: str) -> None:
    declared = ", ".join(f"c{place} {type_}" for place, type_ in enumerate(COLUMNS))
    rows = [[values[which] for values in COLUMNS.values()] for which in (0, 1)]
    nulls = ["'{}'" if "NOT NULL" in type_ else "NULL" for type_ in COLUMNS]
    listed = ", ".join(f"({place}, {', '.join(row)})" for place, row in enumerate([*rows, nulls]))
    await run_sql(
        url,
        "CREATE TYPE mood AS ENUM ('happy', 'sad')",
        f"CREATE TABLE t (id int PRIMARY KEY, {declared})",
        f"INSERT INTO t VALUES {listed}",
    )
    table = await make_mirror(clickhouse, url, "t")
    found = await verifier(clickhouse, url).verify(table.stored)
    assert (found.state, await differences(clickhouse, found)) == ("clean", [])
    # And each of them is looked at.
    for place, type_ in enumerate(COLUMNS):
        if "NOT NULL" not in type_:
            await run_sql(url, f"UPDATE t SET c{place} = NULL WHERE id = 0")
    found = await verifier(clickhouse, url).verify(table.stored)
    (only,) = await differences(clickhouse, found)
    assert set(only.columns) == {f"c{place}" for place, type_ in enumerate(COLUMNS) if "NOT NULL" not in type_}


def _names(found: Sequence[Difference]) -> set[str]:
    return {each.key[0] for each in found}


async def test_neighbouring_values_are_not_taken_for_each_other(clickhouse: ClickHouse, url: str) -> None:
    await run_sql(
        url,
        "CREATE TABLE t (id int PRIMARY KEY, a text, b text)",
        "INSERT INTO t VALUES (1, 'V1:x', ''), (2, NULL, 'N')",
    )
    table = await make_mirror(clickhouse, url, "t")
    await plant(clickhouse, table, "id = 1", "'' AS a, 'V1:x' AS b")
    await plant(clickhouse, table, "id = 2", "'N' AS a, NULL AS b")
    found = await verifier(clickhouse, url).verify(table.stored)
    assert _names(await differences(clickhouse, found)) == {"1", "2"}


async def test_a_table_without_a_key_is_compared_as_a_multiset(clickhouse: ClickHouse, url: str) -> None:
    await run_sql(
        url,
        "CREATE TABLE t (a int, b text)",
        "ALTER TABLE t REPLICA IDENTITY FULL",
        "INSERT INTO t SELECT g % 7, 'x' FROM generate_series(1, 50) AS g",
        "INSERT INTO t VALUES (NULL, NULL), (NULL, NULL)",
    )
    table = await make_mirror(clickhouse, url, "t")
    found = await verifier(clickhouse, url).verify(table.stored)
    assert (found.state, found.rows) == ("clean", 52)
    await run_sql(url, "DELETE FROM t WHERE ctid = (SELECT min(ctid) FROM t)")
    found = await verifier(clickhouse, url).verify(table.stored)
    assert (found.state, found.extra) == ("different", 1)


async def test_a_partitioned_table(clickhouse: ClickHouse, url: str) -> None:
    await run_sql(
        url,
        "CREATE TABLE t (id int PRIMARY KEY, n int) PARTITION BY RANGE (id)",
        "CREATE TABLE t_a PARTITION OF t FOR VALUES FROM (0) TO (30)",
        "CREATE TABLE t_b PARTITION OF t FOR VALUES FROM (30) TO (100)",
        "INSERT INTO t SELECT g, g FROM generate_series(1, 60) AS g",
    )
    table = await make_mirror(clickhouse, url, "t")
    assert (await verifier(clickhouse, url).verify(table.stored)).state == "clean"
    await plant(clickhouse, table, "id = 30", "0 AS n")
    assert (await verifier(clickhouse, url).verify(table.stored)).changed == 1
