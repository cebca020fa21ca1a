"""What other ways of mirroring PostgreSQL got wrong: one test for each class of bugs, its story in the first lines.

A copy that dies in the middle is in tests/faults/test_mirror_converges.py, where everything is killed while tables are
copied. Not here: rows that were staged on a replica which lagged behind; there is one server.
"""

from __future__ import annotations

import pytest
from support.mirror_proof import log_end
from support.mirror_side import MirrorSide, mirror_side
from support.waiting import until

from headrace.embedded.clickhouse.process import EmbeddedClickHouse
from headrace.embedded.postgres import EmbeddedPostgres
from headrace.errors import Corrupt
from headrace.event_store.event_store import EventStore
from headrace.runtime.health import Health, read_health
from headrace.warehouse.dead_letters import read_dead_letters
from headrace.warehouse.mirrors import QUARANTINED, READY, MirrorRequest, read_requests, write_request

TABLE = "CREATE TABLE t (id int PRIMARY KEY, n int, doc text)"
LONG = "(SELECT string_agg(md5(g::text), '') FROM generate_series(1, 200) AS g)"


async def begin(side: MirrorSide, *statements: str) -> None:
    """Make the tables, and mirror them."""
    for statement in statements or (TABLE,):
        await side.run(statement)
    side.start()
    await side.mirrored.wait_until_ready()


async def request(side: MirrorSide, wish: str) -> None:
    await write_request(side.clickhouse, side.mirrored.source, MirrorRequest("public.t", wish))

    async def answered() -> bool:
        return not any(each.wish for each in await read_requests(side.clickhouse, side.mirrored.source))

    await until(answered)


@pytest.mark.parametrize("step", ["planned", "tables_loaded", "watermark_written"])
async def test_a_restart_skips_no_change_of_the_transaction_it_was_in(side: MirrorSide, step: str) -> None:
    """A position was the LSN alone. All rows of a transaction have one, so after a restart in its middle the others
    passed for loaded, and were gone without a word.
    """
    await begin(side)
    await side.stop()
    await side.run("BEGIN; INSERT INTO t SELECT g FROM generate_series(1, 50) g; UPDATE t SET n = id; COMMIT")
    await side.die_at(step)
    await side.run("INSERT INTO t VALUES (1000, 1, 'later')")
    side.start()
    await side.assert_whole()


async def test_a_slot_that_was_made_anew_is_no_continuation(side: MirrorSide) -> None:
    """A slot was lost, by a failover or by hand, and made again under its name. The old checkpoint was higher than the
    new one's begin and won, and the changes between the two were never missed by anybody.
    """
    await begin(side)
    await side.stop()
    await side.run("SELECT pg_drop_replication_slot(%s)", side.slot)
    await side.run("INSERT INTO t VALUES (1, 1, 'in no log any more')")
    side.start()
    with pytest.raises(Corrupt, match="headrace recover"):
        await side.ended()


async def test_nothing_is_confirmed_before_it_is_durable(side: MirrorSide) -> None:
    """Changes were confirmed to PostgreSQL when they had been received. A crash before they were written lost them."""
    await begin(side)
    await side.stop()
    await side.run("INSERT INTO t VALUES (1, 1, 'x')")
    end = await log_end(side.url)
    await side.die_at("tables_loaded")
    sql = "SELECT (confirmed_flush_lsn - '0/0')::bigint FROM pg_replication_slots WHERE slot_name = %s"
    assert (await side.run(sql, side.slot))[0][0] < end.lsn
    side.start()
    await side.assert_whole()


async def test_an_idle_table_does_not_keep_the_log_of_busy_ones(side: MirrorSide) -> None:
    """The slot was confirmed when a mirrored table changed, and only then. While others were written, and this one was
    not, the log grew until the disk was full.
    """
    await begin(side, TABLE, "CREATE TABLE other (id int)")
    await side.run("INSERT INTO other SELECT g FROM generate_series(1, 10000) AS g")
    end = await log_end(side.url)
    sql = "SELECT (confirmed_flush_lsn - '0/0')::bigint FROM pg_replication_slots WHERE slot_name = %s"

    async def confirmed() -> bool:
        return bool((await side.run(sql, side.slot))[0][0] >= end.lsn - 1)

    await until(confirmed)


async def test_values_that_are_left_out_are_not_blank(side: MirrorSide) -> None:
    """PostgreSQL leaves a long value out of an update that does not touch it. It became NULL: also when the row was
    inserted in the same batch, when only the copy had it whole, and when its key changed with it.
    """
    await begin(side, TABLE, f"INSERT INTO t VALUES (1, 1, {LONG})")
    await side.run("UPDATE t SET n = 2")
    await side.run(
        f"BEGIN; INSERT INTO t VALUES (2, 1, {LONG}); UPDATE t SET n = n + 1; UPDATE t SET id = id + 10; "
        "UPDATE t SET n = n + 1 WHERE id = 12; COMMIT"
    )
    await side.assert_whole(from_empty=False)


