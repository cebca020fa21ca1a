"""The worker's role: capture → load → confirm, and the read models kept beside it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from headrace.bus.batch import Batch, Idle
from headrace.capture.continuity import check_origin
from headrace.capture.origin import Origin
from headrace.capture.personal import Personal
from headrace.capture.source import Source
from headrace.errors import Unavailable, UnknownSource
from headrace.event_store.connection import connected
from headrace.event_store.migrate import migrate
from headrace.mirror.arrival import Arrival
from headrace.mirror.copy import Copy
from headrace.mirror.keeper import MirrorKeeper
from headrace.mirror.mirror import Mirror
from headrace.mirror.schedule import Schedule
from headrace.mirror.slot_watch import SlotWatch
from headrace.mirror.verify import Verifier
from headrace.read_models.advance import Advance
from headrace.read_models.deploy import Deployer
from headrace.read_models.keeper import Keeper
from headrace.read_models.loader import Loader
from headrace.read_models.model import ReadModels
from headrace.read_models.rewrite import Rewrite
from headrace.runtime.databases import Addresses
from headrace.runtime.project import Project
from headrace.runtime.spare_pandas import spare_pandas
from headrace.runtime.waiting import until_stopped, waiting
from headrace.settings import Settings
from headrace.streaming_sql.definition import Definition, define_all
from headrace.streaming_sql.parser import parse
from headrace.telemetry import logger
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.event_views import create_event_views
from headrace.warehouse.origins import read_origin, write_origin
from headrace.warehouse.plan import Plan
from headrace.warehouse.schema import create_schema

log = logger(__name__)

EVENTS_TABLE = "headrace.events"
HEARTBEAT_S = 1.0
NEXT_BATCH_WAIT_S = 0.2
DEPLOY_AGAIN_S = 1.0


def _ignore(step: str) -> None:
    """By default nobody listens to the steps."""


async def run_worker(
    settings: Settings, addresses: Addresses, stop: asyncio.Event, *, on_step: Callable[[str], None] = _ignore
) -> None:
    """Keep the read side up to date until `stop` is set. Waits while a database is away, and says so."""
    spare_pandas()
    project = Project.load(settings)
    await until_stopped(stop, _work(project, addresses, on_step))


async def _work(project: Project, addresses: Addresses, on_step: Callable[[str], None]) -> None:
    connect = partial(ClickHouse.connect, addresses.clickhouse_url, database=project.settings.database)
    clickhouse = await waiting("worker", connect)
    worker = Worker(project, addresses, clickhouse, on_step)
    try:
        await worker.run()
    finally:
        await worker.close()
        await clickhouse.close()


class Worker:
    """Wires one source: its slot, its loader and its read models."""

    def __init__(
        self, project: Project, addresses: Addresses, clickhouse: ClickHouse, on_step: Callable[[str], None]
    ) -> None:
        settings = project.settings
        self._project = project
        self._clickhouse = clickhouse
        self._on_step = on_step
        self._postgres_url = addresses.postgres_url
        self._personal = personal = Personal(
            {name: table.personal for name, table in settings.mirror.table.items() if table.personal}
        )
        self._source = Source(
            postgres_url=addresses.postgres_url,
            slot=settings.slot,
            publication=settings.slot,
            tables=[EVENTS_TABLE],
            buffer_bytes_max=settings.capture.buffer_bytes_max,
            batch_rows_max=settings.capture.batch_rows_max,
            appends=any(table.append_only for table in settings.mirror.table.values()),
            personal=personal,
        )
        source = settings.project
        self._mirror = mirror = Mirror(
            clickhouse=clickhouse,
            source=source,
            postgres_url=addresses.postgres_url,
            settings=settings.mirror.table,
            personal=personal,
        )
        self._models = models = ReadModels()
        self._advance = advance = Advance(clickhouse=clickhouse, source=source)
        events = project.domain.events
        self._loader = loader = Loader(
            clickhouse=clickhouse,
            source=source,
            models=models,
            advance=advance,
            events=events,
            tables=mirror,
            on_step=on_step,
        )
        self._deployer = deployer = Deployer(
            clickhouse=clickhouse, source=source, models=models, event_types=events.by_name(), mirrored=mirror
        )
        self._rewrite = Rewrite(
            clickhouse=clickhouse, source=source, events=events, refill=deployer.refill, on_step=on_step
        )
        self._keeper = Keeper(
            clickhouse=clickhouse,
            source=source,
            models=models,
            loader=loader,
            advance=advance,
            deployer=deployer,
            mirrored=mirror,
        )
        self._mirror_keeper = self._make_mirror_keeper()
        self._slot_watch = SlotWatch(
            postgres_url=addresses.postgres_url,
            slot=settings.slot,
            warn_bytes=settings.mirror.slot_warn_bytes,
            drop_bytes=settings.mirror.slot_drop_bytes,
        )
        self._verifications = Schedule(
            clickhouse=clickhouse,
            source=source,
            verifier=Verifier(clickhouse=clickhouse, source=source, postgres_url=addresses.postgres_url),
            every_h=settings.mirror.verify_every_h,
        )

    def _make_mirror_keeper(self) -> MirrorKeeper:
        settings, clickhouse, source = self._project.settings, self._clickhouse, self._project.settings.project
        copy = Copy(
            clickhouse=clickhouse,
            source=source,
            postgres_url=self._postgres_url,
            workers=settings.mirror.copy_workers,
            bytes_per_s_max=settings.mirror.copy_bytes_per_s_max,
            personal=self._personal,
        )
        arrival = Arrival(
            clickhouse=clickhouse,
            postgres_url=self._postgres_url,
            publication=settings.slot,
            settings=settings.mirror.table,
            mirror=self._mirror,
            loader=self._loader,
            copy=copy,
            refill=self._deployer.refill,
            reads_appends=lambda: self._source.reads_appends,
        )
        return MirrorKeeper(
            clickhouse=clickhouse,
            source=source,
            postgres_url=self._postgres_url,
            publication=settings.slot,
            patterns=settings.mirror.tables,
            settings=settings.mirror.table,
            mirror=self._mirror,
            loader=self._loader,
            arrival=arrival,
            refill=self._deployer.refill,
            personal=self._personal,
        )

    async def run(self) -> None:
        """Resume, then load and keep until cancelled. What fails for good is raised."""
        unfinished = await waiting("worker", self._resume)
        origin = await waiting("worker", self._find_origin)
        await waiting("worker", partial(self._source.start, after=self._loader.watermark.position, origin=origin))
        if unfinished is not None:
            await self._repeat(unfinished)
        deployed = await waiting("worker", self._deploy)
        async with asyncio.TaskGroup() as group:
            if not deployed:
                group.create_task(self._deploy_later())
            group.create_task(self._keeper.run())
            group.create_task(self._mirror_keeper.run())
            group.create_task(self._verifications.run())
            group.create_task(self._slot_watch.run())
            group.create_task(self._load())

    async def close(self) -> None:
        await self._source.close()

    async def _resume(self) -> Plan | None:
        """Find out how the last worker ended; the batch that it left unfinished, if any. Safe to repeat."""
        await migrate_store(self._postgres_url)
        await self._source.prepare()
        await create_schema(self._clickhouse)
        await self._rewrite.run()
        await create_event_views(self._clickhouse, self._project.domain.events)
        await self._mirror.resume()
        await self._advance.resume()
        await self._deployer.resume()
        return await self._loader.resume()

    async def _find_origin(self) -> Origin:
        """The server that is read from now on, written down. Raises Corrupt when its log is not what was loaded."""
        source = self._project.settings.project
        known = await read_origin(self._clickhouse, source)
        found = await check_origin(self._postgres_url, known and Origin(*known), self._loader.watermark.position)
        if found != known:
            await write_origin(self._clickhouse, source, *found)
        return found

    async def _deploy(self) -> bool:
        """Make the project's read models. Resumes first: an earlier attempt may have been interrupted.

        False: a definition reads a table that is to be mirrored, and that PostgreSQL does not have yet.
        """
        await self._mirror_keeper.discover()  # the definitions may read tables that were named just now
        await self._deployer.resume()
        try:
            await self._deployer.deploy(self._wanted())
        except UnknownSource as error:
            if not self._project.settings.mirror.tables:
                raise
            log.warning("definitions_wait_for_a_table", reason=str(error))
            return False
        return True

    async def _deploy_later(self) -> None:
        """Try again until the tables are there; everything else goes on."""
        while True:
            await asyncio.sleep(DEPLOY_AGAIN_S)
            try:
                async with self._loader.lock:
                    await self._deployer.deploy(self._wanted())
                return
            except UnknownSource:
                continue
            except Unavailable as error:
                log.warning("definitions_wait", reason=str(error))

    async def _repeat(self, unfinished: Plan) -> None:
        log.info("repeating_unfinished_batch", batch=unfinished.batch, last=str(unfinished.last))
        batch = None
        while batch is None:
            got = await self._source.next_batch(last=unfinished.last, wait_s=NEXT_BATCH_WAIT_S)
            batch = got if isinstance(got, Batch) else None
        await self._load_one(batch, unfinished)

    async def _load(self) -> None:
        heartbeat_at = 0.0
        while True:
            got = await self._source.next_batch(wait_s=NEXT_BATCH_WAIT_S)
            if isinstance(got, Batch):
                await self._load_one(got)
                continue
            due = time.monotonic() >= heartbeat_at
            if isinstance(got, Idle) or (due and self._source.lag().connected):
                await waiting("heartbeat", partial(self._vouch, got))
                heartbeat_at = time.monotonic() + HEARTBEAT_S

    async def _load_one(self, batch: Batch, unfinished: Plan | None = None) -> None:
        await self._loader.load(batch, unfinished)
        if batch.confirm_lsn:
            self._source.confirm(batch.confirm_lsn)
            self._on_step("confirmed")

    async def _vouch(self, idle: Idle | None) -> None:
        if idle is None:
            await self._loader.vouch(self._loader.watermark.position)
            return
        await self._loader.vouch(idle.position, datetime.now(UTC))
        self._source.confirm(idle.lsn)

    def _wanted(self) -> list[Definition]:
        statements = [each for file in self._project.statements for each in parse(file.text, str(file.path))]
        return define_all(statements, self._deployer.aggregates)


async def migrate_store(postgres_url: str) -> None:
    """Make the events table, if nobody did: the publication needs it."""
    async with connected(postgres_url) as connection:
        await migrate(connection)
