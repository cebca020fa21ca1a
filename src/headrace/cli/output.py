"""What the command line prints: tables and lines for people, JSON for programs; progress on a terminal only."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import typer
import uvloop
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from headrace.settings import Settings
from headrace.telemetry import Level, configure

Result = TypeVar("Result")

Folder = Annotated[Path, typer.Option("--project", help="The project folder.", show_default="this folder")]
LogLevel = Annotated[Level, typer.Option("--log-level", help="The least that is logged.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]

errors = Console(stderr=True, highlight=False)


def run(work: Coroutine[Any, Any, Result], *, log_level: Level = "warning") -> Result:
    """Run one verb to its end."""
    configure(log_level)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def load_settings(folder: Path) -> Settings:
    return Settings.load(folder)


def print_json(value: object) -> None:
    """One JSON value on one line."""
    sys.stdout.write(msgspec.json.encode(value, enc_hook=str).decode() + "\n")
    sys.stdout.flush()


def print_rows(columns: Sequence[str], rows: Sequence[Sequence[object]], *, as_json: bool, title: str = "") -> None:
    """A table for people, a list of objects for programs."""
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
        return
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    if title:
        console.print(f"\n[bold]{title}[/]")
    table = Table(header_style="bold", box=None, pad_edge=False)
    for index, column in enumerate(columns):
        numeric = any(isinstance(row[index], int | float) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        # As Text: what a row says is data, and "[/]" in it is no markup.
        table.add_row(*(Text(_cell(value)) for value in row))
    console.print(table)


def print_facts(facts: Mapping[str, object], *, as_json: bool) -> None:
    """Names and values, one a line."""
    if as_json:
        print_json(facts)
        return
    width = max((len(name) for name in facts), default=0)
    for name, value in facts.items():
        sys.stdout.write(f"{name:<{width}}  {_cell(value)}\n")


def note(text: str) -> None:
    """A line for people, on standard error."""
    errors.print(text, soft_wrap=True)


def progress() -> Progress:
    """Progress bars on standard error; silent when that is not a terminal."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description:<12}"),
        BarColumn(),
        TextColumn("{task.completed:>10,.0f} / {task.total:,.0f}"),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        console=errors,
        disable=not sys.stderr.isatty(),
    )


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return "" if value is None else str(value)
