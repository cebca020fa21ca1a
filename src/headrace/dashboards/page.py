"""A page being shown: the answers of all its tiles at once, first in one go, then as they change.

One slow or failing tile never holds up or breaks the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Self
from urllib.parse import urlencode

import msgspec

from headrace.dashboards.definition import Dashboard, Tile, values_for
from headrace.dashboards.tile_view import TileView, failed, loading, view
from headrace.dashboards.time_range import TimeRange
from headrace.errors import Error, Unavailable
from headrace.queries.answer import Answer, age
from headrace.queries.catalog import Catalog, Query
from headrace.queries.execute import Executor
from headrace.queries.live import INTERVAL_S, KEEPALIVE, LiveClients, follow
from headrace.queries.parameters import Values
from headrace.telemetry import logger

log = logger(__name__)

# A page waits this long for its tiles; what takes longer arrives over the live feed.
FIRST_PAINT_S = 1.5
TILES_AT_ONCE = 6
LAG_INTERVAL_S = 1.0


@dataclass(frozen=True, slots=True)
class TileRequest:
    """One tile with the query behind it and the values that it is asked with."""

    id: str
    tile: Tile
    query: Query
    values: Mapping[str, list[str]]

    @property
    def href(self) -> str:
        """The same answer from the API."""
        sent = urlencode([(name, value) for name, values in self.values.items() for value in values])
        return f"/queries/{self.query.name}" + (f"?{sent}" if sent else "")

    def show(self, said: Answer | Error) -> TileView:
        """The tile with what its query said."""
        if isinstance(said, Error):
            return failed(self.id, self.tile, said)
        try:
            return view(self.id, self.tile, said)
        except Exception as error:
            # A defect of ours in one tile must not take the page with it.
            log.error("tile_failed", query=self.query.name, tile=self.tile.title, exc_info=error)
            return failed(self.id, self.tile, Error("This tile cannot be shown.", type(error).__name__))


@dataclass(frozen=True, slots=True)
class Page:
    """One dashboard with one reader's parameters and time range."""

    dashboard: Dashboard
    time_range: TimeRange
    values: Mapping[str, list[str]]
    tiles: tuple[TileRequest, ...]

    @classmethod
    def of(cls, dashboard: Dashboard, catalog: Catalog, sent: Values, now: datetime) -> Self:
        """Take from a request what this page understands. Raises InvalidInput for a malformed time range."""
        time_range = TimeRange.of(sent, default=dashboard.range, now=now)
        own = {p.name: list(sent.get(p.name, ())) or [p.default] for p in dashboard.parameters}
        given = {name: values for name, values in own.items() if values != [""]} | time_range.values
        tiles = []
        for number, tile in enumerate(dashboard.tiles):
            query = catalog.get(tile.query)
            tiles.append(TileRequest(f"tile-{number}", tile, query, values_for(tile, query, given)))
        return cls(dashboard, time_range, own, tuple(tiles))


@dataclass(frozen=True, slots=True)
class Lag:
    """How far the page is behind: the watermark, and the seconds since it was declared (None before the first)."""

    watermark: str
    age_s: float | None


async def read_lag(executor: Executor) -> Lag | None:
    """The lag now; None when ClickHouse cannot be reached."""
    try:
        watermark = await executor.watermarks.latest()
    except Unavailable:
        return None
    return Lag(str(watermark.position), age(watermark))


async def first_views(page: Page, executor: Executor) -> list[TileView]:
    """Every tile in order: answered, failed, or still loading after `FIRST_PAINT_S`."""
    gate = asyncio.Semaphore(TILES_AT_ONCE)

    async def ask(request: TileRequest) -> TileView:
        async with gate:
            try:
                return request.show(await executor.answer(request.query, request.values, age_max_s=INTERVAL_S))
            except Error as error:
                return request.show(error)

    tasks = [asyncio.create_task(ask(request)) for request in page.tiles]
    _, pending = await asyncio.wait(tasks, timeout=FIRST_PAINT_S)
    for task in pending:
        task.cancel()
    return [
        loading(request.id, request.tile) if task in pending else task.result()
        for request, task in zip(page.tiles, tasks, strict=True)
    ]


async def updates(page: Page, executor: Executor, clients: LiveClients) -> AsyncIterator[TileView | Lag | bytes]:
    """One feed for the whole page: each tile now and after each change, and the lag every `LAG_INTERVAL_S`.

    One feed, not one for each tile, because a browser opens six connections to a server at most.
    """
    queue: asyncio.Queue[TileView | Lag | bytes | None] = asyncio.Queue(maxsize=len(page.tiles))
    tasks = [asyncio.create_task(_follow_tile(request, executor, clients, queue)) for request in page.tiles]
    tasks.append(asyncio.create_task(_follow_lag(executor, clients, queue)))
    try:
        with clients.counted():
            while (update := await queue.get()) is not None:
                yield update
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _follow_tile(
    request: TileRequest,
    executor: Executor,
    clients: LiveClients,
    queue: asyncio.Queue[TileView | Lag | bytes | None],
) -> None:
    async for said in follow(executor, request.query, request.values, clients=clients):
        if said is not None:
            await queue.put(request.show(said))


async def _follow_lag(
    executor: Executor, clients: LiveClients, queue: asyncio.Queue[TileView | Lag | bytes | None]
) -> None:
    while True:
        await queue.put(await read_lag(executor) or KEEPALIVE)
        if not await clients.pause(LAG_INTERVAL_S):
            await queue.put(None)
            return


def lag_as_json(lag: Lag) -> bytes:
    """The data of a `lag` event."""
    return msgspec.json.encode({"watermark": lag.watermark, "age_s": lag.age_s})
