"""`headrace mirror`: tables of PostgreSQL that are kept in ClickHouse."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from headrace.capture.obstacles import find_obstacles
from headrace.capture.slot_health import slot_health
from headrace.capture.source_tables import SourceTable, find_tables
from headrace.cli.connections import open_clickhouse_at
from headrace.cli.mirror_request import ask_worker
from headrace.cli.mirror_verify import verify
from headrace.cli.output import AsJson, Folder, load_settings, note, print_facts, print_json, print_rows, run
from headrace.errors import InvalidConfiguration
from headrace.mirror.layout import is_append_only, wanted_shape
from headrace.mirror.mirror import read_progress
from headrace.mirror.shape import mirrored_name
from headrace.mirror.table import objects_of
from headrace.runtime.databases import open_databases
from headrace.settings import Settings
from headrace.warehouse.mirrors import PAUSED, READY, read_mirrors
from headrace.warehouse.watermark import read_watermark

app = typer.Typer(help="Tables of PostgreSQL that are mirrored.", no_args_is_help=True)
app.command()(verify)
Tables = Annotated[list[str], typer.Argument(help="schema.table")]
_COLUMNS = ["table", "in ClickHouse", "state", "rows", "staged", "copied", "bytes copied", "problem"]


@app.command()
def status(project: Folder = Path(), as_json: AsJson = False) -> None:
    """Show every mirrored table and the replication slot; tables that are named and cannot be mirrored, and why."""
    found = run(_status(load_settings(project)))
    if as_json:
        print_json(found)
        return
    print_rows(_COLUMNS, [[row[name] for name in _COLUMNS] for row in found["tables"]], as_json=False)
    print_facts({**found["slot"], "lag, seconds": found["lag_s"]}, as_json=False)
    for obstacle in found["obstacles"]:
        note(f"{obstacle['table']} is not mirrored: {obstacle['reason']} {obstacle['hint']}")


@app.command()
def add(tables: Tables, project: Folder = Path()) -> None:
    """Mirror tables from now on, also when headrace.toml does not name them. Others are not touched."""
    run(_add(load_settings(project), tables))


@app.command()
def remove(tables: Tables, project: Folder = Path()) -> None:
    """Mirror tables no more, and drop them in ClickHouse. PostgreSQL keeps them."""
    run(_ask(load_settings(project), tables, "remove"))


@app.command()
def pause(tables: Tables, project: Folder = Path()) -> None:
    """Leave tables as they are; their changes are kept until they go on."""
    run(_ask(load_settings(project), tables, "pause"))


@app.command()
def resume(tables: Tables, project: Folder = Path()) -> None:
    """Let paused tables go on with what was kept."""
    run(_ask(load_settings(project), tables, "resume"))


@app.command()
def resync(tables: Tables, project: Folder = Path()) -> None:
    """Copy tables again beside what is there, and put the copy in its place when it is complete."""
    run(_ask(load_settings(project), tables, "resync"))


@app.command()
def explain(
    table: Annotated[str, typer.Argument(help="schema.table, or a pattern; none: all that headrace.toml names.")] = "",
    project: Folder = Path(),
    as_json: AsJson = False,
) -> None:
    """Show what each column becomes in ClickHouse and why, and the statement that makes the table."""
    for name, columns, statement in run(_explain(load_settings(project), table)):
        if as_json:
            print_json({"table": name, "columns": columns, "statement": statement})
            continue
        header = ["column", "PostgreSQL", "ClickHouse", "note"]
        print_rows(header, [[each[key] for key in header] for each in columns], as_json=False, title=name)
        note(statement)


async def _status(settings: Settings) -> dict[str, Any]:
    async with open_databases(settings) as databases:
        url, source = databases.addresses.postgres_url, settings.project
        clickhouse = await open_clickhouse_at(databases.addresses.clickhouse_url, settings)
        try:
            mirrors = await read_mirrors(clickhouse, source)
            watermark = await read_watermark(clickhouse, source)
            rows = []
            for stored in mirrors.values():
                if stored.in_service:
                    progress = await read_progress(clickhouse, source, stored)
                    rows.append(
                        {
                            "table": stored.full_name,
                            "in ClickHouse": stored.name,
                            "state": stored.state,
                            "rows": progress.rows,
                            "staged": 0 if stored.state == READY else progress.staged,
                            "copied": progress.copied_rows,
                            "bytes copied": progress.copied_bytes,
                            "problem": stored.problem,
                        }
                    )
        finally:
            await clickhouse.close()
        health = await slot_health(url, settings.slot)
        slot = {
            "slot": settings.slot,
            "wal_status": health.wal_status if health else "there is no such slot",
            "log kept, bytes": health.kept_bytes if health else None,
            "log not confirmed, bytes": health.unconfirmed_bytes if health else None,
            "log until the slot is lost, bytes": health.safe_wal_bytes if health else None,
        }
        lag_s = max(0.0, (datetime.now(UTC) - watermark.written_at).total_seconds())
        return {"tables": rows, "slot": slot, "lag_s": lag_s, "obstacles": await _obstacles(url, settings)}


async def _obstacles(url: str, settings: Settings) -> list[dict[str, str]]:
    try:
        named = await find_tables(url, settings.mirror.tables)
    except InvalidConfiguration as error:
        return [{"table": ", ".join(settings.mirror.tables), "reason": error.message, "hint": error.hint}]
    found = await find_obstacles(url, named, settings.slot, appends=_appended(named, settings))
    return [{"table": each.name, "reason": each.reason, "hint": each.hint} for each in found]


def _appended(tables: list[SourceTable], settings: Settings) -> list[int]:
    return [table.oid for table in tables if is_append_only(table.full_name, settings.mirror.table)]


async def _add(settings: Settings, tables: list[str]) -> None:
    async with open_databases(settings) as databases:
        url = databases.addresses.postgres_url
        found = await find_tables(url, tables)
        obstacles = await find_obstacles(url, found, settings.slot, appends=_appended(found, settings))
        if obstacles:
            raise InvalidConfiguration(
                f"{obstacles[0].name} cannot be mirrored as it is.",
                " ".join(each.reason for each in obstacles),
                " ".join(each.hint for each in obstacles),
            )
        await _ask(settings, [table.full_name for table in found], "add")


async def _ask(settings: Settings, tables: list[str], wish: str) -> None:
    async with open_databases(settings) as databases:
        clickhouse = await open_clickhouse_at(databases.addresses.clickhouse_url, settings)
        try:
            for table in tables:
                await ask_worker(clickhouse, settings.project, table, wish)
                note(f"{table}: {wish}: done." if wish != "resume" else f"{table} goes on ({PAUSED} no more).")
        finally:
            await clickhouse.close()


async def _explain(settings: Settings, pattern: str) -> list[tuple[str, list[dict[str, str]], str]]:
    async with open_databases(settings) as databases:
        found = await find_tables(databases.addresses.postgres_url, [pattern] if pattern else settings.mirror.tables)
    explained = []
    for table in found:
        shape = wanted_shape(table, settings.mirror.table)
        columns = [
            {
                "column": column.name,
                "PostgreSQL": column.type.name,
                "ClickHouse": column.declared(key=column.name in shape.key),
                "note": ("key; " if column.name in shape.key else "") + column.target.note,
            }
            for column in shape.columns
        ]
        name = mirrored_name(table.schema, table.name)
        objects = objects_of(settings.database, name, f"{name}_{table.oid}", 1, shape)
        explained.append((table.full_name, columns, objects.create()[-1]))
    return explained
