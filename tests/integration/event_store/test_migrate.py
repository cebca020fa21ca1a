"""Migrations: once, together, and never against a database that contradicts them."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import psycopg
import pytest

from headrace.embedded.postgres import EmbeddedPostgres
from headrace.errors import Corrupt, InvalidConfiguration
from headrace.event_store.connection import connect
from headrace.event_store.event_store import EventStore
from headrace.event_store.migrate import migrate


@pytest.fixture
async def empty(postgres_server: EmbeddedPostgres) -> str:
    name = f"empty_{uuid4().hex[:8]}"
    async with await psycopg.AsyncConnection.connect(postgres_server.url, autocommit=True) as connection:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE template0".encode())
    return postgres_server.url.replace("/postgres", f"/{name}")


async def test_migrating_again_applies_nothing(empty: str) -> None:
    connection = await connect(empty)
    try:
        assert "migrations/0001_create_events.sql" in await migrate(connection)
        assert await migrate(connection) == []
    finally:
        await connection.close()


async def test_processes_that_start_together_migrate_once(empty: str) -> None:
    stores = [EventStore(empty) for _ in range(4)]
    await asyncio.gather(*(store.open() for store in stores))
    await asyncio.gather(*(store.close() for store in stores))


async def test_an_edited_migration_is_refused(url: str) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("UPDATE headrace.migrations SET checksum = 'x' WHERE name LIKE '%0001%'")
    with pytest.raises(Corrupt, match="edited"):
        await EventStore(url).open()


async def test_a_database_of_a_newer_version_is_refused(url: str) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("INSERT INTO headrace.migrations VALUES ('migrations/9999_later.sql', 'x')")
    with pytest.raises(Corrupt, match="newer"):
        await EventStore(url).open()


async def test_a_changed_function_is_replaced(url: str) -> None:
    connection = await connect(url)
    try:
        await connection.execute("UPDATE headrace.migrations SET checksum = 'x' WHERE name = 'functions/append.sql'")
        assert await migrate(connection) == ["functions/append.sql"]
    finally:
        await connection.close()


async def test_a_user_without_the_right_to_create_a_schema_is_told_so(
    empty: str, postgres_server: EmbeddedPostgres
) -> None:
    role = f"weak_{uuid4().hex[:8]}"
    async with await psycopg.AsyncConnection.connect(postgres_server.url, autocommit=True) as connection:
        await connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'weak'".encode())
    address = empty.split("@", 1)[1]
    with pytest.raises(InvalidConfiguration, match="may not create"):
        await EventStore(f"postgresql://{role}:weak@{address}").open()
