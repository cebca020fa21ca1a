"""What the catalog says of tables of every kind, and which tables a pattern names."""

from __future__ import annotations

import pytest
from support.capture_side import Database

from headrace.capture.source_tables import SourceColumn, SourceTable, describe_table, find_tables
from headrace.errors import InvalidConfiguration


async def described(database: Database, name: str) -> SourceTable:
    (table,) = await find_tables(database.url, [name])
    return table


async def columns(database: Database, name: str) -> dict[str, SourceColumn]:
    return {column.name: column for column in (await described(database, name)).columns}


async def test_types_are_resolved_through_domains_and_arrays(database: Database) -> None:
    await database.run(
        """
        CREATE TYPE mood AS ENUM ('low', 'high');
        CREATE TYPE pair AS (a int, b text);
        CREATE DOMAIN price AS numeric(10, 2) NOT NULL;
        CREATE DOMAIN good_price AS price CHECK (VALUE > 0);
        CREATE DOMAIN prices AS good_price[];
        CREATE TABLE kinds (
            id bigint PRIMARY KEY, amount good_price, mood mood, pair pair, days daterange, ranges int4multirange,
            tags text[], moods mood[], history prices, places point, boxes box[], code varchar(3), spread int2vector
        );
        """
    )
    found = await columns(database, "public.kinds")

    assert {name: column.type.kind for name, column in found.items()} == {
        "id": "base",
        "amount": "base",
        "mood": "enum",
        "pair": "composite",
        "days": "range",
        "ranges": "multirange",
        "tags": "array",
        "moods": "array",
        "history": "array",
        "places": "base",
        "boxes": "array",
        "code": "base",
        "spread": "base",
    }
    amount = found["amount"]
    assert (amount.type.name, amount.type.typmod, amount.typmod) == ("numeric", (10 << 16 | 2) + 4, -1)
    assert amount.oid != amount.type.oid
    assert (found["mood"].type.schema, found["mood"].type.name) == ("public", "mood")
    elements = {name: column.type.element for name, column in found.items() if column.type.element}
    assert (elements["tags"].name, elements["moods"].kind, elements["moods"].name) == ("text", "enum", "mood")
    assert (elements["history"].name, elements["history"].typmod) == ("numeric", (10 << 16 | 2) + 4)
    assert elements["boxes"].delimiter == ";"
    assert found["code"].type.typmod == 7


async def test_dropped_and_generated_columns_are_left_out_and_numbers_stay(database: Database) -> None:
    await database.run(
        "CREATE TABLE t (id int PRIMARY KEY, gone text, doubled int GENERATED ALWAYS AS (id * 2) STORED, kept text);"
        "ALTER TABLE t DROP COLUMN gone; ALTER TABLE t RENAME COLUMN kept TO renamed"
    )
    assert {name: column.attnum for name, column in (await columns(database, "public.t")).items()} == {
        "id": 1,
        "renamed": 4,
    }


async def test_what_older_rows_have_in_a_new_column_is_told_as_text(database: Database) -> None:
    await database.run("CREATE TABLE t (id int PRIMARY KEY)")
    await database.run("INSERT INTO t VALUES (1)")
    added = {
        "a_text": ("text", "it''s, \"so\" {x} \\"),
        "numbers": ("int[]", "{1,2}"),
        "at": ("timestamptz", "2024-01-02 03:04:05+05"),
        "area": ("box", "(1,1),(0,0)"),
        "raw": ("bytea", "\\x00ff"),
        "plain": ("int", None),
    }
    for name, (type_name, default) in added.items():
        clause = "" if default is None else f" DEFAULT '{default}'"
        await database.run(f"ALTER TABLE t ADD COLUMN {name} {type_name}{clause}")

    missing = {name: column.missing for name, column in (await columns(database, "public.t")).items()}

    assert missing == {
        "id": None,
        "a_text": 'it\'s, "so" {x} \\',
        "numbers": "{1,2}",
        "at": "2024-01-01 22:04:05+00",
        "area": "(1,1),(0,0)",
        "raw": "\\x00ff",
        "plain": None,
    }


