"""`headrace rebuild`: make one read model anew from the event log."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from headrace.cli.connections import open_stores
from headrace.cli.output import AsJson, Folder, load_settings, note, print_json, run
from headrace.errors import Unknown
from headrace.settings import Settings
from headrace.warehouse.definitions import DROPPED, WANTED, read_definitions, write_definition


def rebuild(
    name: Annotated[str, typer.Argument(help="The stream or table.")], project: Folder = Path(), as_json: AsJson = False
) -> None:
    """Ask the worker to drop a stream or table and fill it again, with all that reads it."""
    run(_rebuild(load_settings(project), name))
    note(f"{name} will be rebuilt by the worker; `headrace status` shows when it is ready.")
    if as_json:
        print_json({"name": name, "state": WANTED})


async def _rebuild(settings: Settings, name: str) -> None:
    async with open_stores(settings) as stores:
        stored = (await read_definitions(stores.clickhouse, settings.project)).get(name)
        if stored is None or stored.state == DROPPED:
            raise Unknown(f'There is no stream or table "{name[:60]}".', hint="`headrace status` lists them.")
        wanted = replace(stored, state=WANTED, applied_batch=0, problem="")
        await write_definition(stores.clickhouse, settings.project, wanted)
