"""Reading a table range by range, while it is written to, and the place in the log from which on that is enough."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from support.capture_side import Database, read_rows, until

from headrace.capture import table_copy
from headrace.capture.source_tables import Leaf, SourceTable, find_tables
from headrace.capture.stream_floor import stream_floor
from headrace.capture.table_copy import CHUNK_BYTES, Rewritten, copy_range
from headrace.errors import InvalidConfiguration, Unavailable

ODD_TEXTS = ["", "plain", "a\tb", "line\nbreak", "back\\slash", "\\N", "\r\n", "d\x01", "é😀", None]


async def described(database: Database, name: str) -> SourceTable:
    (table,) = await find_tables(database.url, [name])
    return table


async def copied(
    url: str,
    leaf: Leaf,
    columns: Sequence[str],
    page_begin: int = 0,
    page_end: int | None = None,
    where: str = "",
) -> bytes:
    chunks = [chunk async for chunk in copy_range(url, leaf, columns, page_begin, page_end, where=where)]
    assert all(chunk.endswith(b"\n") for chunk in chunks)
    return b"".join(chunks)


async def copied_by_psycopg(database: Database, statement: str) -> bytes:
    async with (
        await psycopg.AsyncConnection.connect(database.url) as connection,
        connection.cursor() as cursor,
        cursor.copy(statement.encode()) as copy,
    ):
        return b"".join([bytes(piece) async for piece in copy])


@pytest.fixture(params=["socket", "libpq"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to read; the second is for TLS, without which the embedded PostgreSQL is built."""
    if request.param == "libpq":
        monkeypatch.setattr(table_copy, "_read_socket", table_copy._read_libpq)


@pytest.mark.usefixtures("way")
async def test_values_of_every_shape_come_as_copy_writes_them(database: Database) -> None:
    await database.run("CREATE TABLE t (id int PRIMARY KEY, gone int, x text, y bytea); ALTER TABLE t DROP COLUMN gone")
    for number, text in enumerate(ODD_TEXTS):
        await database.run("INSERT INTO t VALUES (%s, %s, %s)", number, text, (text or "").encode())
    table = await described(database, "public.t")

    names = [column.name for column in table.columns]
    rows = await copied(database.url, table.leaves[0], names)

    assert rows == await copied_by_psycopg(database, "COPY (SELECT id, x, y FROM t) TO STDOUT")
    assert (
        await copied(database.url, table.leaves[0], ["y", "id"], where="id = 1 OR id > 100") == b"\\\\x706c61696e\t1\n"
    )
    assert await copied(database.url, table.leaves[0], ["id"], where="id > 100") == b""
    assert await copied(database.url, table.leaves[0], ["id"], page_begin=1000) == b""


@pytest.mark.usefixtures("way")
async def test_many_and_huge_rows_come_in_pieces(database: Database) -> None:
    """Rows of 25600 bytes have a length word that looks like the head of a message; one of 20 MB is many pieces."""
    await database.run("CREATE TABLE t (id int, x text)")
    await database.run("INSERT INTO t SELECT n, repeat('d', n %% 50) FROM generate_series(1, %s) n", 100_000)
    await database.run("INSERT INTO t SELECT n, repeat('d', 25589 + n) FROM generate_series(1, 9) n")
    await database.run("INSERT INTO t VALUES (0, repeat('x', 20000000))")
    await database.run("INSERT INTO t SELECT n, 'after' FROM generate_series(1, 1000) n")
    table = await described(database, "public.t")

    chunks = [chunk async for chunk in copy_range(database.url, table.leaves[0], ["id", "x"], 0, None)]

    assert b"".join(chunks) == await copied_by_psycopg(database, "COPY t TO STDOUT")
    assert sum(len(chunk) > CHUNK_BYTES + 30_000 for chunk in chunks) <= 2
    assert min(map(len, chunks[:3])) > CHUNK_BYTES // 2


