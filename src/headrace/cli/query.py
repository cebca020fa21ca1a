"""`headrace query`: run one of the project's queries, as its endpoint would."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headrace.cli.connections import open_stores
from headrace.cli.output import AsJson, Folder, load_settings, note, print_rows, run
from headrace.errors import InvalidInput
from headrace.queries.answer import Answer
from headrace.queries.catalog import Catalog
from headrace.queries.execute import Executor
from headrace.settings import Settings
from headrace.warehouse.watermark import WatermarkReader


def query(
    name: Annotated[str, typer.Argument(help="Name of the query; none: list them.")] = "",
    parameters: Annotated[list[str] | None, typer.Argument(help="key=value …")] = None,
    project: Folder = Path(),
    as_json: AsJson = False,
) -> None:
    """Run a query of the project and print its answer."""
    settings = load_settings(project)
    catalog = Catalog.load(settings.root / "queries")
    if not name:
        rows = [[each.name, each.title, " ".join(p.name for p in each.parameters)] for each in catalog]
        print_rows(["name", "title", "parameters"], rows, as_json=as_json)
        return
    values = _values(parameters or [])
    answer = run(_answer(settings, catalog, name, values))
    columns = [column.name for column in answer.column_list()]
    print_rows(columns, [list(record.values()) for record in answer.records()], as_json=as_json)
    if not as_json:
        note(f"[dim]watermark {answer.watermark.position}, {answer.elapsed_ms:.0f} ms[/]")


async def _answer(settings: Settings, catalog: Catalog, name: str, values: dict[str, list[str]]) -> Answer:
    asked = catalog.get(name)
    async with open_stores(settings) as stores:
        watermarks = WatermarkReader(clickhouse=stores.clickhouse, source=settings.project)
        executor = Executor(clickhouse=stores.clickhouse, watermarks=watermarks, limits=settings.query)
        return await executor.answer(asked, values)


def _values(parameters: list[str]) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for parameter in parameters:
        key, equals, value = parameter.partition("=")
        if not equals:
            raise InvalidInput(f"Not a parameter: {parameter[:60]!r}.", hint="Write user_id=user123.")
        values.setdefault(key, []).append(value)
    return values
