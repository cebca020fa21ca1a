"""The API's role: wire the resources to the stores and serve them until told to stop."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from importlib.metadata import version

import uvicorn

from headrace.commands.dispatch import Dispatcher
from headrace.event_store.event_store import EventStore
from headrace.http.app import create_app
from headrace.http.commands import command_routes
from headrace.http.dashboards import dashboard_routes
from headrace.http.health import health_routes
from headrace.http.queries import query_routes
from headrace.http.streams import stream_routes
from headrace.queries.execute import Executor
from headrace.queries.live import LiveClients
from headrace.runtime.databases import Addresses
from headrace.runtime.health import Health
from headrace.runtime.listener import listen
from headrace.runtime.project import Project
from headrace.runtime.waiting import until_stopped, waiting
from headrace.settings import Settings
from headrace.telemetry import logger
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.schema import create_schema
from headrace.warehouse.watermark import WatermarkReader

log = logger(__name__)

DRAIN_MAX_S = 10


async def run_api(settings: Settings, addresses: Addresses, stop: asyncio.Event) -> None:
    """Serve until `stop` is set, then let requests under way end. Raises AlreadyRunning for a port in use."""
    project = Project.load(settings)
    with listen(settings.http.host, settings.http.port) as listener:
        async with AsyncExitStack() as stack:
            stores = await until_stopped(stop, _open(settings, addresses, stack))
            if stores is not None:
                await _serve(project, *stores, addresses.postgres_url, stop, listener)


async def _open(settings: Settings, addresses: Addresses, stack: AsyncExitStack) -> tuple[EventStore, ClickHouse]:
    """Both stores, however long they take to answer; closed with `stack`."""
    store = EventStore(addresses.postgres_url, pool_size=settings.postgres.pool_size)
    await waiting("api", store.open)
    stack.push_async_callback(store.close)
    clickhouse = await waiting("api", partial(ClickHouse.connect, addresses.clickhouse_url, database=settings.database))
    stack.push_async_callback(clickhouse.close)
    await waiting("api", partial(create_schema, clickhouse))
    return store, clickhouse


async def _serve(
    project: Project,
    store: EventStore,
    clickhouse: ClickHouse,
    postgres_url: str,
    stop: asyncio.Event,
    listener: socket.socket,
) -> None:
    settings = project.settings
    clients = LiveClients()
    watermarks = WatermarkReader(clickhouse=clickhouse, source=settings.project)
    executor = Executor(clickhouse=clickhouse, watermarks=watermarks, limits=settings.query)
    app = create_app(
        title=settings.project,
        version=version("headrace"),
        routes=[
            *health_routes(Health(store, clickhouse, settings.project, postgres_url, settings.slot)),
            *command_routes(Dispatcher(store=store, domain=project.domain), project.domain),
            *stream_routes(store, project.domain),
            *query_routes(catalog=project.catalog, executor=executor, clients=clients),
            *dashboard_routes(
                dashboards=project.dashboards, catalog=project.catalog, executor=executor, clients=clients
            ),
        ],
        body_bytes_max=settings.http.body_bytes_max,
        host=settings.http.host,
    )
    server = _Server(uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=DRAIN_MAX_S))
    # What was imported lives as long as the process: a full collection would look through it for 40 ms each time.
    gc.collect()
    gc.freeze()
    log.info("api_listening", url=f"http://{settings.http.host}:{listener.getsockname()[1]}")
    await _serve_until(server, listener, stop, clients)


class _Server(uvicorn.Server):
    """Leaves signals alone: the role that runs us has its own."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _serve_until(server: _Server, listener: socket.socket, stop: asyncio.Event, clients: LiveClients) -> None:
    """Serve; on `stop` end the live feeds, which never end by themselves, and let the other requests finish."""
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait([serving, stopped], return_when=asyncio.FIRST_COMPLETED)
    clients.close()
    server.should_exit = True
    stopped.cancel()
    await serving
