"""What every test folder shares: one embedded ClickHouse and one PostgreSQL per test process, made on demand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from headrace.embedded.clickhouse.process import EmbeddedClickHouse
from headrace.embedded.postgres import EmbeddedPostgres
from headrace.event_store.event_store import EventStore
from headrace.warehouse.client import ClickHouse


@pytest.fixture(scope="session")
async def clickhouse_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedClickHouse]:
    server = EmbeddedClickHouse(tmp_path_factory.mktemp("clickhouse") / "data", user="default", password="")
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def clickhouse(clickhouse_server: EmbeddedClickHouse) -> AsyncIterator[ClickHouse]:
    """A client whose database is new and its own."""
    client = await ClickHouse.connect(clickhouse_server.url, database=f"test_{uuid4().hex[:12]}")
    yield client
    await client.execute(f"DROP DATABASE IF EXISTS `{client.database}`")
    await client.close()


@pytest.fixture(scope="session")
async def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres") / "data")
    await server.start()
    async with await psycopg.AsyncConnection.connect(server.url, autocommit=True) as connection:
        # Its transactions would hold back what is surely complete, at any moment: here several tests share one server.
        await connection.execute("ALTER SYSTEM SET autovacuum = off")
        await connection.execute("SELECT pg_reload_conf()")
    yield server
    await server.stop()


@pytest.fixture(scope="session")
async def migrated(postgres_server: EmbeddedPostgres) -> str:
    """The name of a database with an empty event store: copying it is ten times as fast as migrating a new one."""
    async with await psycopg.AsyncConnection.connect(postgres_server.url, autocommit=True) as connection:
        await connection.execute("CREATE DATABASE migrated TEMPLATE template0")
    async with EventStore(postgres_server.url.replace("/postgres", "/migrated")):
        return "migrated"


@pytest.fixture
async def url(postgres_server: EmbeddedPostgres, migrated: str) -> str:
    """The address of an empty event store that nobody else uses."""
    name = f"test_{uuid4().hex[:12]}"
    async with await psycopg.AsyncConnection.connect(postgres_server.url, autocommit=True) as connection:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE {migrated}".encode())
    return postgres_server.url.replace("/postgres", f"/{name}")


@pytest.fixture
async def store(url: str) -> AsyncIterator[EventStore]:
    async with EventStore(url) as opened:
        yield opened


@pytest.fixture
def wellness() -> Path:
    """The folder of the wellness example, to read from."""
    return Path(__file__).parents[1] / "examples" / "wellness"
