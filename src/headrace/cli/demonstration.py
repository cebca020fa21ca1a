"""What the demo does on a running stack: bring in the history, wait until all of it is visible, ask, go on logging."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Any, Self

from rich.progress import Progress, TaskID

from headrace.cli.output import note, print_rows, progress
from headrace.commands.dispatch import Dispatcher
from headrace.errors import Unavailable
from headrace.event_store.event_store import EventStore
from headrace.events.position import Position
from headrace.queries.execute import Executor
from headrace.runtime.databases import Addresses
from headrace.runtime.project import Project, load_module
from headrace.runtime.waiting import waiting
from headrace.settings import Settings
from headrace.telemetry import logger
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.definitions import FILLING, WANTED, read_definitions
from headrace.warehouse.schema import create_schema
from headrace.warehouse.watermark import WatermarkReader

log = logger(__name__)

SEED = 20260101
CATCH_UP_MAX_S = 600.0
LOOK_EVERY_S = 0.1
COMMANDS_PER_S = 5
ROWS_SHOWN = 14
QUESTIONS = {
    "distance_run_per_month": "Total distance run per month, for the last year",
    "calories_per_week": "Weekly average of calories",
    "duration_weekday_weekend": "Workout durations, weekdays against weekends",
    "pace_by_day_of_week": "Average running pace, minutes per kilometre, by day of the week",
}


class Demonstration:
    """The wellness example as its users meet it, through the same doors: event store, dispatcher and queries."""

    def __init__(self, project: Project, store: EventStore, clickhouse: ClickHouse) -> None:
        self._project = project
        self._store = store
        self._clickhouse = clickhouse
        self._simulation = load_module(project.settings.root / "simulate.py")
        self._watermarks = WatermarkReader(clickhouse=clickhouse, source=project.settings.project)

    @classmethod
    async def open(cls, settings: Settings, addresses: Addresses, stack: AsyncExitStack) -> Self:
        """Connect to a running stack; `stack` disconnects."""
        store = EventStore(addresses.postgres_url)
        await waiting("demo", store.open)
        stack.push_async_callback(store.close)
        clickhouse = await waiting(
            "demo", partial(ClickHouse.connect, addresses.clickhouse_url, database=settings.database)
        )
        stack.push_async_callback(clickhouse.close)
        await create_schema(clickhouse)
        return cls(Project.load(settings), store, clickhouse)

    async def load_and_answer(self, events: int, users: int, began: float, *, show: bool) -> dict[str, Any]:
        """Bring in what is missing of the history, wait until it is visible, and answer the article's questions."""
        held = await self._store.count_events()
        appending = time.perf_counter()
        with progress() as bars:
            appended_s = await self._load(bars, events, users, held)
        visible_s = time.perf_counter() - appending
        answers = {name: await self._ask(name, title, show=show) for name, title in QUESTIONS.items()}
        new = max(0, events - held)
        return {
            "events_appended": await self._store.count_events(),
            "events_visible": await self._count_visible(),
            "append_per_s": round(new / appended_s),
            "visible_per_s": round(new / visible_s),
            "seconds": round(time.perf_counter() - began, 1),
            "answers": answers,
        }

    async def go_on_logging(self, users: int) -> None:
        """Simulated people send commands, until cancelled."""
        dispatcher = Dispatcher(store=self._store, domain=self._project.domain)
        for command in self._simulation.live(users, seed=time.time_ns()):
            try:
                await dispatcher.dispatch(command)
            except Unavailable as error:
                log.warning("demo_waits", reason=str(error))
            await asyncio.sleep(1 / COMMANDS_PER_S)

    async def _load(self, bars: Progress, events: int, users: int, held: int) -> float:
        """Append and load side by side; returns the seconds that appending alone took."""
        began = time.perf_counter()
        appended = bars.add_task("appended", total=max(events, held), completed=held, rate="")
        visible = bars.add_task("visible", total=max(events, held), completed=0, rate="")
        watching = asyncio.create_task(self._watch(bars, appended, visible, began))
        try:
            if held < events:
                await self._store.bulk_append(
                    islice(self._history(events, users), held, None),
                    on_chunk=lambda done: bars.update(
                        appended, completed=held + done.events, rate=_rate(done.events, began)
                    ),
                )
            appended_s = time.perf_counter() - began
            await self._catch_up(await self._store.read_position())
            bars.update(visible, completed=await self._count_visible())
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        return max(appended_s, 1e-3)

    async def _watch(self, bars: Progress, appended: TaskID, visible: TaskID, began: float) -> None:
        first = await self._count_visible()
        while True:
            count = await self._count_visible()
            lag = bars.tasks[appended].completed - count
            bars.update(visible, completed=count, rate=f"{_rate(count - first, began)}, {max(0, lag):,.0f} behind")
            await asyncio.sleep(LOOK_EVERY_S)

    async def _catch_up(self, position: Position) -> None:
        """Wait for the watermark, and for read models that are still being filled."""
        await self._watermarks.wait_for(position, timeout_s=CATCH_UP_MAX_S)
        deadline = time.monotonic() + CATCH_UP_MAX_S
        while unready := [
            each.name
            for each in (await read_definitions(self._clickhouse, self._project.settings.project)).values()
            if each.state in (WANTED, FILLING)
        ]:
            if time.monotonic() > deadline:
                raise Unavailable(f"Not filled within {CATCH_UP_MAX_S:g} s: {', '.join(unready)}.")
            await asyncio.sleep(LOOK_EVERY_S)

    async def _ask(self, name: str, title: str, *, show: bool) -> list[dict[str, Any]]:
        executor = Executor(
            clickhouse=self._clickhouse, watermarks=self._watermarks, limits=self._project.settings.query
        )
        answer = await executor.answer(self._project.catalog.get(name), {})
        records = answer.records()
        if show:
            columns = [column.name for column in answer.column_list()]
            rows = [[record[column] for column in columns] for record in records[-ROWS_SHOWN:]]
            print_rows(columns, rows, as_json=False, title=title)
            if len(records) > ROWS_SHOWN:
                note(f"… the last {ROWS_SHOWN} of {len(records)} rows; `headrace query {name}` shows them all")
        return records

    async def _count_visible(self) -> int:
        ((count,),) = await self._clickhouse.rows(f"SELECT count() FROM `{self._clickhouse.database}`.events")
        return int(count)

    def _history(self, events: int, users: int) -> Iterator[tuple[str, Any]]:
        """The history, the same one in each run: its end is written down, so that a cut-off import can go on."""
        kept = self._project.settings.data / "demo.json"
        if not kept.exists():
            kept.write_text(json.dumps({"until": datetime.now(UTC).replace(microsecond=0).isoformat()}))
        until = datetime.fromisoformat(json.loads(kept.read_text())["until"])
        history: Iterator[tuple[str, Any]] = self._simulation.history(events, users, SEED, until)
        return history


def _rate(count: float, began: float) -> str:
    return f"{count / max(time.perf_counter() - began, 1e-3):,.0f}/s"
