"""What capture refuses to start on, or to go on with, and what it says then."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from psycopg.conninfo import make_conninfo
from support.capture_side import Database, new_database, read_rows, until

from headrace.capture.server import connect
from headrace.capture.source import Source
from headrace.embedded.postgres import EmbeddedPostgres
from headrace.errors import AlreadyRunning, Corrupt, Error, InvalidConfiguration, Unavailable


@pytest.fixture
async def small_log_server(tmp_path: Path) -> AsyncIterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(tmp_path / "data", settings={"max_slot_wal_keep_size": "1MB", "max_wal_size": "32MB"})
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def replica_level_server(tmp_path: Path) -> AsyncIterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(tmp_path / "data", settings={"wal_level": "replica"})
    await server.start()
    yield server
    await server.stop()


async def fails(source: Source) -> Error:
    """The error that the stream ends with."""
    try:
        while await source.next_batch(wait_s=20):
            pass
    except Error as error:
        return error
    raise AssertionError("the stream goes on")


async def test_a_slot_in_use_is_refused_by_the_pid_that_holds_it(database: Database) -> None:
    await database.started()

    async def streaming() -> bool:
        return (await database.slot())[1] is not None

    await until(streaming)
    _, pid = await database.slot()

    with pytest.raises(AlreadyRunning, match=f"process {pid}"):
        await database.source(takeover_s=0.2).prepare()


async def test_a_slot_of_another_database_is_refused(database: Database) -> None:
    await database.source().prepare()
    async with new_database(database.server_url) as elsewhere:
        with pytest.raises(InvalidConfiguration, match="belongs to something else"):
            await elsewhere.source(slot=database.name).prepare()


async def test_a_slot_that_is_dropped_ends_the_stream(database: Database) -> None:
    source = await database.started()
    await database.append(1)
    await read_rows(source, 1)
    await database.drop_slot()

    error = await fails(source)

    assert isinstance(error, Corrupt)
    assert "does not exist any more" in error.message


async def test_a_publication_that_is_dropped_ends_the_stream(database: Database) -> None:
    source = await database.started()
    await database.run(f"DROP PUBLICATION {database.name}")
    await database.append(1)

    assert isinstance(await fails(source), InvalidConfiguration)


async def test_a_slot_that_somebody_else_made_is_left_alone(database: Database) -> None:
    await database.run("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", database.name)
    with pytest.raises(InvalidConfiguration, match="did not make") as caught:
        await database.source().prepare()
    assert "pg_drop_replication_slot" in caught.value.hint


async def test_a_slot_whose_maker_was_killed_is_made_anew(database: Database) -> None:
    """Between making it and writing down where it begins; nothing was read from it."""
    await database.source().prepare()
    await database.run(f"COMMENT ON PUBLICATION {database.name} IS 'headrace: making slot {database.name}'")
    source = await database.started()

    await database.append(1)

    assert (await source.next_batch(wait_s=10)) is not None


async def test_a_slot_that_postgresql_gave_up_is_corrupt(small_log_server: EmbeddedPostgres) -> None:
    async with new_database(small_log_server.url) as database:
        await database.source().prepare()
        for _ in range(4):
            await database.append(1)
            await database.run("SELECT pg_switch_wal()")
        await database.run("CHECKPOINT")

        with pytest.raises(Corrupt, match="gave up") as caught:
            await database.source().prepare()
        assert "headrace recover" in caught.value.hint


async def test_wal_level_not_logical_says_how_to_change_it(replica_level_server: EmbeddedPostgres) -> None:
    async with new_database(replica_level_server.url) as database:
        with pytest.raises(InvalidConfiguration, match="wal_level is replica") as caught:
            await database.source().prepare()
        assert "ALTER SYSTEM SET wal_level" in caught.value.hint
        assert "rds.logical_replication" in caught.value.hint


async def test_a_role_that_may_not_replicate_is_refused(database: Database) -> None:
    role = f"reader_{uuid4().hex[:8]}"
    await database.run(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'")
    try:
        with pytest.raises(InvalidConfiguration, match="may not replicate") as caught:
            await database.source(postgres_url=make_conninfo(database.url, user=role, password="secret")).prepare()
        assert f"ALTER ROLE {role} REPLICATION" in caught.value.hint
        with pytest.raises(InvalidConfiguration, match="does not let us in") as caught:
            await database.source(postgres_url=make_conninfo(database.url, user=role, password="wrong")).prepare()
        assert "wrong" not in str(caught.value)
    finally:
        await database.run(f"DROP ROLE {role}")


async def test_a_server_that_is_not_there_is_unavailable(database: Database) -> None:
    with pytest.raises(Unavailable, match="cannot be reached"):
        await database.source(postgres_url=make_conninfo(database.url, port="1")).prepare()


async def test_preparing_twice_changes_nothing_and_adds_new_tables(database: Database) -> None:
    await database.source().prepare()
    before = await database.slot()
    await database.run("CREATE TABLE more (id int)")
    await database.source(tables=["public.events", "public.more"]).prepare()

    assert await database.slot() == before
    assert len(await database.run("SELECT 1 FROM pg_publication_tables WHERE pubname = %s", database.name)) == 2


async def test_what_fails_within_the_server_is_worth_another_try(database: Database) -> None:
    with pytest.raises(Unavailable, match="within itself"):
        async with connect(database.url) as connection:
            await connection.execute("DO $$ BEGIN RAISE 'tuple concurrently updated' USING ERRCODE = 'XX000'; END $$")
