"""`headrace rebuild`: make one read model anew from the event log, or the whole read side from the event store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from headrace.capture.connection import SlotAddress
from headrace.capture.slot_removal import forget_slot
from headrace.cli.connections import open_stores
from headrace.cli.output import AsJson, Folder, load_settings, note, print_json, run
from headrace.errors import InvalidInput, Unknown
from headrace.runtime.databases import open_databases
from headrace.settings import Settings
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.definitions import DROPPED, WANTED, read_definitions, write_definition
from headrace.warehouse.schema import create_schema, forget_source


def rebuild(
    name: Annotated[str, typer.Argument(help="The stream or table.")] = "",
    everything: Annotated[bool, typer.Option("--all", help="The whole read side; no worker may be running.")] = False,
    project: Folder = Path(),
    as_json: AsJson = False,
) -> None:
    """Drop a stream or table and fill it again, with all that reads it; or, with --all, everything in ClickHouse."""
    settings = load_settings(project)
    if bool(name) == everything:
        raise InvalidInput("Name one stream or table, or say --all.", hint="`headrace status` lists the read models.")
    run(_rebuild_all(settings) if everything else _rebuild(settings, name))
    if as_json:
        print_json({"name": name, "all": everything, "state": WANTED})


async def _rebuild(settings: Settings, name: str) -> None:
    async with open_stores(settings) as stores:
        stored = (await read_definitions(stores.clickhouse, settings.project)).get(name)
        if stored is None or stored.state == DROPPED:
            raise Unknown(f'There is no stream or table "{name[:60]}".', hint="`headrace status` lists them.")
        wanted = replace(stored, state=WANTED, applied_batch=0, problem="")
        await write_definition(stores.clickhouse, settings.project, wanted)
        note(f"{name} will be rebuilt by the worker; `headrace status` shows when it is ready.")


async def _rebuild_all(settings: Settings) -> None:
    """The slot goes first: while a worker reads it nothing is dropped, and without it none can go on half-way."""
    async with open_databases(settings) as databases:
        await forget_slot(SlotAddress(databases.addresses.postgres_url, settings.slot, settings.slot))
        clickhouse = await ClickHouse.connect(databases.addresses.clickhouse_url, database=settings.database)
        try:
            await create_schema(clickhouse)
            await forget_source(clickhouse, settings.project)
        finally:
            await clickhouse.close()
    note("The read side is empty. The next worker loads every event from the event store again.")
