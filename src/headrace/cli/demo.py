"""`headrace demo`: the wellness example on embedded databases, with a year of history and people who go on logging."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from headrace.cli.demonstration import Demonstration
from headrace.cli.example import place_example
from headrace.cli.output import AsJson, load_settings, note, print_json, run
from headrace.errors import AlreadyRunning
from headrace.runtime.databases import open_databases
from headrace.runtime.listener import take_port
from headrace.runtime.stack import run_roles
from headrace.runtime.supervisor import stop_on_signals
from headrace.runtime.waiting import until_stopped
from headrace.settings import Settings


def demo(
    events: Annotated[int, typer.Option(min=1, help="Events of history.")] = 1_000_000,
    users: Annotated[int, typer.Option(min=1, help="People who log them.")] = 1_000,
    once: Annotated[bool, typer.Option("--once", help="Load, answer and stop, without serving.")] = False,
    folder: Annotated[Path, typer.Option(help="Where the example and its data go.")] = Path(".headrace/demo"),
    as_json: AsJson = False,
) -> None:
    """Run the wellness example: a year of history through the whole pipeline, its answers, and a live page."""
    root = place_example("wellness", folder / "wellness")
    if not run(_demo(load_settings(root), events, users, once=once, as_json=as_json)):
        raise typer.Exit(1)


async def _demo(settings: Settings, events: int, users: int, *, once: bool, as_json: bool) -> bool:
    """Whether everything that was appended is visible."""
    stop = asyncio.Event()
    stop_on_signals(stop)
    if not once:
        settings = take_port(settings)  # before minutes of work, not after
    began = time.perf_counter()
    note("Starting PostgreSQL and ClickHouse …")
    async with AsyncExitStack() as stack:
        databases = await stack.enter_async_context(open_databases(settings))
        if databases.attached:
            raise AlreadyRunning(
                "The demo is running already.", f"In {settings.root}.", "Stop it first, or give this one a --folder."
            )
        await stack.enter_async_context(run_roles(settings, ["worker"], stop, log_level="warning"))
        shown = await until_stopped(stop, Demonstration.open(settings, databases.addresses, stack))
        result = None
        if shown is not None:
            result = await until_stopped(stop, shown.load_and_answer(events, users, began, show=not as_json))
        if shown is None or result is None:
            note("Stopped before everything was in; the next run goes on from here.")
            return False
        if as_json:
            print_json(result)
        if not once:
            await stack.enter_async_context(run_roles(settings, ["serve"], stop, log_level="warning"))
            port = urlsplit(databases.addresses.clickhouse_url).port
            _say_what_next(settings, port, result["events_visible"], result["seconds"])
            await until_stopped(stop, shown.go_on_logging(users))
            note("\nStopping …")
        return bool(result["events_appended"] == result["events_visible"])


def _say_what_next(settings: Settings, clickhouse_port: int | None, events: int, seconds: float) -> None:
    url = f"http://{settings.http.host}:{settings.http.port}"
    note(f"\n[bold]{events:,} events[/] are in and answered after {seconds:g} s. The page: [bold]{url}[/]")
    note("People go on logging; Ctrl-C stops everything. Three commands to try next, in another terminal:\n")
    body = '{"userId": "user123", "type": "run", "durationSeconds": 3600, "distanceKm": 10.5}'
    note(f"  curl -X POST {url}/log-workout -H 'Content-Type: application/json' -d '{body}'")
    sql = "SELECT user_id, type, sum(distance_km) FROM wellness_analytics.workouts_view GROUP BY user_id, type LIMIT 5"
    note(f'  curl http://127.0.0.1:{clickhouse_port}/ -d "{sql}"')
    note(f"  headrace status --project {settings.root}\n")
