"""PostgreSQL goes away: what is repeated by itself, what is reported, and what each error says."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import psycopg
import pytest

from headrace.embedded.postgres import EmbeddedPostgres
from headrace.errors import InvalidConfiguration, Unavailable
from headrace.event_store.event_store import EventStore
from headrace.event_store.migrate import LOCK_KEY
from headrace.events.event import Event, Metadata


class Happened(Event):
    n: int


async def lock(url: str, stream: str) -> psycopg.AsyncConnection[tuple[object, ...]]:
    holder = await psycopg.AsyncConnection.connect(url)
    await holder.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (stream,))
    return holder


async def kill_the_waiting_call(url: str) -> None:
    """Terminate the backend that waits for the lock: its connection breaks in the middle of an append."""
    sql = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as killer, asyncio.timeout(10):
        while await (await killer.execute(sql)).fetchone() is None:
            pass


async def test_an_append_with_a_command_id_survives_a_broken_connection(store: EventStore, url: str) -> None:
    holder = await lock(url, "s")
    append = asyncio.ensure_future(store.append("s", [Happened(n=1)], metadata=Metadata(command_id=uuid4())))
    await kill_the_waiting_call(url)
    await holder.close()
    assert (await append).version == 1
    assert [event.version async for event in store.read_stream("s")] == [1]


async def test_an_append_without_a_command_id_reports_an_unknown_outcome(store: EventStore, url: str) -> None:
    holder = await lock(url, "s")
    append = asyncio.ensure_future(store.append("s", [Happened(n=1)]))
    await kill_the_waiting_call(url)
    await holder.close()
    with pytest.raises(Unavailable, match="unknown"):
        await append
    assert (await store.append("s", [Happened(n=2)])).version == 1


async def test_the_store_recovers_when_the_server_was_restarted(tmp_path_factory: pytest.TempPathFactory) -> None:
    server = EmbeddedPostgres(tmp_path_factory.mktemp("restarted") / "postgres")
    async with EventStore(await server.start()) as store:
        await store.append("s", [Happened(n=1)])
        await server.stop()
        with pytest.raises(Unavailable):
            await store.append("s", [Happened(n=2)])
        await server.start()
        try:
            appended = await store.append("s", [Happened(n=3)], metadata=Metadata(command_id=uuid4()))
            assert appended.version == 2
        finally:
            await server.stop()


async def test_an_unreachable_server_is_named() -> None:
    with pytest.raises(Unavailable, match="cannot be reached"):
        await EventStore("postgresql://someone:secret@127.0.0.1:1/db").open()


async def test_a_connection_that_is_lost_while_the_store_opens_is_worth_another_try(url: str) -> None:
    async with await psycopg.AsyncConnection.connect(url) as holder:
        await holder.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK_KEY,))
        opening = asyncio.ensure_future(EventStore(url).open())
        await kill_the_waiting_call(url)
        with pytest.raises(Unavailable, match="cannot be reached"):
            await opening


async def test_a_wrong_address_is_refused() -> None:
    with pytest.raises(InvalidConfiguration):
        await EventStore("this is no address").open()


async def test_a_database_that_is_not_utf8_is_refused(postgres_server: EmbeddedPostgres) -> None:
    name = f"latin_{uuid4().hex[:8]}"
    async with await psycopg.AsyncConnection.connect(postgres_server.url, autocommit=True) as connection:
        await connection.execute(f"CREATE DATABASE {name} ENCODING 'LATIN1' TEMPLATE template0".encode())
    with pytest.raises(InvalidConfiguration, match="LATIN1"):
        await EventStore(postgres_server.url.replace("/postgres", f"/{name}")).open()


async def test_a_closed_store_refuses_appends(url: str) -> None:
    store = EventStore(url)
    await store.open()
    await store.close()
    with pytest.raises(Unavailable, match="closed"):
        await store.append("s", [Happened(n=1)])
