"""The whole way on each version of PostgreSQL that is not embedded, as a role that is no superuser; on two by TLS."""

from __future__ import annotations

import asyncio

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from support.fault_domain import Deposited
from support.mirror_side import MirrorSide, mirror_side
from support.postgres_versions import certificate, server_of

from headrace.capture.obstacles import find_obstacles
from headrace.capture.publication import publish
from headrace.capture.server import check_server
from headrace.capture.source_tables import find_tables
from headrace.embedded.clickhouse.process import EmbeddedClickHouse
from headrace.embedded.postgres import EmbeddedPostgres
from headrace.errors import InvalidConfiguration
from headrace.event_store.event_store import EventStore

TABLES = ["public.orders", "public.readings"]
# Documents of more than 16 KiB: from 17 on these fill records of TLS that libpq does not read at once.
MADE = """
CREATE TABLE orders (id int PRIMARY KEY, amount numeric(12,2), at timestamptz DEFAULT now(), tags text[], doc text);
CREATE TABLE readings (day date, place int, value float8, PRIMARY KEY (day, place)) PARTITION BY RANGE (day);
CREATE TABLE readings_old PARTITION OF readings FOR VALUES FROM (MINVALUE) TO ('2026-01-01');
CREATE TABLE readings_new PARTITION OF readings FOR VALUES FROM ('2026-01-01') TO (MAXVALUE);
INSERT INTO orders SELECT g, g / 7.0, now(), ARRAY['a', NULL, g::text] FROM generate_series(1, 3000) g;
UPDATE orders SET doc = (SELECT string_agg(md5((id * h)::text), '') FROM generate_series(1, 800) h) WHERE id % 100 = 0;
INSERT INTO readings SELECT date '2025-12-01' + g, g % 5, g / 3.0 FROM generate_series(1, 60) g;
"""
CHANGED = """
INSERT INTO orders SELECT g, g / 7.0, now(), '{}', repeat('long ', 5000) FROM generate_series(3001, 3100) g;
UPDATE orders SET amount = -1 WHERE id % 50 = 0;
UPDATE orders SET id = id + 10000 WHERE id % 77 = 0;
DELETE FROM orders WHERE id % 13 = 0;
ALTER TABLE orders ADD COLUMN state text NOT NULL DEFAULT 'open';
UPDATE orders SET state = 'paid', doc = 'short' WHERE id % 100 = 0;
"""
EMPTIED = """
TRUNCATE readings;
INSERT INTO readings VALUES ('2025-02-01', 1, 1.5), ('2026-02-02', 1, 2.5);
UPDATE readings SET day = day + 365 WHERE value = 1.5;
"""


async def make_role(server: EmbeddedPostgres) -> str:
    """The address of the server as a role of few rights sees it, with an empty event store in a database of its own."""
    async with await psycopg.AsyncConnection.connect(server.url, autocommit=True) as connection:
        await connection.execute("CREATE ROLE app LOGIN REPLICATION CREATEDB PASSWORD 'secret'")
        await connection.execute("CREATE DATABASE migrated OWNER app")
    url = make_conninfo(server.url, user="app", password="secret", sslmode="disable")
    async with EventStore(make_conninfo(url, dbname="migrated")):
        return url


async def go_the_way(side: MirrorSide, version: int) -> None:
    for statement in MADE.strip().split(";\n"):
        await side.run(statement)
    if version >= 18:
        await side.run("ALTER TABLE orders ADD COLUMN twice numeric GENERATED ALWAYS AS (amount * 2) VIRTUAL")
    side.start()
    await side.mirrored.wait_until_ready()
    async with EventStore(side.url) as store:
        await store.append("account-1", [Deposited(account="1", amount=n, note="") for n in range(3)])
    await side.run(CHANGED)
    await side.run(EMPTIED)
    await side.assert_whole(from_empty=False)
    assert await side.clickhouse.rows(f"SELECT count() FROM `{side.clickhouse.database}`.events") == [(3,)]
    ((failover,),) = await side.run(
        "SELECT (to_jsonb(s) ->> 'failover')::bool FROM pg_replication_slots s WHERE slot_name = %s", side.slot
    )
    assert failover is (True if version >= 17 else None)


async def choose_rows(side: MirrorSide, version: int) -> None:
    """Before 15 a publication has no condition for rows."""
    (orders,) = await find_tables(side.url, ["public.orders"])
    obstacles = await find_obstacles(side.url, [orders], side.slot, filtered=[orders.oid])
    assert [each.hint for each in obstacles] == (["Take `where` out."] if version < 15 else [])
    if not obstacles:
        await publish(side.url, side.slot, [orders.oid], where="id > 0")


async def publish_at_the_same_time(side: MirrorSide, version: int) -> None:
    """A publication of a server before 18 has no generated columns after an upgrade: whoever comes first adds them."""
    if version >= 18:
        await side.run(f"ALTER PUBLICATION {side.slot} SET (publish_generated_columns = none)")
    found = await find_tables(side.url, ["public.orders", "public.readings"])
    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            for table in found:
                group.create_task(publish(side.url, side.slot, [table.oid], appends=table.name == "readings"))


async def lose_the_publication(side: MirrorSide) -> None:
    """From 18 on the server goes on without it, and leaves the changes out with no more than a warning."""
    await side.run(f"DROP PUBLICATION {side.slot}")
    await side.run("INSERT INTO readings VALUES ('2026-03-01', 1, 1)")
    with pytest.raises(InvalidConfiguration, match="does not exist any more"):
        await side.ended()


@pytest.mark.parametrize("version", ["14", "15", "17", "18"])
async def test_a_mirror_and_the_event_store_work(version: str, clickhouse_server: EmbeddedClickHouse) -> None:
    async with server_of(version) as server:
        url = await make_role(server)
        if version in ("15", "18"):
            url = make_conninfo(url, sslmode="verify-full")
            with pytest.raises(InvalidConfiguration, match="does not let us in"):
                await check_server(url)
            url = make_conninfo(url, sslrootcert=str(certificate(server)))
        async with mirror_side(url, clickhouse_server.url, "migrated", TABLES) as side:
            await go_the_way(side, int(version))
            await publish_at_the_same_time(side, int(version))
            await choose_rows(side, int(version))
            await lose_the_publication(side)
