"""A worker with both: tables that are mirrored, and streaming SQL over them."""

from __future__ import annotations

import pytest
from support.mirror_side import mirror_side
from support.waiting import until

from headrace.embedded.clickhouse.process import EmbeddedClickHouse
from headrace.embedded.postgres import EmbeddedPostgres
from headrace.errors import InvalidSQL
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.mirrors import MirrorRequest, write_request

TOTALS = (
    "CREATE TABLE totals AS SELECT status, COUNT(*) AS orders, SUM(total) AS amount, MAX(total) AS highest "
    "FROM t WHERE status != 'cancelled' GROUP BY status;"
)
SAME = (
    "SELECT status, count() AS orders, sum(total) AS amount, max(total) AS highest "
    "FROM t WHERE status != 'cancelled' GROUP BY status ORDER BY status"
)


async def become_equal(clickhouse: ClickHouse) -> None:
    """Wait until the read model is what its SELECT is."""

    async def equal() -> bool:
        try:
            model = await clickhouse.rows("SELECT status, orders, amount, highest FROM totals ORDER BY status")
            return bool(model) and list(model) == list(await clickhouse.rows(SAME))
        except InvalidSQL:  # not made yet
            return False

    await until(equal)


@pytest.mark.parametrize("there_before", [True, False])
async def test_a_table_over_a_mirrored_one_follows_it(
    postgres_server: EmbeddedPostgres, clickhouse_server: EmbeddedClickHouse, migrated: str, there_before: bool
) -> None:
    """Also when the application makes its table after the worker was started."""
    make = "CREATE TABLE t (id int PRIMARY KEY, status text NOT NULL, total numeric(12, 2) NOT NULL)"
    async with mirror_side(postgres_server.url, clickhouse_server.url, migrated, ["public.t"]) as side:
        (side.root / "streams").mkdir(exist_ok=True)
        (side.root / "streams" / "totals.sql").write_text(TOTALS)
        if there_before:
            await side.run(make)
        side.start()
        if not there_before:
            await side.run("SELECT 1")
            await side.run(make)
        await side.mirrored.wait_until_ready()
        await side.run(
            "INSERT INTO t SELECT g, CASE g % 3 WHEN 0 THEN 'paid' ELSE 'open' END, g FROM generate_series(1, 90) AS g"
        )
        await become_equal(side.clickhouse)
        await side.run("UPDATE t SET status = 'cancelled' WHERE id > 80; DELETE FROM t WHERE id < 10")
        await side.run("UPDATE t SET total = total + 0.01, id = id + 1000")
        await side.assert_whole()
        await become_equal(side.clickhouse)
        await write_request(side.clickhouse, side.mirrored.source, MirrorRequest("public.t", "resync"))
        await side.run("UPDATE t SET status = 'paid' WHERE status = 'open'")
        await become_equal(side.clickhouse)
