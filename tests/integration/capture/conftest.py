"""A new database with an events table for each test of capture."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from support.capture_side import Database, new_database

from headrace.embedded.postgres import EmbeddedPostgres


@pytest.fixture
async def database(postgres_server: EmbeddedPostgres) -> AsyncIterator[Database]:
    async with new_database(postgres_server.url) as database:
        yield database