async def test_only_the_pages_of_the_range_are_read(database: Database) -> None:
    """Also of a table without statistics, where the planner would rather read all of it."""
    await database.run("CREATE TABLE t (id int) WITH (autovacuum_enabled = off)")
    await database.run("INSERT INTO t SELECT generate_series(1, %s)", 50_000)
    table = await described(database, "public.t")

    async def blocks_read() -> int:
        ((count,),) = await database.run(
            "SELECT heap_blks_read + heap_blks_hit FROM pg_statio_user_tables WHERE relname = 't'"
        )
        return int(count)

    before = await blocks_read()
    await copied(database.url, table.leaves[0], ["id"], 10, 20)

    async def told() -> bool:
        return await blocks_read() > before

    await until(told)
    assert await blocks_read() - before < 30


async def test_ranges_read_during_updates_have_every_row_that_did_not_change(database: Database) -> None:
    """A row that moved between two reads is missing or there twice, but then the log has its change."""
    await database.run("CREATE TABLE t (id int PRIMARY KEY, x int NOT NULL) WITH (fillfactor = 60)")
    await database.run("INSERT INTO t SELECT n, 0 FROM generate_series(1, %s) n", 20_000)
    table = await described(database, "public.t")
    changed: set[int] = set()
    stop = asyncio.Event()

    async def update() -> None:
        async with await psycopg.AsyncConnection.connect(database.url, autocommit=True) as connection:
            begin = 1
            while not stop.is_set():
                ids = list(range(begin, begin + 400))
                changed.update(ids)
                await connection.execute("UPDATE t SET x = x + 1 WHERE id = ANY (%s)", [ids])
                begin = begin % 19_000 + 997

    writing = asyncio.create_task(update())
    try:
        await stream_floor(database.url)
        rows: list[bytes] = []
        for begin in reversed(range(0, table.pages, 7)):
            end = begin + 7 if begin + 7 < table.pages else None
            rows += (await copied(database.url, table.leaves[0], ["id", "x"], begin, end)).splitlines()
    finally:
        stop.set()
        await writing

    assert changed
    seen = [int(row.split(b"\t")[0]) for row in rows]
    quiet = set(range(1, 20_001)) - changed
    assert quiet <= set(seen)
    assert sorted(number for number in seen if number in quiet) == sorted(quiet)


@pytest.mark.parametrize(
    "change",
    ["VACUUM FULL t", "TRUNCATE t", "ALTER TABLE t RENAME TO u", "DROP TABLE t", "ALTER TABLE t DROP COLUMN x"],
)
async def test_a_table_that_is_not_what_it_was_is_not_copied(database: Database, change: str) -> None:
    await database.run("CREATE TABLE t (id int PRIMARY KEY, x text)")
    await database.run("INSERT INTO t VALUES (1)")
    table = await described(database, "public.t")
    assert await copied(database.url, table.leaves[0], ["id", "x"]) == b"1\t\\N\n"
    await database.run(change)
    with pytest.raises(Rewritten):
        await copied(database.url, table.leaves[0], ["id", "x"])


