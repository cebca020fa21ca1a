"""A worker that mirrors, in the test's own process, over the databases that all tests share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow
from support.capture_side import Database, drop_database
from support.mirror_proof import Mirrored
from support.mirror_system import mirror_project

from headrace.runtime.databases import Addresses
from headrace.runtime.worker import run_worker
from headrace.settings import Settings
from headrace.testing.databases import project_folder
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.schema import create_schema


class Died(Exception):
    """The worker was stopped at a step, as if it had been killed there."""


@dataclass
class MirrorSide:
    """A database with its own project. The worker runs between `start` and `stop`."""

    mirrored: Mirrored
    root: Path
    clickhouse_url: str
    on_step: Callable[[str], None] = lambda step: None
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return self.mirrored.url

    @property
    def clickhouse(self) -> ClickHouse:
        return self.mirrored.clickhouse

    @property
    def slot(self) -> str:
        return f"headrace_{self.mirrored.source}"

    async def run(self, statements: str, *parameters: object) -> list[TupleRow]:
        """Statements of an application; rows of the last one, if it gives some. Several are one transaction."""
        async with await psycopg.AsyncConnection.connect(self.url, autocommit=True) as connection:
            await connection.execute("SET search_path = public")
            cursor = await connection.execute(statements.encode(), parameters or None)
            return await cursor.fetchall() if cursor.description else []

    def start(self) -> None:
        self._stop.clear()
        settings = Settings.load(self.root)
        addresses = Addresses(self.url, self.clickhouse_url)
        self._task = asyncio.create_task(
            run_worker(settings, addresses, self._stop, on_step=lambda step: self.on_step(step))
        )

    async def stop(self) -> None:
        """Let it end well. Raises what it had failed with."""
        task, self._task = self._task, None
        self._stop.set()
        if task is not None:
            await task

    async def ended(self) -> None:
        """Wait until it ends by itself. Raises what it failed with."""
        task, self._task = self._task, None
        assert task is not None
        await task

    async def die_at(self, step: str) -> None:
        """Start it, and end it as soon as it announces `step`."""

        def die(announced: str) -> None:
            if announced == step:
                raise Died

        self.on_step = die
        self.start()
        with suppress(Died):
            await self.ended()
        self.on_step = lambda step: None

    async def assert_whole(self, *, from_empty: bool = True, resync: bool = False) -> None:
        await self.mirrored.assert_whole(from_empty=from_empty, resync=resync)


@asynccontextmanager
async def mirror_side(
    postgres_url: str, clickhouse_url: str, migrated: str, tables: Sequence[str]
) -> AsyncIterator[MirrorSide]:
    """A new database of the server, and a project that mirrors `tables` from it. The worker is not started yet."""
    name = f"m_{uuid4().hex[:12]}"
    server = Database(postgres_url, "postgres")
    await server.run(f"CREATE DATABASE {name} TEMPLATE {migrated}")
    clickhouse = await ClickHouse.connect(clickhouse_url, database=name)
    await create_schema(clickhouse)
    with project_folder(mirror_project(tables, name)) as root:
        mirrored = Mirrored(make_conninfo(postgres_url, dbname=name), clickhouse, name, tables)
        side = MirrorSide(mirrored, root, clickhouse_url)
        try:
            yield side
        finally:
            try:
                await side.stop()
            finally:
                await clickhouse.execute(f"DROP DATABASE IF EXISTS `{name}`")
                await clickhouse.close()
                await drop_database(server, name)
