"""`headrace dead-letters`: changes that could not be loaded, and what to do about them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from headrace.cli.connections import Stores, open_stores
from headrace.cli.output import AsJson, Folder, load_settings, note, print_facts, print_json, print_rows, run
from headrace.errors import InvalidInput
from headrace.events.position import Position
from headrace.settings import Settings
from headrace.warehouse.dead_letters import (
    DISCARDED,
    RETRY,
    DeadLetter,
    find_dead_letters,
    read_dead_letters,
    write_dead_letters,
)
from headrace.warehouse.definitions import DROPPED, WANTED, read_definitions, write_definition

app = typer.Typer(help="Changes that could not be loaded.", no_args_is_help=True)
At = Annotated[str, typer.Argument(help="The position, as `list` shows it.")]


@app.command("list")
def list_(project: Folder = Path(), as_json: AsJson = False) -> None:
    """List them in commit order."""
    letters = run(_read(load_settings(project)))
    rows = [[str(each.position), each.target, each.status, each.reason] for each in letters]
    print_rows(["position", "target", "status", "reason"], rows, as_json=as_json)


@app.command()
def show(position: At, project: Folder = Path(), as_json: AsJson = False) -> None:
    """Show one in full, with its raw bytes."""
    for letter in run(_find(load_settings(project), position)):
        raw = letter.raw.decode("utf-8", "backslashreplace")
        facts = {"position": str(letter.position), "target": letter.target, "status": letter.status}
        print_facts({**facts, "reason": letter.reason, "raw": raw}, as_json=as_json)


@app.command()
def retry(position: At, project: Folder = Path(), as_json: AsJson = False) -> None:
    """Try it again: its stream or table is rebuilt from the event log, with all that reads it."""
    targets = run(_retry(load_settings(project), position))
    note(f"{', '.join(targets)} will be rebuilt with it; `headrace status` shows when it is ready.")
    if as_json:
        print_json({"position": position, "status": RETRY, "targets": targets})


@app.command()
def discard(position: At, project: Folder = Path(), as_json: AsJson = False) -> None:
    """Leave it out for good; it stays on record."""
    targets = run(_discard(load_settings(project), position))
    note(f"Discarded for {', '.join(targets)}.")
    if as_json:
        print_json({"position": position, "status": DISCARDED, "targets": targets})


async def _read(settings: Settings) -> list[DeadLetter]:
    async with open_stores(settings) as stores:
        return await read_dead_letters(stores.clickhouse, settings.project)


async def _find(settings: Settings, position: str) -> list[DeadLetter]:
    async with open_stores(settings) as stores:
        return await find_dead_letters(stores.clickhouse, settings.project, Position.parse(position))


async def _retry(settings: Settings, position: str) -> list[str]:
    async with open_stores(settings) as stores:
        letters = await find_dead_letters(stores.clickhouse, settings.project, Position.parse(position))
        stored = await read_definitions(stores.clickhouse, settings.project)
        targets = [stored[each.target] for each in letters if each.target in stored]
        wanted = [replace(each, state=WANTED, applied_batch=0) for each in targets if each.state != DROPPED]
        if not wanted:
            raise InvalidInput(
                f"The change at {position} belongs to no stream or table, so it cannot be retried.",
                f"Its target: {', '.join(each.target for each in letters)}.",
                "An event that an upcaster refuses is tried again when the worker starts with a corrected one; "
                "`headrace dead-letters discard` settles any other.",
            )
        names = {each.name for each in wanted}
        await _decide(stores, settings, [each for each in letters if each.target in names], RETRY)
        for each in wanted:
            await write_definition(stores.clickhouse, settings.project, each)
        return sorted(names)


async def _discard(settings: Settings, position: str) -> list[str]:
    async with open_stores(settings) as stores:
        letters = await find_dead_letters(stores.clickhouse, settings.project, Position.parse(position))
        await _decide(stores, settings, letters, DISCARDED)
        return sorted(each.target for each in letters)


async def _decide(stores: Stores, settings: Settings, letters: list[DeadLetter], status: str) -> None:
    await write_dead_letters(stores.clickhouse, settings.project, [replace(each, status=status) for each in letters])
