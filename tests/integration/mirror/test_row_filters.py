"""Of a table with a condition, exactly those rows are mirrored that meet it, also when they begin or cease to."""

from __future__ import annotations

import psycopg
from support.mirror_proof import log_end
from support.mirror_side import MirrorSide
from support.waiting import until

from headrace.mirror.shape import Shape
from headrace.mirror.verify import Verifier
from headrace.warehouse.mirrors import PAUSED, read_mirrors

CHOSEN = "tenant IN (1) AND NOT (id > 8999 OR id BETWEEN 500 AND 700)"
MADE = """
CREATE TABLE t (tenant int, id int, "100%" text, PRIMARY KEY (tenant, id));
INSERT INTO t SELECT g % 3, g, 'copied' FROM generate_series(1, 3000) g;
"""


def choose(side: MirrorSide, where: str) -> None:
    """Set the condition in headrace.toml, which a worker reads when it starts."""
    project = side.root / "headrace.toml"
    kept = project.read_text().split('\n[mirror.table."public.t"]')[0]
    project.write_text(f'{kept}\n[mirror.table."public.t"]\nwhere = """{where}"""\n')


async def is_chosen_by(side: MirrorSide, where: str) -> bool:
    """Whether the worker goes by this condition by now."""
    return Shape.from_json((await side.mirrored.states())["public.t"].shape).where == where


async def assert_chosen(side: MirrorSide, where: str) -> None:
    """The mirror has the rows of the table that meet the condition, and a comparison says so too."""
    await until(lambda: is_chosen_by(side, where))
    await side.mirrored.wait()
    there = await side.run(f'SELECT tenant, id, "100%" FROM t WHERE {where or "true"}\n ORDER BY 1, 2')
    here = await side.clickhouse.rows("SELECT tenant, id, `100%` FROM t ORDER BY 1, 2")
    assert [tuple(row) for row in here] == there
    states = await side.mirrored.states()
    verifier = Verifier(clickhouse=side.clickhouse, source=side.mirrored.source, postgres_url=side.url)
    found = await verifier.verify(states["public.t"])
    assert (found.state, found.rows) == ("clean", len(there))


async def test_rows_come_and_go_as_they_meet_the_condition(side: MirrorSide) -> None:
    await side.run(MADE)
    choose(side, CHOSEN)
    side.start()
    await side.mirrored.wait_until_ready()
    await assert_chosen(side, CHOSEN)
    await side.run("INSERT INTO t VALUES (1, 8999, 'chosen'), (1, 600, 'not'), (2, 9000, 'not')")
    await side.run(
        "UPDATE t SET tenant = 1 WHERE tenant = 0 AND id < 300; UPDATE t SET tenant = 5 WHERE id BETWEEN 2900 AND 3000"
    )
    await side.run("""UPDATE t SET "100%" = 'changed' WHERE id BETWEEN 300 AND 600; DELETE FROM t WHERE id % 7 = 0""")
    await assert_chosen(side, CHOSEN)
    told = await side.clickhouse.rows("SELECT _operation, count() FROM t_changes WHERE _sign = 1 GROUP BY 1 ORDER BY 1")
    assert [name for name, _ in told] == ["insert", "update_after"]

    await side.stop()
    choose(side, "tenant <> 1")  # what is mirrored already is copied anew
    await side.run("INSERT INTO t VALUES (1, 10000, 'not any more'), (2, 10000, 'now')")
    side.start()
    await assert_chosen(side, "tenant <> 1")
    await side.stop()
    choose(side, "")
    side.start()
    await assert_chosen(side, "")


