"""Publishing tables, what is in the way of it, and reading two publications through one slot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from support.capture_side import Database, read_transaction, until

from headrace.capture.connection import Lost, SlotAddress, open_stream
from headrace.capture.new_slot import create_slot
from headrace.capture.obstacles import find_obstacles
from headrace.capture.publication import appends_begin, appends_publication, publish, unfiltered, unpublish
from headrace.capture.slot_health import slot_health
from headrace.capture.slot_removal import forget_slot
from headrace.capture.source_tables import find_tables
from headrace.errors import AlreadyRunning, InvalidConfiguration


@pytest.fixture
async def role(database: Database) -> AsyncIterator[str]:
    """A role that may log in and replicate, and nothing else."""
    name = f"mirror_{uuid4().hex[:8]}"
    await database.run(f"CREATE ROLE {name} LOGIN REPLICATION PASSWORD 'secret'")
    yield name
    await database.run(f"DROP OWNED BY {name} CASCADE")
    await database.run(f"DROP ROLE {name}")


async def published(database: Database, publication: str) -> list[str]:
    rows = await database.run(
        "SELECT tablename::text FROM pg_publication_tables WHERE pubname = %s ORDER BY 1", publication
    )
    return [name for (name,) in rows]


async def oids(database: Database, *patterns: str) -> list[int]:
    return [table.oid for table in await find_tables(database.url, patterns)]


async def test_publishing_and_unpublishing_twice_changes_nothing(database: Database) -> None:
    await database.run(
        'CREATE TABLE "Odd one" (id int PRIMARY KEY); CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY RANGE (id);'
        "CREATE TABLE part PARTITION OF parts DEFAULT"
    )
    found = await oids(database, "public.Odd one", "public.parts")
    for _ in range(2):
        await publish(database.url, database.name, found)
        assert await published(database, database.name) == ["Odd one", "parts"]
    await database.run("DROP TABLE parts")
    for _ in range(2):
        await unpublish(database.url, database.name, found)
        assert await published(database, database.name) == []


async def test_many_that_publish_at_the_same_time_do_not_disturb_each_other(database: Database) -> None:
    names = [f"table_{number}" for number in range(10)]
    await database.run(";".join(f"CREATE TABLE {name} (id int PRIMARY KEY)" for name in names))
    found = await oids(database, "public.table_*")
    for appends, publication in {False: database.name, True: appends_publication(database.name)}.items():
        async with asyncio.TaskGroup() as group:
            for oid in found:
                group.create_task(publish(database.url, database.name, [oid], appends=appends))
        assert await published(database, publication) == names


async def test_a_publication_for_all_tables_needs_none_by_name(database: Database) -> None:
    await database.run(f"CREATE PUBLICATION {database.name} FOR ALL TABLES WITH (publish_via_partition_root = true)")
    await publish(database.url, database.name, await oids(database, "public.events"))
    assert await published(database, database.name) == ["events"]


async def test_a_publication_that_leaves_out_deletes_is_refused(database: Database) -> None:
    await database.run(f"CREATE PUBLICATION {database.name} WITH (publish = 'insert, update')")
    with pytest.raises(InvalidConfiguration, match="does not publish what it should") as caught:
        await publish(database.url, database.name, [])
    await database.run(caught.value.hint.removeprefix("Run "))
    await publish(database.url, database.name, [])


async def test_a_condition_replaces_the_one_before_and_can_be_taken_away(database: Database) -> None:
    await database.run("CREATE TABLE keyed (id int PRIMARY KEY, n int)")
    found = await oids(database, "public.keyed")
    asked = "SELECT rowfilter FROM pg_publication_tables WHERE pubname = %s"
    for where, stored in {"": None, "id > 1": "(id > 1)", "id < 5": "(id < 5)"}.items():
        for _ in range(2):
            await publish(database.url, database.name, found, where=where)
            assert await database.run(asked, database.name) == [(stored,)]
    await publish(database.url, database.name, found)
    assert await database.run(asked, database.name) == [(None,)]


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("nothing = 1", 'column "nothing" does not exist'),
        ("id >", "syntax error"),
        ("id = 'x'", "invalid input syntax"),
        ("f > 1e400", "out of range"),
    ],
)
async def test_a_condition_that_cannot_stand_is_refused_and_takes_away_the_one_before(
    database: Database, where: str, why: str
) -> None:
    """PostgreSQL takes the last one, and would fail where it sends us the log."""
    await database.run("CREATE TABLE keyed (id int PRIMARY KEY, f float8); INSERT INTO keyed VALUES (1, 1)")
    found = await oids(database, "public.keyed")
    for before in ("", "id > 5"):
        with pytest.raises(InvalidConfiguration, match="cannot be chosen") as caught:
            await publish(database.url, database.name, found, where=where)
        assert why in caught.value.detail
        assert await published(database, database.name) == []
        await publish(database.url, database.name, found, where=before)
        assert await unfiltered(database.url, database.name, found) == (set() if before else set(found))
        await unpublish(database.url, database.name, found)
        assert await unfiltered(database.url, database.name, found) == set(found)


async def test_a_publication_for_all_tables_takes_no_condition(database: Database) -> None:
    await database.run(f"CREATE PUBLICATION {database.name} FOR ALL TABLES WITH (publish_via_partition_root = true)")
    with pytest.raises(InvalidConfiguration, match="cannot be chosen"):
        await publish(database.url, database.name, await oids(database, "public.events"), where="version > 1")


async def test_a_table_is_in_one_of_the_two_publications(database: Database) -> None:
    """Both would send what one of them publishes: a condition in the other would do nothing."""
    await database.run("CREATE TABLE keyed (id int PRIMARY KEY)")
    found = await oids(database, "public.keyed")
    await publish(database.url, database.name, found)
    await publish(database.url, database.name, found, appends=True, where="id > 1")
    assert await published(database, database.name) == []
    assert await unfiltered(database.url, database.name, found) == set()
    await publish(database.url, database.name, found)
    assert await published(database, appends_publication(database.name)) == []
    assert await published(database, database.name) == ["keyed"]


async def test_a_server_that_goes_away_while_a_slot_is_made_is_waited_for(database: Database) -> None:
    ended = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE query LIKE 'CREATE_REPLICATION_SLOT%' AND wait_event_type = 'Lock'"
    )

    async def terminated() -> bool:
        return bool(await database.run(ended))

    async with await psycopg.AsyncConnection.connect(database.url) as writer:
        await writer.execute("SELECT pg_current_xact_id()")  # a new slot waits for it
        making = asyncio.create_task(
            asyncio.to_thread(create_slot, SlotAddress(database.url, database.name, database.name))
        )
        await until(terminated)
        with pytest.raises(Lost):
            await making


async def test_an_appended_table_without_key_can_still_be_updated_and_is_read(database: Database) -> None:
    await database.run("CREATE TABLE keyed (id int PRIMARY KEY)")
    await publish(database.url, database.name, await oids(database, "public.keyed"))
    before = (await asyncio.to_thread(create_slot, SlotAddress(database.url, database.name, database.name))).begins_at
    await publish(database.url, database.name, await oids(database, "public.events"), appends=True)
    await publish(database.url, database.name, await oids(database, "public.events"), appends=True)
    appends = appends_publication(database.name)
    assert await published(database, appends) == ["events"]

    ((lsn,),) = await database.run("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint")
    await database.run(
        "INSERT INTO events VALUES ('s', 1, 'Counted', 1, '{}'); UPDATE events SET type = 'Changed'; "
        "INSERT INTO keyed VALUES (1)"
    )

    begin = await appends_begin(database.url, database.name)
    assert begin is not None
    assert before < begin <= lsn
    stream = open_stream(SlotAddress(database.url, database.name, database.name, (appends,)), start_lsn=lsn)
    try:
        kinds = await asyncio.to_thread(read_transaction, stream)
    finally:
        stream.close()
    assert (kinds["I"], kinds["U"]) == (2, 0)

    async def forgotten() -> bool:
        try:
            await forget_slot(SlotAddress(database.url, database.name, database.name))
        except AlreadyRunning:  # the server has not seen its reader leave
            return False
        return True

    await until(forgotten)
    assert not await database.run("SELECT 1 FROM pg_publication")


async def test_a_table_without_key_or_with_a_partition_that_differs_is_told(database: Database) -> None:
    await database.run(
        """
        CREATE TABLE whole (id int) PARTITION BY RANGE (id);
        ALTER TABLE whole REPLICA IDENTITY FULL;
        CREATE TABLE whole_part PARTITION OF whole DEFAULT;
        CREATE TABLE keyed (id int PRIMARY KEY) PARTITION BY RANGE (id);
        CREATE TABLE keyed_part PARTITION OF keyed DEFAULT;
        """
    )
    tables = await find_tables(database.url, ["public.*"])
    by_name = {table.name: table for table in tables}

    found = await find_obstacles(database.url, tables, database.name)
    assert [obstacle.name for obstacle in found] == ["public.events", "public.whole"]
    assert "REPLICA IDENTITY FULL" in found[0].hint
    assert "public.whole_part REPLICA IDENTITY FULL" in found[1].hint

    await database.run(found[1].hint.removeprefix("Run "))
    tables = await find_tables(database.url, ["public.*"])
    assert await find_obstacles(database.url, tables, database.name, appends=[by_name["events"].oid]) == []

    await database.run("ALTER TABLE keyed_part REPLICA IDENTITY NOTHING")
    (obstacle,) = await find_obstacles(database.url, await find_tables(database.url, ["public.keyed"]), database.name)
    assert "keyed_part REPLICA IDENTITY DEFAULT" in obstacle.hint


async def test_a_role_with_few_rights_is_told_what_it_lacks_and_can_do_it_all_then(
    database: Database, role: str
) -> None:
    await database.run(
        "CREATE SCHEMA shop; CREATE TABLE shop.orders (id int PRIMARY KEY, who text);"
        "ALTER TABLE shop.orders ENABLE ROW LEVEL SECURITY"
    )
    url = make_conninfo(database.url, user=role, password="secret")
    tables = await find_tables(url, ["shop.orders"])

    async def obstacles() -> list[str]:
        return [obstacle.hint for obstacle in await find_obstacles(url, tables, database.name)]

    hints = await obstacles()
    assert [hint.split(";")[0] for hint in hints] == [
        f"GRANT USAGE ON SCHEMA shop TO {role}",
        f"GRANT SELECT ON shop.orders TO {role}",
        f"GRANT CREATE ON DATABASE {database.name} TO {role}",
        f"GRANT headrace TO {role}",
    ]
    with pytest.raises(InvalidConfiguration):
        await publish(url, database.name, [tables[0].oid])
    for hint in hints[:3]:
        await database.run(hint)
    assert (await obstacles())[0] == f"Run ALTER ROLE {role} BYPASSRLS; as a superuser."
    await database.run("ALTER TABLE shop.orders OWNER TO " + role)
    assert await obstacles() == []
    await publish(url, database.name, [tables[0].oid])
    assert await published(database, database.name) == ["orders"]
    assert await obstacles() == []


async def test_a_published_table_with_a_column_list_is_told(database: Database) -> None:
    await database.run("CREATE TABLE t (id int PRIMARY KEY, secret text)")
    await database.run(f"CREATE PUBLICATION {database.name} FOR TABLE t (id)")
    (obstacle,) = await find_obstacles(database.url, await find_tables(database.url, ["public.t"]), database.name)
    assert "only some of its columns" in obstacle.reason


async def test_the_health_of_a_slot_is_told(database: Database) -> None:
    assert await slot_health(database.url, database.name) is None
    await database.source().prepare()
    await database.append(1)

    health = await slot_health(database.url, database.name)

    assert health is not None
    assert health.wal_status == "reserved"
    assert health.safe_wal_bytes is None
    assert health.kept_bytes is not None
    assert health.unconfirmed_bytes is not None
    assert health.kept_bytes >= health.unconfirmed_bytes > 0
    assert health.active_pid is None
    assert health.spilled_bytes == 0
