"""What a connection goes through: it is lost, nobody reads from it, it brings one huge transaction."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest
from support.capture_side import MIB, Database, new_database, read_rows, read_transaction, until

from headrace.bus.batch import Batch
from headrace.capture.connection import LibpqStream, Lost, Refused, SocketStream
from headrace.embedded.postgres import EmbeddedPostgres
from headrace.events.position import START


@pytest.fixture
async def own_server(tmp_path: Path) -> AsyncIterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(tmp_path / "data")
    await server.start()
    yield server
    await server.stop()


async def append_many(database: Database, count: int, width: int = 100) -> None:
    """One transaction of `count` events."""
    await database.run(
        "INSERT INTO events SELECT 's', n, 'Counted', 1, jsonb_build_object('n', n, 'x', repeat('x', %s)) "
        "FROM generate_series(1, %s) n",
        width,
        count,
    )


async def test_killed_connections_neither_repeat_nor_skip(database: Database) -> None:
    source = await database.started(batch_rows_max=700)
    for first in range(1, 20_001, 2000):
        await database.append(*range(first, first + 2000))
    rows: list[int] = []
    while len(rows) < 20_000:
        rows += (await read_rows(source, 1))[0]
        await database.run(
            "SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots WHERE slot_name = %s AND active",
            database.name,
        )
    assert rows == list(range(1, 20_001))
    await database.append(0)
    assert (await read_rows(source, 1))[0] == [0]


async def test_a_server_that_crashes_and_comes_back_neither_repeats_nor_skips(own_server: EmbeddedPostgres) -> None:
    async with new_database(own_server.url) as database:
        source = await database.started(batch_rows_max=300)
        await database.append(*range(1, 1001))
        rows, batches = await read_rows(source, 300)
        source.confirm(batches[-1].confirm_lsn)
        os.kill(own_server.pid, signal.SIGKILL)
        await own_server.stop()

        async def lost() -> bool:
            return not source.lag().connected

        await until(lost)
        assert source.lag().trouble
        waiting = asyncio.ensure_future(read_rows(source, 1000 - len(rows) + 2))
        await own_server.start()
        await database.append(1001, 1002)
        rows += (await waiting)[0]
        assert rows == list(range(1, 1003))


async def test_the_server_is_answered_while_nobody_reads(database: Database) -> None:
    """A slow insert must not cost the connection: wal_sender_timeout is 2 s here, and the buffer is full."""
    url = psycopg.conninfo.make_conninfo(database.url, options="-c wal_sender_timeout=2s")
    source = await database.started(postgres_url=url, buffer_bytes_max=1 * MIB)
    await append_many(database, 20_000)

    async def connected_for_long() -> bool:
        return bool(
            await database.run(
                "SELECT 1 FROM pg_replication_slots JOIN pg_stat_activity ON pid = active_pid "
                "WHERE slot_name = %s AND clock_timestamp() - backend_start > '5 s'",
                database.name,
            )
        )

    await until(connected_for_long)
    assert source.lag().buffered_bytes > MIB // 2
    assert (await read_rows(source, 20_000))[0] == list(range(1, 20_001))
    assert await connected_for_long()


async def test_one_huge_transaction_stays_within_the_buffer(database: Database) -> None:
    limit = 1 * MIB
    source = await database.started(buffer_bytes_max=limit, batch_rows_max=100_000)
    await append_many(database, 60_000, width=300)
    rows: list[int] = []
    batches = 0
    while len(rows) < 60_000:
        handed = await source.next_batch(wait_s=20)
        assert source.lag().buffered_bytes <= limit
        if isinstance(handed, Batch):
            rows += [n for table in handed.inserts.values() for n in table.column("version").to_pylist()]
            batches += 1
            assert (handed.confirm_lsn == 0) == (len(rows) < 60_000)
    assert rows == list(range(1, 60_001))
    assert batches > 20


async def test_a_row_larger_than_the_buffer_passes_alone(database: Database) -> None:
    source = await database.started(buffer_bytes_max=1 * MIB)
    await database.append(1)
    await database.run("INSERT INTO events VALUES ('s', 2, repeat('x', 5000000), 1, '{}')")
    await database.append(3)

    rows, batches = await read_rows(source, 3)

    assert rows == [1, 2, 3]
    sizes = [len(t) for b in batches for table in b.inserts.values() for t in table.column("type").to_pylist()]
    assert max(sizes) == 5_000_000
    await database.append(4)
    await read_rows(source, 1)
    assert source.lag().buffered_bytes <= 1 * MIB


async def test_a_planned_end_is_found_although_the_buffer_is_smaller_now(database: Database) -> None:
    source = await database.started(batch_rows_max=100_000, buffer_bytes_max=32 * MIB)
    await append_many(database, 20_000)
    _, (planned,) = await read_rows(source, 20_000)
    await database.close_sources()

    smaller = await database.started(START, buffer_bytes_max=1 * MIB, batch_rows_max=10)
    again = await smaller.next_batch(last=planned.last, wait_s=20)

    assert again == planned


@pytest.mark.parametrize("way", [SocketStream, LibpqStream])
async def test_both_ways_to_read_give_the_same_bytes(
    way: type[SocketStream] | type[LibpqStream], database: Database
) -> None:
    """LibpqStream is the way through TLS; the embedded PostgreSQL is built without it, so this goes in the clear."""
    await database.source().prepare()
    await append_many(database, 3000)
    command = (
        f'START_REPLICATION SLOT "{database.name}" LOGICAL 0/0 '
        f"(proto_version '1', publication_names '{database.name}')"
    )

    def connect() -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.Connection.connect(database.url, replication="database", autocommit=True)

    stream = await asyncio.to_thread(lambda: way(connect(), command))
    kinds = await asyncio.to_thread(read_transaction, stream)
    assert (kinds["B"], kinds["R"], kinds["I"], kinds["C"]) == (1, 1, 3000, 1)
    stream.send(b"r" + bytes(33))
    _, pid = await database.slot()
    await database.run("SELECT pg_terminate_backend(%s, 5000)", pid)
    with pytest.raises((Lost, Refused)):
        await asyncio.to_thread(read_transaction, stream)
    stream.close()

    connection = connect()
    with pytest.raises(Refused) as caught:
        await asyncio.to_thread(lambda: way(connection, command.replace(database.name, "missing")))
    assert caught.value.sqlstate == "42704"
    connection.close()
