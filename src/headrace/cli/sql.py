"""`headrace sql`: streaming SQL and ClickHouse SQL from the command line.

CREATE and DROP of streams and tables are checked here and carried out by the worker, the only one that changes read
models. Everything else goes to ClickHouse, read-only.
"""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from headrace.cli.connections import Stores, open_stores
from headrace.cli.output import AsJson, Folder, load_settings, note, print_json, print_rows, run
from headrace.commands.domain import Domain
from headrace.errors import InvalidInput, InvalidSQL, Unavailable, Unknown
from headrace.read_models.deploy import aggregate_functions, check, define_one
from headrace.runtime.health import WORKER_SILENT_MAX_S
from headrace.runtime.project import load_domain
from headrace.settings import Settings
from headrace.streaming_sql import ast
from headrace.streaming_sql.definition import Definition, define
from headrace.streaming_sql.dependencies import order
from headrace.streaming_sql.names import changes
from headrace.streaming_sql.parser import parse
from headrace.warehouse.definitions import (
    DROPPED,
    FAILED,
    READY,
    UNWANTED,
    WANTED,
    StoredDefinition,
    read_definitions,
    write_definition,
)
from headrace.warehouse.event_views import columns
from headrace.warehouse.mirrors import READY as MIRRORED
from headrace.warehouse.mirrors import read_mirrors
from headrace.warehouse.watermark import read_watermark

WAIT_MAX_S = 600.0
POLL_S = 0.1
ROWS_MAX = 10_000
KEYWORDS = ("CREATE", "DROP", "SHOW", "DESCRIBE")


def sql(
    statement: Annotated[str, typer.Argument(help="The statement; - reads it from standard input.")],
    project: Folder = Path(),
    as_json: AsJson = False,
) -> None:
    """Create, drop and describe streams and tables, or ask ClickHouse."""
    text = sys.stdin.read() if statement == "-" else statement
    if not text.strip():
        raise InvalidInput("The statement is empty.", hint='Write headrace sql "SHOW TABLES".')
    run(_sql(load_settings(project), text, as_json=as_json))


async def _sql(settings: Settings, text: str, *, as_json: bool) -> None:
    async with open_stores(settings) as stores:
        if text.split(maxsplit=1)[0].upper() not in KEYWORDS:
            await _ask(stores, text, as_json=as_json)
            return
        session = _Session(settings, stores)
        for statement in parse(text):
            await session.run(statement, as_json=as_json)


async def _ask(stores: Stores, text: str, *, as_json: bool) -> None:
    settings = {"readonly": 2, "max_result_rows": ROWS_MAX, "result_overflow_mode": "throw"}
    names, rows = await stores.clickhouse.table(text, settings=settings)
    print_rows(names, rows, as_json=as_json)


