"""What most verbs open: the project's stores, wherever they are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from headrace.event_store.event_store import EventStore
from headrace.runtime.databases import open_databases
from headrace.runtime.spare_pandas import spare_pandas
from headrace.settings import Settings
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.schema import create_schema


@dataclass(frozen=True, slots=True)
class Stores:
    """Both stores, open. `owned`: this verb started the embedded databases, so no worker can be running."""

    events: EventStore
    clickhouse: ClickHouse
    postgres_url: str
    owned: bool


@asynccontextmanager
async def open_stores(settings: Settings) -> AsyncIterator[Stores]:
    """Attach to running databases, or start the embedded ones for as long as the verb takes."""
    async with open_databases(settings) as databases:
        clickhouse = await open_clickhouse_at(databases.addresses.clickhouse_url, settings)
        try:
            async with EventStore(databases.addresses.postgres_url, pool_size=2) as events:
                yield Stores(events, clickhouse, databases.addresses.postgres_url, databases.owned)
        finally:
            await clickhouse.close()


async def open_clickhouse_at(url: str, settings: Settings) -> ClickHouse:
    spare_pandas()
    clickhouse = await ClickHouse.connect(url, database=settings.database)
    await create_schema(clickhouse)
    return clickhouse


@asynccontextmanager
async def open_event_store(settings: Settings) -> AsyncIterator[EventStore]:
    """The event store alone, for verbs that ask nothing of ClickHouse: they work while it is away."""
    async with (
        open_databases(settings) as databases,
        EventStore(databases.addresses.postgres_url, pool_size=2) as events,
    ):
        yield events
