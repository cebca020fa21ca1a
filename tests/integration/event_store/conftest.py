"""One PostgreSQL for the session, one fresh database for each test."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator

import psycopg
import pytest

from headrace.embedded.postgres import EmbeddedPostgres
from headrace.event_store.event_store import EventStore

_numbers = itertools.count()


@pytest.fixture(scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedPostgres]:
    embedded = EmbeddedPostgres(tmp_path_factory.mktemp("event_store") / "postgres")
    await embedded.start()
    # Databases are made from a template that is migrated already: an order of magnitude faster than migrating each.
    async with await psycopg.AsyncConnection.connect(embedded.url, autocommit=True) as connection:
        await connection.execute("CREATE DATABASE migrated TEMPLATE template0")
    async with EventStore(embedded.url.replace("/postgres", "/migrated")):
        pass
    yield embedded
    await embedded.stop()


@pytest.fixture
async def url(server: EmbeddedPostgres) -> str:
    """The address of an empty event store that nobody else uses."""
    name = f"test_{next(_numbers)}"
    async with await psycopg.AsyncConnection.connect(server.url, autocommit=True) as connection:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE migrated".encode())
    return server.url.replace("/postgres", f"/{name}")


@pytest.fixture
async def store(url: str) -> AsyncIterator[EventStore]:
    async with EventStore(url) as opened:
        yield opened
