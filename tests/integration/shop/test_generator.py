"""The generator of examples/shop against a real PostgreSQL: it sells, migrates, goes on, and repeats itself."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from itertools import islice
from pathlib import Path
from random import Random
from threading import Event
from typing import Any

import psycopg

NewDatabase = Callable[[], Awaitable[str]]

ORDERS = "SELECT order_id, customer_id, status::text, total, coupons FROM shop.orders ORDER BY order_id"
LINES = "SELECT order_id, line_number, sku, quantity, unit_price FROM shop.order_lines ORDER BY 1, 2"


async def run(generator: Any, url: str, **options: Any) -> Any:
    return await asyncio.to_thread(generator.generate, url, say=str, **options)


async def rows(url: str, sql: str) -> list[tuple[Any, ...]]:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        return await (await connection.execute(sql.encode())).fetchall()


async def counts(url: str) -> dict[str, int]:
    """Rows of each table of the shop; of a partitioned one as a whole."""
    tables = await rows(
        url,
        "SELECT relname FROM pg_class WHERE relnamespace = 'shop'::regnamespace"
        " AND relkind IN ('r', 'p') AND NOT relispartition",
    )
    return {table: (await rows(url, f"SELECT count(*) FROM shop.{table}"))[0][0] for (table,) in tables}


async def test_it_fills_every_table_migrates_and_goes_on(generator: Any, new_database: NewDatabase) -> None:
    url = await new_database()
    first = await run(generator, url, seconds=2, rate=0, seed=1, migrate=True)
    assert first.migrations == [step.name for step in generator.FORWARD]
    assert first.transactions > 0
    assert "transactions in" in str(first)
    with psycopg.connect(url) as connection:
        columns = generator.read_schema(connection)
    assert columns["products.stock"] == "int8"
    assert {"order_status.returned", "baskets.items", "orders.customer_note", "orders.channel"} <= columns.keys()
    assert not {"carts.items", "orders.note", "products.legacy_code"} & columns.keys()
    before = await counts(url)
    # TRUNCATE may have been last, and reviews come only after their table; the others are never empty.
    assert all(count > 0 for table, count in before.items() if table not in ("baskets", "reviews")), before

    second = await run(generator, url, seconds=2, rate=0, seed=1, migrate=True)
    assert second.migrations[0] == "rename table baskets to carts"
    assert len(second.migrations) == len(first.migrations)
    assert not {"widen products.stock to bigint", "create table reviews"} & set(second.migrations)
    after = await counts(url)
    assert after["orders"] > before["orders"]
    assert after["reviews"] > before["reviews"]
    assert sum(after.values()) > sum(before.values())


async def test_every_action_finds_something_to_do(generator: Any, new_database: NewDatabase) -> None:
    url = await new_database()
    await run(generator, url, seconds=0.5, rate=0, migrate=True)
    did = dict.fromkeys(generator.ACTIONS, False)
    with psycopg.connect(url, autocommit=True) as connection:
        shop = generator.Shop(connection, Random(1), generator.read_schema(connection))
        for action in [*generator.ACTIONS] * 20:
            with connection.transaction():
                did[action] |= action(shop)
    assert [action.__name__ for action, done in did.items() if not done] == ["abandon_checkout"]


async def test_same_seed_does_the_same(generator: Any, new_database: NewDatabase) -> None:
    assert list(islice(generator.sequence(5), 500)) == list(islice(generator.sequence(5), 500))
    assert list(islice(generator.sequence(5), 500)) != list(islice(generator.sequence(6), 500))
    urls = [await new_database() for _ in range(2)]
    first, second = [await run(generator, url, seconds=0, rate=0, seed=5, transactions=400) for url in urls]
    assert (first.done, first.rolled_back, first.idle) == (second.done, second.rolled_back, second.idle)
    for sql in (ORDERS, LINES):
        assert await rows(urls[0], sql) == await rows(urls[1], sql)


async def test_what_was_rolled_back_is_not_there(generator: Any, new_database: NewDatabase) -> None:
    url = await new_database()
    summary = await run(generator, url, seconds=0, rate=0, seed=2, transactions=600)
    assert summary.rolled_back.keys() == {"abandon_checkout"}
    assert summary.done["place_order_with_refused_coupon"] > 0
    assert await rows(url, "SELECT order_id FROM shop.orders WHERE coupons <> '{}'") == []
    wrong = await rows(
        url,
        "SELECT order_id FROM shop.orders JOIN shop.order_lines USING (order_id)"
        " GROUP BY order_id HAVING sum(amount) <> total",
    )
    assert wrong == []


async def test_a_set_event_stops_it_before_the_next_transaction(generator: Any, new_database: NewDatabase) -> None:
    stop = Event()
    stop.set()
    assert (await run(generator, await new_database(), seconds=0, stop=stop)).transactions == 0


async def test_ctrl_c_ends_it_with_a_summary(shop: Path, new_database: NewDatabase) -> None:
    command = (sys.executable, "-u", str(shop / "generator.py"), "--url", await new_database(), "--seconds", "0")
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, env=os.environ)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"The shop is made.\n"
    process.send_signal(signal.SIGINT)
    rest, _ = await process.communicate()
    assert process.returncode == 0
    assert b"transactions in" in rest