async def test_a_copy_cannot_hide_rows_from_a_role_that_may_not_see_them(database: Database) -> None:
    role = f"reader_{database.name}"
    await database.run("CREATE TABLE t (id int PRIMARY KEY)")
    await database.run("INSERT INTO t VALUES (1)")
    await database.run(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'")
    try:
        url = make_conninfo(database.url, user=role, password="secret")
        leaf = (await described(database, "public.t")).leaves[0]
        with pytest.raises(InvalidConfiguration, match="may not read all"):
            await copied(url, leaf, ["id"])
        await database.run(f"GRANT SELECT ON t TO {role}")
        assert await copied(url, leaf, ["id"]) == b"1\n"
        await database.run("ALTER TABLE t ENABLE ROW LEVEL SECURITY")
        with pytest.raises(InvalidConfiguration, match="may not read all"):
            await copied(url, leaf, ["id"])
    finally:
        await database.run(f"DROP OWNED BY {role}")
        await database.run(f"DROP ROLE {role}")


@pytest.mark.usefixtures("way")
async def test_a_copy_that_is_stopped_early_or_loses_its_connection_leaves_nothing_behind(database: Database) -> None:
    await database.run("CREATE TABLE t (id int, x text)")
    await database.run("INSERT INTO t SELECT n, repeat('x', 100) FROM generate_series(1, %s) n", 200_000)
    leaf = (await described(database, "public.t")).leaves[0]

    async def nobody_copies() -> bool:
        return not await database.run(
            "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND application_name = 'headrace capture'", database.name
        )

    stopped = copy_range(database.url, leaf, ["id", "x"], 0, None)
    await anext(stopped)
    await stopped.aclose()
    await until(nobody_copies)

    lost = copy_range(database.url, leaf, ["id", "x"], 0, None)
    await anext(lost)
    await database.run(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE datname = %s AND application_name = 'headrace capture'",
        database.name,
    )
    with pytest.raises(Unavailable):
        async for _ in lost:
            pass
    await until(nobody_copies)


async def test_the_floor_waits_for_open_writers_and_not_for_readers(database: Database) -> None:
    async with (
        await psycopg.AsyncConnection.connect(database.url) as writer,
        await psycopg.AsyncConnection.connect(database.url) as reader,
    ):
        await reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        await reader.execute("SELECT 1 FROM events")
        await writer.execute("INSERT INTO events VALUES ('s', 1, 'Counted', 1, '{}')")
        waiting = asyncio.create_task(stream_floor(database.url))

        async def polls() -> bool:
            return bool(
                await database.run(
                    "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND application_name = 'headrace capture' "
                    "AND query LIKE '%%pg_snapshot_xmin%%' AND clock_timestamp() - backend_start > '0.5 s'",
                    database.name,
                )
            )

        await until(polls)
        assert not waiting.done()
        await writer.commit()
        floor = await waiting
        ((end,),) = await database.run("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint")
        assert 0 < floor < end


async def test_every_commit_up_to_the_floor_is_visible_from_then_on(database: Database) -> None:
    """While many sessions commit: the log says what committed up to there, the table what a snapshot then sees."""
    source = await database.started(batch_rows_max=100_000)
    stop = asyncio.Event()
    appended = 0

    async def write() -> None:
        nonlocal appended
        async with await psycopg.AsyncConnection.connect(database.url, autocommit=True) as connection:
            while not stop.is_set():
                appended += 1
                await connection.execute("INSERT INTO events VALUES ('s', %s, 'Counted', 1, '{}')", [appended])

    writers = [asyncio.create_task(write()) for _ in range(8)]
    seen: list[tuple[int, set[int]]] = []
    try:
        for _ in range(20):
            floor = await stream_floor(database.url)
            seen.append((floor, {number for (number,) in await database.run("SELECT version FROM events")}))
    finally:
        stop.set()
        await asyncio.gather(*writers)

    _, batches = await read_rows(source, appended)
    for batch in batches:
        for table in batch.inserts.values():
            for lsn, number in zip(table["_lsn"].to_pylist(), table["version"].to_pylist(), strict=True):
                for floor, visible in seen:
                    assert lsn > floor or number in visible
    assert seen[0][1]
    assert len(seen[-1][1]) > len(seen[0][1])


@pytest.mark.usefixtures("way")
async def test_a_copy_that_is_given_up_while_the_server_is_silent_ends_at_once(database: Database) -> None:
    await database.run("CREATE TABLE t (id int)")
    await database.run("INSERT INTO t VALUES (1)")
    leaf = (await described(database, "public.t")).leaves[0]

    async def sleeps() -> bool:
        return bool(await database.run("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"))

    copying = asyncio.create_task(copied(database.url, leaf, ["id"], where="pg_sleep(60) IS NULL"))
    await until(sleeps)
    copying.cancel()
    async with asyncio.timeout(10):
        with pytest.raises(asyncio.CancelledError):
            await copying
