from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from support.mirror_side import MirrorSide, mirror_side

from headrace.embedded.clickhouse.process import EmbeddedClickHouse
from headrace.embedded.postgres import EmbeddedPostgres


@pytest.fixture
async def side(
    postgres_server: EmbeddedPostgres, clickhouse_server: EmbeddedClickHouse, migrated: str
) -> AsyncIterator[MirrorSide]:
    """A project that mirrors `public.t`. Its worker is not started yet."""
    async with mirror_side(postgres_server.url, clickhouse_server.url, migrated, ["public.t"]) as made:
        yield made
