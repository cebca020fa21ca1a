"""The queries of examples/shop give what PostgreSQL itself answers, on copies of the generator's own rows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from headrace.dashboards.definition import Dashboards, check_columns
from headrace.queries.catalog import Catalog
from headrace.queries.execute import Executor
from headrace.settings import Query as Limits
from headrace.streaming_sql.ast import Create
from headrace.streaming_sql.parser import parse
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.schema import create_schema
from headrace.warehouse.watermark import WatermarkReader

TABLES = Path(__file__).with_name("shop_tables.sql")
SHOP = Path(__file__).parents[3] / "examples" / "shop"
CATALOG = Catalog.load(SHOP / "queries")


@pytest.fixture
async def url(generator: Any, new_database: Callable[[], Awaitable[str]]) -> str:
    """A shop that has sold for a while."""
    made = await new_database()
    await asyncio.to_thread(generator.generate, made, seconds=0, rate=0, transactions=300, say=str)
    return made


@pytest.fixture
async def executor(clickhouse: ClickHouse, url: str) -> Executor:
    await create_schema(clickhouse)
    for statement in TABLES.read_text().split("\n;\n"):
        await clickhouse.execute(statement)
    copied = await clickhouse.rows(
        "SELECT table, groupArray(name) FROM (SELECT table, name FROM system.columns WHERE database = currentDatabase()"
        " AND startsWith(table, 'shop_') ORDER BY table, position) GROUP BY table"
    )
    async with await psycopg.AsyncConnection.connect(url) as connection:
        for table, columns in copied:
            await copy(connection, clickhouse, str(table), list(columns))
    watermarks = WatermarkReader(clickhouse=clickhouse, source="shop")
    return Executor(clickhouse=clickhouse, watermarks=watermarks, limits=Limits())


async def copy(
    connection: psycopg.AsyncConnection[Any], clickhouse: ClickHouse, table: str, columns: list[str]
) -> None:
    """The rows of one table, as PostgreSQL writes them."""
    names = ", ".join(columns)
    sql = f"COPY (SELECT {names} FROM shop.{table.removeprefix('shop_')}) TO STDOUT WITH (FORMAT csv, NULL '\\N')"
    async with connection.cursor() as cursor, cursor.copy(sql.encode()) as reading:
        text = b"".join([bytes(part) async for part in reading]).decode()
    await clickhouse.execute(
        f"INSERT INTO {table} ({names}) SETTINGS date_time_input_format = 'best_effort' FORMAT CSV\n{text}"
    )


async def test_every_query_answers(executor: Executor) -> None:
    for query in CATALOG:
        assert (await executor.answer(query, {})).rows > 0, query.name
        if "from" in {parameter.name for parameter in query.parameters}:
            nothing = await executor.answer(query, {"from": ["1990-01-01"], "to": ["1990-02-01"]})
            assert nothing.rows == 0, query.name


@pytest.mark.parametrize(
    ("name", "sql"),
    [
        (
            "revenue_per_day",
            "SELECT (placed_at AT TIME ZONE 'UTC')::date::text, count(*), sum(total)::float8 FROM shop.orders"
            " WHERE status <> 'cancelled' AND placed_at < now() GROUP BY 1 ORDER BY 1",
        ),
        (
            "orders_by_status",
            "SELECT status::text, count(*), sum(total)::float8 FROM shop.orders GROUP BY status ORDER BY 1",
        ),
        (
            "active_subscriptions",
            "SELECT plan, count(*), sum(monthly_price)::float8 FROM shop.subscriptions"
            " WHERE status IN ('active', 'past_due') GROUP BY plan ORDER BY plan",
        ),
        (
            "refunds_per_week",
            "SELECT date_trunc('week', placed_at, 'UTC')::date::text, sum(total)::float8,"
            " sum(coalesce(given, 0))::float8, round(100 * sum(coalesce(given, 0)) / sum(total), 2)::float8"
            " FROM shop.orders LEFT JOIN"
            " (SELECT order_id, sum(amount) AS given FROM shop.refunds GROUP BY 1) AS refunds USING (order_id)"
            " WHERE status <> 'cancelled' GROUP BY 1 ORDER BY 1",
        ),
        (
            "top_products",
            "SELECT sku, name, sum(quantity), sum(amount)::float8 FROM shop.order_lines"
            " JOIN shop.orders USING (order_id) JOIN shop.products USING (sku)"
            " WHERE status <> 'cancelled' GROUP BY 1, 2 ORDER BY 4 DESC, 1 LIMIT 10",
        ),
    ],
)
async def test_an_answer_is_the_one_that_postgres_gives(executor: Executor, url: str, name: str, sql: str) -> None:
    query = CATALOG.get(name)
    timed = "from" in {parameter.name for parameter in query.parameters}
    answer = await executor.answer(query, {"from": ["now - 90d"]} if timed else {})
    async with await psycopg.AsyncConnection.connect(url) as connection:
        expected = await (await connection.execute(sql.encode())).fetchall()
    assert [tuple(map(plain, record.values())) for record in answer.records()] == [tuple(row) for row in expected]


def plain(value: Any) -> Any:
    """Sums of Decimal come as text, with all their digits."""
    try:
        return pytest.approx(float(value))
    except ValueError:
        return value


async def test_the_dashboard_names_columns_that_exist(executor: Executor) -> None:
    dashboards = Dashboards.load(SHOP / "dashboards", CATALOG)
    await check_columns(dashboards, CATALOG, executor)
    assert len(dashboards) == 1


def test_the_streams_are_tables_over_mirrored_tables() -> None:
    statements = [each for path in (SHOP / "streams").glob("*.sql") for each in parse(path.read_text(), str(path))]
    sources = {each.query.source.name.text for each in statements if isinstance(each, Create)}
    assert sources == {"shop_orders", "shop_order_lines", "shop_refunds", "shop_subscriptions", "shop_stock_movements"}
