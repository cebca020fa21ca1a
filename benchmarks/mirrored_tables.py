"""The tables that the mirror's benchmarks write, and the transactions that write them.

`narrow` has six columns and about 92 bytes of values a row; `wide` has twenty, with numbers of any precision, JSON and
arrays. Everything is made inside PostgreSQL, so that writing costs the machine as little as it can.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from headrace.events.position import Position

TRANSACTION_ROWS = 1_000
MARKER = "this is the last row of all"

CREATE_NARROW = """
CREATE TABLE narrow (
    id bigint PRIMARY KEY,
    name text NOT NULL,
    note text,
    quantity integer NOT NULL,
    price double precision NOT NULL,
    sold_at timestamptz NOT NULL
)
"""
CREATE_WIDE = """
CREATE TABLE wide (
    id bigint PRIMARY KEY,
    account bigint NOT NULL,
    name text NOT NULL,
    email text,
    note text,
    kind varchar(20) NOT NULL,
    quantity integer NOT NULL,
    priority smallint NOT NULL,
    price numeric(18, 4) NOT NULL,
    tax numeric(12, 2),
    rate double precision,
    weight real,
    active boolean NOT NULL,
    reference uuid NOT NULL,
    due date,
    created_at timestamptz NOT NULL,
    updated_at timestamp NOT NULL,
    tags text[] NOT NULL,
    scores integer[] NOT NULL,
    details jsonb NOT NULL
)
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What is written into one table: `prepare` before anything is measured, each of `transactions` on its own, and
    `marker`, a transaction of one row with the text `MARKER`. `changes` is how many rows the transactions touch.
    """

    table: str
    prepare: Sequence[str]
    transactions: Sequence[str]
    marker: str
    changes: int


def insert_narrow(begin: int, end: int) -> str:
    """Rows `begin` up to and without `end`."""
    return (
        "INSERT INTO narrow SELECT n, 'customer-' || n % 1000, 'a note of some length ' || n, n % 100, n * 0.25, "
        f"timestamptz '2026-01-01Z' + n * interval '1 second' FROM generate_series({begin}, {end - 1}) AS n"
    )


def insert_wide(begin: int, end: int) -> str:
    """Rows `begin` up to and without `end`."""
    return (
        "INSERT INTO wide SELECT n, n % 1000, 'customer ' || n, 'customer' || n || '@example.org', "
        "'a note of some length, which stays as it is', 'kind-' || n % 7, n % 100, n % 5, n * 0.0125, n * 0.01, "
        "n * 0.5, n * 0.25, n % 2 = 0, md5(n::text)::uuid, date '2026-01-01' + (n % 365)::integer, "
        "timestamptz '2026-01-01Z' + n * interval '1 second', timestamp '2026-01-01' + n * interval '1 second', "
        "ARRAY['red', 'tag ' || n % 10], ARRAY[n % 3, n % 5, n % 7], "
        "jsonb_build_object('source', 'shop', 'visits', n % 50, 'address', jsonb_build_object('city', 'Bern')) "
        f"FROM generate_series({begin}, {end - 1}) AS n"
    )


def narrow_inserts(rows: int) -> Load:
    """Inserted rows, a thousand in each transaction."""
    steps = range(0, rows, TRANSACTION_ROWS)
    return Load(
        table="narrow",
        prepare=[CREATE_NARROW],
        transactions=[insert_narrow(begin, min(begin + TRANSACTION_ROWS, rows)) for begin in steps],
        marker=f"INSERT INTO narrow VALUES (-1, 'marker', '{MARKER}', 0, 0, now())",
        changes=rows,
    )


def narrow_rows(rows: int) -> Load:
    """Rows that stand before their table is mirrored. VACUUM marks them visible, which the first reader would do."""
    load = narrow_inserts(0)
    prepare = [CREATE_NARROW, insert_narrow(0, rows), "VACUUM ANALYZE narrow"]
    return Load(load.table, prepare, [], load.marker, 0)


def one_transaction(rows: int) -> Load:
    """All the same rows inserted in one transaction."""
    load = narrow_inserts(0)
    return Load(load.table, load.prepare, [insert_narrow(0, rows)], load.marker, rows)


def wide_changes(changes: int) -> Load:
    """A thousand changes in each transaction: 500 rows updated, 200 deleted, 300 inserted. A row that is updated at
    all is updated twice.
    """
    count = changes // TRANSACTION_ROWS
    updated = max(500, count * 500 // 2)
    first_new = updated + count * 200
    transactions = []
    for number in range(count):
        begin = number * 500 % updated
        delete = updated + number * 200
        insert = first_new + number * 300
        transactions.append(
            "UPDATE wide SET quantity = quantity + 1, price = price * 1.01, active = NOT active, "
            "updated_at = updated_at + interval '1 hour', tags = ARRAY['sold'], "
            "details = details || jsonb_build_object('visits', quantity) "
            f"WHERE id >= {begin} AND id < {begin + 500}; "
            f"DELETE FROM wide WHERE id >= {delete} AND id < {delete + 200}; {insert_wide(insert, insert + 300)}"
        )
    return Load(
        table="wide",
        prepare=[CREATE_WIDE, insert_wide(0, first_new), "VACUUM ANALYZE wide"],
        transactions=transactions,
        marker=f"UPDATE wide SET note = '{MARKER}' WHERE id = 0",
        changes=count * TRANSACTION_ROWS,
    )


async def prepare(url: str, load: Load) -> None:
    """Make the table and the rows that stand before anything is measured."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        for statement in load.prepare:
            await connection.execute(statement.encode())


async def write(url: str, load: Load) -> Position:
    """Commit every transaction, durably, then the marker; a position that only the marker's transaction passes."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        for transaction in load.transactions:
            await connection.execute(transaction.encode())
        async with connection.transaction():
            await connection.execute(load.marker.encode())
            # The record of the commit, whose place is the transaction's, is written next, here or further on.
            cursor = await connection.execute("SELECT pg_current_wal_insert_lsn() - '0/0'")
            row = await cursor.fetchone()
    assert row is not None
    return Position(int(row[0]), 0)