async def test_a_paused_table_stays_so_when_its_condition_changes(side: MirrorSide) -> None:
    await side.run(MADE)
    choose(side, "tenant = 1")
    side.start()
    await side.mirrored.wait_until_ready()
    await side.mirrored.ask("pause", ["public.t"])
    await side.stop()
    choose(side, "tenant = 2")
    side.start()
    await until(lambda: is_chosen_by(side, "tenant = 2"))
    await side.run("INSERT INTO t VALUES (2, 9000, 'while it is paused')")
    assert (await side.mirrored.states())["public.t"].state == PAUSED
    await side.mirrored.ask("resume", ["public.t"])
    await assert_chosen(side, "tenant = 2")


async def test_a_row_that_comes_in_without_its_large_value_stops_the_table_instead_of_losing_it(
    side: MirrorSide,
) -> None:
    """The log has a large value that an update did not touch only when the replica identity is FULL."""
    await side.run(MADE + 'ALTER TABLE t ALTER "100%" SET STORAGE EXTERNAL')
    await side.run("INSERT INTO t VALUES (2, 9000, repeat('x', 9000)), (2, 9001, repeat('y', 9000))")
    choose(side, "tenant = 1")
    side.start()
    await side.mirrored.wait_until_ready()
    await side.run("UPDATE t SET tenant = 1 WHERE id = 9000")
    assert "REPLICA IDENTITY FULL" in await side.mirrored.wait_until_quarantined("public.t")
    await side.run("ALTER TABLE t REPLICA IDENTITY FULL")
    await side.mirrored.wait_until_ready(resync=True)
    await side.run("UPDATE t SET tenant = 1 WHERE id = 9001")
    await assert_chosen(side, "tenant = 1")


async def test_what_takes_the_condition_away_stops_the_table(side: MirrorSide) -> None:
    """PostgreSQL's own hint for dropping a column of the condition takes the table out of its publication."""
    await side.run(MADE)
    choose(side, "tenant = 1")
    side.start()
    await side.mirrored.wait_until_ready()
    await side.run("ALTER TABLE t DROP COLUMN tenant CASCADE")
    assert "without its condition" in await side.mirrored.wait_until_quarantined("public.t")


async def test_a_filtered_table_that_is_renamed_is_not_shown_whole(side: MirrorSide) -> None:
    await side.run(MADE)
    choose(side, "tenant = 1")
    side.start()
    await side.mirrored.wait_until_ready()
    await side.run("ALTER TABLE t RENAME TO u; INSERT INTO u VALUES (1, 9000, 'renamed'), (2, 9000, 'left out')")

    async def stored() -> str | None:
        mirrors = await read_mirrors(side.clickhouse, side.mirrored.source)
        return mirrors["u"].problem if "u" in mirrors else None

    async def renamed() -> bool:
        return await stored() is not None

    async def stopped() -> bool:
        return "says nothing of public.u" in (await stored() or "")

    await until(renamed)
    await side.stop()
    side.start()
    await until(stopped)
    assert await side.clickhouse.rows("SELECT count() FROM u WHERE tenant <> 1") == [(0,)]


async def test_a_row_that_comes_in_without_its_large_value_while_a_copy_begins_is_copied_with_it(
    side: MirrorSide,
) -> None:
    """A transaction that writes holds up the floor of the copy; changes that come by then are applied over it."""
    await side.run(MADE + 'ALTER TABLE t ALTER "100%" SET STORAGE EXTERNAL')
    await side.run("INSERT INTO t VALUES (1, 9000, repeat('x', 9000))")
    choose(side, "tenant = 1")
    side.start()
    await side.mirrored.wait_until_ready()
    async with await psycopg.AsyncConnection.connect(side.url) as holder:
        await holder.execute("CREATE TABLE holds_up ()")
        await side.mirrored.ask("resync", ["public.t"])

        async def begun() -> bool:
            return (await side.mirrored.states())["public.t"].generation == 2

        await until(begun)
        await side.run("UPDATE t SET tenant = 2 WHERE id = 9000; UPDATE t SET tenant = 1 WHERE id = 9000")
        await side.mirrored.wait_for(await log_end(side.url))
    await side.mirrored.wait_until_ready()
    await assert_chosen(side, "tenant = 1")
