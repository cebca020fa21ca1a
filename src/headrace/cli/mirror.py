"""`headrace mirror`: tables of PostgreSQL that are kept in ClickHouse."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headrace.capture.source_tables import find_tables
from headrace.cli.connections import open_clickhouse_at
from headrace.cli.mirror_request import ask_worker
from headrace.cli.mirror_status import follow, status
from headrace.cli.mirror_verify import verify
from headrace.cli.output import AsJson, Folder, load_settings, note, print_json, print_rows, run
from headrace.mirror.layout import wanted_shape
from headrace.mirror.obstacles import refuse_obstacles
from headrace.mirror.shape import mirrored_name
from headrace.mirror.table import objects_of
from headrace.runtime.databases import open_databases
from headrace.settings import Settings

app = typer.Typer(help="Tables of PostgreSQL that are mirrored.", no_args_is_help=True)
app.command()(status)
app.command()(verify)
Tables = Annotated[list[str], typer.Argument(help="schema.table")]
_ANSWERS = {
    "add": "{table} is being copied.",
    "remove": "{table} is mirrored no more.",
    "pause": "{table} is paused.",
    "resume": "{table} goes on.",
    "resync": "{table} is being copied again; its readers keep the old rows until that is complete.",
}
Wait = Annotated[bool, typer.Option("--wait", help="Show the copy, and return when the tables are ready.")]


@app.command()
def add(tables: Tables, wait: Wait = False, project: Folder = Path()) -> None:
    """Mirror tables from now on, also when headrace.toml does not name them. Others are not touched."""
    run(_add(load_settings(project), tables, wait))


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
def resync(tables: Tables, wait: Wait = False, project: Folder = Path()) -> None:
    """Copy tables again beside what is there, and put the copy in its place when it is complete."""
    run(_ask(load_settings(project), tables, "resync", wait=wait))


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


async def _add(settings: Settings, tables: list[str], wait: bool) -> None:
    async with open_databases(settings) as databases:
        url = databases.addresses.postgres_url
        found = await find_tables(url, tables)
        await refuse_obstacles(url, found, settings.slot, settings.mirror.table)
        await _ask(settings, [table.full_name for table in found], "add", wait=wait)


async def _ask(settings: Settings, tables: list[str], wish: str, *, wait: bool = False) -> None:
    async with open_databases(settings) as databases:
        clickhouse = await open_clickhouse_at(databases.addresses.clickhouse_url, settings)
        try:
            for table in tables:
                await ask_worker(clickhouse, settings.project, table, wish)
                note(_ANSWERS[wish].format(table=table))
            if wait:
                await follow(clickhouse, settings.project, databases.addresses.postgres_url, settings.slot, tables)
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
        columns += [
            {"column": name, "PostgreSQL": "", "ClickHouse": "", "note": "personal: left out"}
            for name in shape.left_out
        ]
        if shape.where:
            columns.append({"column": "", "PostgreSQL": "", "ClickHouse": "", "note": f"only rows where {shape.where}"})
        name = mirrored_name(table.schema, table.name)
        objects = objects_of(settings.database, name, f"{name}_{table.oid}", 1, shape)
        explained.append((table.full_name, columns, objects.create()[-1]))
    return explained