async def test_a_changed_key_leaves_no_ghost(side: MirrorSide) -> None:
    """An update of the key wrote the row under its new key, and left the one under the old key where it was."""
    await begin(side, TABLE, "INSERT INTO t SELECT g, g FROM generate_series(1, 20) AS g")
    await side.run("UPDATE t SET id = id + 100")
    await side.run("BEGIN; UPDATE t SET id = 1 WHERE id = 101; UPDATE t SET id = 101 WHERE id = 102; COMMIT")
    await side.assert_whole(from_empty=False)


async def test_a_row_that_is_deleted_and_inserted_again_is_there(side: MirrorSide) -> None:
    """Of a delete and an insert of one key with one time stamp the delete won, and the row was gone for good."""
    await begin(side, TABLE, "INSERT INTO t VALUES (1, 1, 'old'), (2, 1, 'old')")
    await side.run("BEGIN; DELETE FROM t; INSERT INTO t VALUES (1, 2, 'new'); COMMIT")
    await side.run("BEGIN; INSERT INTO t VALUES (2, 3, 'x'); DELETE FROM t WHERE id = 2; COMMIT")
    await side.run("BEGIN; DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (1, 4, 'newest'); COMMIT")
    await side.assert_whole(from_empty=False)


async def test_rows_that_are_alike_are_all_there(side: MirrorSide) -> None:
    """A table without a key was sorted by nothing, and an engine that replaces rows of one key kept a single one."""
    await begin(side, "CREATE TABLE t (n int, doc text)", "ALTER TABLE t REPLICA IDENTITY FULL")
    await side.run("INSERT INTO t SELECT 1, 'same' FROM generate_series(1, 5)")
    await side.run("DELETE FROM t WHERE ctid IN (SELECT ctid FROM t LIMIT 2)")
    await side.run("UPDATE t SET n = 2 WHERE ctid IN (SELECT ctid FROM t LIMIT 1)")
    await side.assert_whole()


async def test_a_change_of_one_table_stops_no_other(
    postgres_server: EmbeddedPostgres, clickhouse_server: EmbeddedClickHouse, migrated: str
) -> None:
    """One table's ALTER that could not be followed ended the stream of all, while the log piled up by the terabyte."""
    names = ["public.t", "public.u"]
    async with mirror_side(postgres_server.url, clickhouse_server.url, migrated, names) as side:
        await begin(side, TABLE, "CREATE TABLE u (id int PRIMARY KEY)")
        await side.run("INSERT INTO t VALUES (1, 1, '7')")
        await side.run("ALTER TABLE t ALTER doc TYPE int USING doc::int")
        await side.run("BEGIN; INSERT INTO t VALUES (2, 2, 8); INSERT INTO u VALUES (1); COMMIT")
        await side.mirrored.wait_until_quarantined("public.t")
        async with EventStore(side.url) as store:
            found = await read_health(Health(store, side.clickhouse, side.mirrored.source, side.url, side.slot))
        assert found.tables == {"public.t": QUARANTINED, "public.u": READY}
        assert [problem for problem in found.problems if "public.t is quarantined" in problem]

        async def followed() -> bool:
            return list(await side.clickhouse.rows("SELECT id FROM u")) == [(1,)]

        await until(followed)
        await request(side, "resync")
        await side.mirrored.wait_until_ready()
        await side.run("INSERT INTO t VALUES (3, 3, 9)")
        await side.assert_whole(from_empty=False)


async def test_a_table_that_returns_is_copied_again(side: MirrorSide) -> None:
    """What the copy of a removed table had left behind made the next copy believe that its rows were there already."""
    await begin(side, TABLE, "INSERT INTO t SELECT g, g FROM generate_series(1, 100) AS g")
    await request(side, "remove")
    await side.run("UPDATE t SET n = -1")
    await request(side, "add")
    await side.mirrored.wait_until_ready()
    await side.assert_whole(from_empty=False)


async def test_a_connection_that_is_cut_is_made_again(side: MirrorSide) -> None:
    """The stream ended without an error, and a worker that looked well loaded nothing for days."""
    await begin(side)
    for n in range(3):
        await side.run(
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s", side.slot
        )
        await side.run(f"INSERT INTO t VALUES ({n}, {n}, 'x')")
        await side.assert_whole()


async def test_a_value_that_cannot_be_held_stops_nothing(side: MirrorSide) -> None:
    """Infinity, NaN or a year before ours crashed the loader, at each restart again; elsewhere they became NULL."""
    await begin(side, "CREATE TABLE t (id int PRIMARY KEY, at timestamptz, d date, x numeric(10, 2))")
    await side.run(
        "INSERT INTO t VALUES (1, 'infinity', NULL, 1), (2, now(), '0044-03-15 BC', 2), (3, now(), NULL, 'NaN')"
    )
    await side.run("INSERT INTO t VALUES (4, '2026-01-01', '2026-01-01', 4)")
    end = await log_end(side.url)

    async def loaded() -> bool:
        return list(await side.clickhouse.rows("SELECT id FROM t")) == [(4,)]

    await until(loaded)
    letters = await read_dead_letters(side.clickhouse, side.mirrored.source)
    assert [(letter.target, letter.raw.split(b'"id":"')[1][:1]) for letter in letters] == [
        ("t", b"1"),
        ("t", b"2"),
        ("t", b"3"),
    ]
    assert all(letter.position < end and "cannot hold" in letter.reason for letter in letters)
