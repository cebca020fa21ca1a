"""`headrace subscriptions`: how far reactors are, what they could not handle, and what to do about it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from headrace.cli.output import AsJson, Folder, load_settings, note, print_json, print_rows, run
from headrace.errors import Unknown
from headrace.event_store.event_store import EventStore
from headrace.event_store.subscription_state import LAG_MAX, State, SubscriptionStates
from headrace.runtime.databases import open_databases
from headrace.runtime.project import Project
from headrace.settings import Settings

app = typer.Typer(help="How far reactors are, and what they could not handle.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="The reactor's name.")]
Result = TypeVar("Result")


@app.command("list")
def list_(project: Folder = Path(), as_json: AsJson = False) -> None:
    """List them with their lag, in events that the reactor wants and has not handled."""
    columns = ["subscription", "state", "lag", "dead letters", "scheduled", "failed", "saved at", "problem"]
    print_rows(columns, run(_list(load_settings(project))), as_json=as_json)


@app.command("dead-letters")
def dead_letters(
    name: Annotated[str, typer.Argument(help="The reactor's name; none: all.")] = "",
    project: Folder = Path(),
    as_json: AsJson = False,
) -> None:
    """List events that a reactor could not handle, and those of the same key behind them, in order."""
    letters = run(_with(load_settings(project), lambda states: states.letters(name)))
    columns = ["subscription", "key", "stream", "version", "status", "reason"]
    rows = [[each.subscription, each.key, each.stream, each.version, each.status, each.reason] for each in letters]
    print_rows(columns, rows, as_json=as_json)


@app.command()
def pause(name: Name, project: Folder = Path(), as_json: AsJson = False) -> None:
    """Let it end what it has begun, and take up nothing more."""
    _set_state(project, name, "paused", as_json=as_json)


@app.command()
def resume(name: Name, project: Folder = Path(), as_json: AsJson = False) -> None:
    """Let it go on."""
    _set_state(project, name, "active", as_json=as_json)


@app.command()
def reset(name: Name, project: Folder = Path(), as_json: AsJson = False) -> None:
    """Handle every event again, from the first. Commands that were carried out before are not carried out twice."""
    run(_with(load_settings(project), lambda states: states.reset(name)))
    _say(f"{name} begins again at the first event.", {"subscription": name}, as_json=as_json)


@app.command()
def retry(
    name: Name,
    key: Annotated[str | None, typer.Argument(help="One key; none: all, and scheduled commands that failed.")] = None,
    project: Folder = Path(),
    as_json: AsJson = False,
) -> None:
    """Handle its dead letters again, in order."""
    count = run(_with(load_settings(project), lambda states: states.retry(name, key)))
    _say(f"{count} will be tried again.", {"subscription": name, "asked": count}, as_json=as_json)


@app.command()
def discard(
    name: Name,
    key: Annotated[str | None, typer.Argument(help="One key; none: scheduled commands that failed.")] = None,
    project: Folder = Path(),
    as_json: AsJson = False,
) -> None:
    """Leave out the event that a key waits for, for good, and handle those behind it."""
    if key is None:
        removed = run(_with(load_settings(project), lambda states: states.discard_scheduled(name)))
        _say(f"{removed} scheduled commands removed.", {"subscription": name, "removed": removed}, as_json=as_json)
        return
    count = run(_with(load_settings(project), lambda states: states.discard(name, key)))
    if not count:
        raise Unknown(
            f"No dead letter of {name} waits under the key {key[:80]!r}.",
            hint=f"`headrace subscriptions dead-letters {name}` lists them.",
        )
    _say(
        f"The first event of {key} will be left out, {count - 1} behind it handled.",
        {"subscription": name, "key": key, "behind": count - 1},
        as_json=as_json,
    )


def _set_state(folder: Path, name: str, state: State, *, as_json: bool) -> None:
    run(_with(load_settings(folder), lambda states: states.set_state(name, state)))
    _say(f"{name} is {state}.", {"subscription": name, "state": state}, as_json=as_json)


def _say(text: str, facts: dict[str, object], *, as_json: bool) -> None:
    note(text)
    if as_json:
        print_json(facts)


async def _list(settings: Settings) -> list[list[object]]:
    project = Project.load(settings)
    types = {each.name: each.types(project.domain.events) for each in project.reactors}
    async with _open(settings) as states:
        rows: list[list[object]] = []
        for each in await states.read():
            lag = await states.count_new(each.checkpoint, types.get(each.name))
            shown = lag if lag < LAG_MAX else f"{LAG_MAX:,} or more"
            counts = [each.dead_letters, each.scheduled, each.failed]
            rows.append(
                [each.name, each.state, shown, *counts, each.updated_at.isoformat(timespec="seconds"), each.problem]
            )
        return rows


async def _with(settings: Settings, ask: Callable[[SubscriptionStates], Awaitable[Result]]) -> Result:
    async with _open(settings) as states:
        return await ask(states)


@asynccontextmanager
async def _open(settings: Settings) -> AsyncIterator[SubscriptionStates]:
    async with (
        open_databases(settings) as databases,
        EventStore(databases.addresses.postgres_url, pool_size=2) as store,
    ):
        yield store.subscriptions