async def test_the_key_is_that_of_the_replica_identity_in_index_order(database: Database) -> None:
    await database.run(
        """
        CREATE TABLE by_key (b int, a int, c int, PRIMARY KEY (a, b) INCLUDE (c));
        CREATE TABLE by_index (id int PRIMARY KEY, z int NOT NULL, y int NOT NULL);
        CREATE UNIQUE INDEX by_index_zy ON by_index (z, y);
        ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_zy;
        CREATE TABLE whole (id int PRIMARY KEY, x int);
        ALTER TABLE whole REPLICA IDENTITY FULL;
        CREATE TABLE nothing (id int PRIMARY KEY);
        ALTER TABLE nothing REPLICA IDENTITY NOTHING;
        CREATE TABLE keyless (id int);
        CREATE TABLE deferred (id int PRIMARY KEY DEFERRABLE);
        """
    )
    tables = {table.name: table for table in await find_tables(database.url, ["public.*"])}
    found = {name: (table.identity, table.key, table.primary_key) for name, table in tables.items()}

    assert found == {
        "by_key": ("d", ("a", "b"), ("a", "b")),
        "by_index": ("i", ("z", "y"), ("id",)),
        "whole": ("f", (), ("id",)),
        "nothing": ("n", (), ("id",)),
        "keyless": ("d", (), ()),
        "deferred": ("d", (), ()),
        "events": ("d", (), ()),
    }
    assert [(c.name, c.key, c.not_null) for c in tables["by_key"].columns] == [
        ("b", True, True),
        ("a", True, True),
        ("c", False, False),
    ]


async def test_a_partitioned_table_has_its_leaves_and_covers_them(database: Database) -> None:
    await database.run(
        """
        CREATE TABLE sales (id int, region text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
        CREATE TABLE sales_north PARTITION OF sales FOR VALUES IN ('n');
        CREATE TABLE sales_rest PARTITION OF sales DEFAULT PARTITION BY RANGE (id);
        CREATE TABLE sales_low PARTITION OF sales_rest FOR VALUES FROM (0) TO (1000);
        INSERT INTO sales SELECT n, 'n' FROM generate_series(1, 1000) n;
        INSERT INTO sales VALUES (1, 's');
        ANALYZE sales;
        """
    )
    table = await described(database, "public.sales*")
    assert (table.name, table.kind, table.key) == ("sales", "p", ("id", "region"))
    assert [leaf.full_name for leaf in table.partitions] == ["public.sales_low", "public.sales_north"]
    assert table.leaves[1].rows_estimate == 1000
    assert table.pages == table.leaves[0].pages + table.leaves[1].pages > 2
    assert [leaf.key for leaf in table.leaves] == [("id", "region")] * 2

    await database.run("VACUUM FULL sales_low")
    again = await describe_table(database.url, table.oid)
    assert again is not None
    assert again.filenode != table.filenode
    assert again.leaves[1].filenode == table.leaves[1].filenode

    with pytest.raises(InvalidConfiguration, match=r"partition of public\.sales") as caught:
        await find_tables(database.url, ["public.sales_low"])
    assert "Mirror public.sales" in caught.value.hint


async def test_patterns_leave_out_what_cannot_be_mirrored_and_names_are_refused(database: Database) -> None:
    await database.run(
        """
        CREATE SCHEMA "odd.one";
        CREATE TABLE "odd.one"."My table" (id int PRIMARY KEY);
        CREATE SCHEMA headrace;
        CREATE TABLE headrace.secret (id int);
        CREATE VIEW public.seen AS SELECT 1 AS one;
        CREATE UNLOGGED TABLE public.fleeting (id int);
        CREATE TABLE public.orders (id int);
        """
    )

    async def names(*patterns: str, exclude: tuple[str, ...] = ()) -> list[str]:
        return [table.full_name for table in await find_tables(database.url, patterns, exclude=exclude)]

    assert await names("*.*") == ["odd.one.My table", "public.events", "public.orders"]
    assert await names("odd.one.My table") == ["odd.one.My table"]
    assert await names("public.*", exclude=("public.ev*",)) == ["public.orders"]
    assert await names("public.o*", "public.orders") == ["public.orders"]
    assert await names("elsewhere.*") == []
    for name, reason in {
        "public.seen": "a view",
        "public.fleeting": "unlogged",
        "public.none": "no table",
        "pg_catalog.pg_class": "no table",
        "headrace.secret": "no table",
        "orders": "Not a name",
    }.items():
        with pytest.raises(InvalidConfiguration, match=reason):
            await names(name)


async def test_a_dropped_table_has_no_description(database: Database) -> None:
    table = await described(database, "public.events")
    assert await describe_table(database.url, table.oid) == table
    await database.run("DROP TABLE events")
    assert await describe_table(database.url, table.oid) is None