class _Session:
    def __init__(self, settings: Settings, stores: Stores) -> None:
        self._settings = settings
        self._stores = stores
        self._clickhouse = stores.clickhouse
        self._events = Domain.from_module(load_domain(settings.root)).events.by_name()

    async def run(self, statement: ast.Statement, *, as_json: bool) -> None:
        stored = await read_definitions(self._clickhouse, self._settings.project)
        existing = {name: each for name, each in stored.items() if each.state != DROPPED}
        match statement:
            case ast.Create():
                await self._create(statement, stored, existing, as_json=as_json)
            case ast.Drop():
                await self._drop(statement, existing, as_json=as_json)
            case ast.Show():
                self._show(statement, existing, as_json=as_json)
            case ast.Describe():
                await self._describe(statement, existing, as_json=as_json)

    async def _create(
        self,
        statement: ast.Create,
        stored: dict[str, StoredDefinition],
        existing: dict[str, StoredDefinition],
        *,
        as_json: bool,
    ) -> None:
        name = statement.name.text
        if name in existing and statement.if_not_exists:
            note(f"{name} exists already.")
            return
        if name in existing and not statement.or_replace:
            raise InvalidSQL(f'"{name}" exists already.', hint="Write CREATE OR REPLACE, or DROP it first.")
        aggregates = await aggregate_functions(self._clickhouse)
        definition = define(statement, aggregates)
        others = [define_one(each.statement, aggregates) for key, each in existing.items() if key != name]
        mirrors = await self._mirrors()
        ordered = order([*others, definition], self._events, mirrors)
        (definition,) = (each for each in ordered if each.name == name)
        if (
            mirrors.get(definition.mirrored, MIRRORED) == MIRRORED
        ):  # one that is being copied has no columns to ask about
            await check(self._clickhouse, definition)
        await self._ask_for(_row(definition, WANTED, stored.get(name)), READY, as_json=as_json)

    async def _mirrors(self) -> dict[str, str]:
        """The mirrored tables and their states."""
        mirrors = await read_mirrors(self._clickhouse, self._settings.project)
        return {name: each.state for name, each in mirrors.items() if each.in_service}

    async def _drop(self, statement: ast.Drop, existing: dict[str, StoredDefinition], *, as_json: bool) -> None:
        name = statement.name.text
        if name not in existing:
            if not statement.if_exists:
                raise Unknown(f'There is no {statement.kind} "{name}".', hint="SHOW STREAMS and SHOW TABLES list them.")
            return
        definition = define_one(existing[name].statement, await aggregate_functions(self._clickhouse))
        if definition.kind != statement.kind:
            raise InvalidSQL(f'"{name}" is a {definition.kind}.', hint=f"Write DROP {definition.kind.upper()} {name}.")
        await self._ask_for(replace(existing[name], state=UNWANTED), DROPPED, as_json=as_json)

    def _show(self, statement: ast.Show, existing: dict[str, StoredDefinition], *, as_json: bool) -> None:
        if statement.what == "events":
            rows = [[name, event.schema_version, ", ".join(columns(event))] for name, event in self._events.items()]
            print_rows(["event", "version", "columns"], rows, as_json=as_json)
            return
        kind = statement.what.removesuffix("s")
        defined = [(define_one(each.statement, frozenset()), each) for each in existing.values()]
        rows = [[each.name, d.source, each.state, each.problem] for d, each in defined if d.kind == kind]
        print_rows([kind, "source", "state", "problem"], rows, as_json=as_json)

    async def _describe(self, statement: ast.Describe, existing: dict[str, StoredDefinition], *, as_json: bool) -> None:
        name = statement.name.text
        mirrors = [made for table in await self._mirrors() for made in (table, changes(table))]
        if name not in existing and name not in self._events and name not in mirrors:
            raise Unknown(
                f'There is no event, stream or table "{name}".', hint="SHOW EVENTS, SHOW STREAMS, SHOW TABLES."
            )
        described = await self._clickhouse.rows(f"DESCRIBE TABLE `{self._clickhouse.database}`.`{name}`")
        print_rows(["column", "type"], [row[:2] for row in described], as_json=as_json)
        if name in existing and not as_json:
            note(f"\n{existing[name].statement}\n\nstate: {existing[name].state} {existing[name].problem}")

    async def _ask_for(self, row: StoredDefinition, wanted: str, *, as_json: bool) -> None:
        """Write the request down, and wait until the worker has answered it."""
        asked = await write_definition(self._clickhouse, self._settings.project, row)
        if self._stores.owned or await self._worker_is_silent():
            note(f"{row.name}: written down; no worker is running, the next one does it.")
            if as_json:
                print_json({"name": row.name, "state": row.state})
            return
        deadline = time.monotonic() + WAIT_MAX_S
        while time.monotonic() < deadline:
            now = (await read_definitions(self._clickhouse, self._settings.project))[row.name]
            if now.revision > asked.revision and now.state in (READY, FAILED, DROPPED):
                if now.state != wanted:
                    raise InvalidSQL(f"{row.name} is {now.state}, not {wanted}.", now.problem)
                print_json({"name": row.name, "state": now.state}) if as_json else note(f"{row.name} is {now.state}.")
                return
            await asyncio.sleep(POLL_S)
        raise Unavailable(
            f"{row.name} is not {wanted} after {WAIT_MAX_S:g} s.", hint="`headrace status` shows the worker."
        )

    async def _worker_is_silent(self) -> bool:
        watermark = await read_watermark(self._clickhouse, self._settings.project)
        return (datetime.now(UTC) - watermark.written_at).total_seconds() > WORKER_SILENT_MAX_S


def _row(definition: Definition, state: str, earlier: StoredDefinition | None) -> StoredDefinition:
    revision = earlier.revision if earlier else 0
    return StoredDefinition(definition.name, definition.text, definition.fingerprint, state, revision=revision)
