"""Tables without a key that are only appended to are mirrored by their user's word, and may still be updated."""

from __future__ import annotations

from support.mirror_side import mirror_side
from support.waiting import until

from headrace.embedded.clickhouse.process import EmbeddedClickHouse
from headrace.embedded.postgres import EmbeddedPostgres
from headrace.warehouse.mirrors import READY

WORD = '\n[mirror.table."public.log"]\nappend_only = true\n'


async def test_an_appended_table_is_followed_by_a_slot_that_is_older_than_its_publication(
    postgres_server: EmbeddedPostgres, clickhouse_server: EmbeddedClickHouse, migrated: str
) -> None:
    """PostgreSQL looks a publication up as it was at each change, so a slot is read with a new one from later on."""
    tables = ["public.keyed", "public.log"]
    async with mirror_side(postgres_server.url, clickhouse_server.url, migrated, tables) as side:
        await side.run("CREATE TABLE keyed (id int PRIMARY KEY); CREATE TABLE log (line text, n int)")
        await side.run("INSERT INTO log SELECT 'old', g FROM generate_series(1, 9) g")
        side.start()

        async def keyed_is_ready() -> bool:
            states = await side.mirrored.states()
            return "public.keyed" in states and states["public.keyed"].state == READY

        await until(keyed_is_ready)
        await side.stop()
        project = side.root / "headrace.toml"
        project.write_text(project.read_text() + WORD)
        side.start()
        await side.mirrored.wait_until_ready()
        await side.run("INSERT INTO log VALUES ('new', 1), ('new', 1), (NULL, NULL); INSERT INTO keyed VALUES (2)")
        await side.assert_whole(from_empty=False)
        await side.stop()
        await side.run("INSERT INTO log VALUES ('while it was away', 1)")
        side.start()
        await side.assert_whole(from_empty=False)
        await side.run("UPDATE log SET n = 0 WHERE n = 9")  # PostgreSQL still allows it

        await side.stop()
        await side.run(f"DROP PUBLICATION {side.slot}_appends")
        await side.run("INSERT INTO log VALUES ('in no publication', 1)")
        side.start()
        await side.mirrored.wait_until_quarantined("public.log")
