"""`headrace events export` and `import`: the whole log to a file, and back into an event store."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO, get_args

import typer

from headrace.cli.connections import open_stores
from headrace.cli.output import AsJson, Folder, load_settings, note, print_facts, progress, run
from headrace.errors import InvalidInput
from headrace.event_store.event_store import EventStore
from headrace.event_store.export_log import Exported
from headrace.event_store.import_log import Imported
from headrace.event_store.log_file import Format, JsonLines, LogFile, ParquetRows
from headrace.settings import Settings

STREAM = Path("-")

AsFormat = Annotated[
    Format | None, typer.Option("--format", help="jsonl or parquet.", show_default="what the name ends with")
]


def export_log(
    file: Annotated[Path, typer.Argument(help="NAME.jsonl, NAME.parquet, or - for standard output.")],
    as_format: AsFormat = None,
    project: Folder = Path(),
    as_json: AsJson = False,
) -> None:
    """Write all events to a file. An unfinished .jsonl is gone on with, and a finished one gets what is new."""
    run(_export(load_settings(project), file, _format(file, as_format), as_json=as_json))


def import_log(
    file: Annotated[Path, typer.Argument(help="NAME.jsonl, NAME.parquet, or - for standard input.")],
    as_format: AsFormat = None,
    project: Folder = Path(),
    as_json: AsJson = False,
) -> None:
    """Write the events of a file that the event store lacks. Started again, it goes on where it stopped."""
    run(_import(load_settings(project), file, _format(file, as_format), as_json=as_json))


def _format(file: Path, asked: Format | None) -> Format:
    found = asked or ("jsonl" if file == STREAM else file.suffix.removeprefix("."))
    for known in get_args(Format):
        if found == known and not (file == STREAM and known == "parquet"):
            return known  # type: ignore[no-any-return]
    raise InvalidInput(
        f"The format of {file} is not known.",
        f"Its name ends with {file.suffix!r}.",
        "Give a name that ends with .jsonl or .parquet, or --format; - is JSON lines.",
    )


async def _export(settings: Settings, path: Path, as_format: Format, *, as_json: bool) -> None:
    async with open_stores(settings) as stores:
        with _bar("exported") as show:

            def on_page(done: Exported) -> None:
                show(done.written, done.total, done.written)

            if as_format == "parquet":
                done = await _export_parquet(stores.events, path, on_page)
            else:
                done = await _export_json_lines(stores.events, path, on_page)
    if done.held_back:
        note(f"{done.held_back:,} events are newer than a transaction that was still writing; export again for them.")
    if path != STREAM:
        print_facts({"file": str(path), "written": done.written, "held_back": done.held_back}, as_json=as_json)


async def _export_json_lines(store: EventStore, path: Path, on_page: Callable[[Exported], None]) -> Exported:
    if path == STREAM:
        done = await store.export_json_lines(sys.stdout.buffer, on_page=on_page)
        sys.stdout.buffer.flush()
        return done
    end, after = await store.find_export_end(path)
    with path.open("ab") as file:
        file.truncate(end)
        done = await store.export_json_lines(file, after=after, on_page=on_page)
        _make_durable(file)
    return done


async def _export_parquet(store: EventStore, path: Path, on_page: Callable[[Exported], None]) -> Exported:
    """Under another name until it is whole: a Parquet file cannot be gone on with, nor read without its end."""
    if path.exists():
        raise InvalidInput(f"{path} exists.", "A Parquet file cannot be added to.", "Remove it, or give another name.")
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("wb") as file:
        done = await store.export_parquet(file, on_page=on_page)
        _make_durable(file)
    partial.replace(path)
    return done


def _make_durable(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


async def _import(settings: Settings, path: Path, as_format: Format, *, as_json: bool) -> None:
    with _open(path, as_format) as file:
        async with open_stores(settings) as stores:
            with _bar("imported") as show:

                def on_chunk(done: Imported) -> None:
                    show(file.done, file.total or file.done, done.written + done.present)

                done = await stores.events.import_log(file, on_chunk=on_chunk)
    facts = {"file": str(path), "written": done.written, "present": done.present, "position": str(done.position)}
    print_facts(facts, as_json=as_json)


@contextmanager
def _open(path: Path, as_format: Format) -> Iterator[LogFile]:
    if path == STREAM:
        yield JsonLines(sys.stdin.buffer, name="standard input", total=0)
    elif as_format == "parquet":
        yield ParquetRows(path)
    else:
        with path.open("rb") as file:
            yield JsonLines(file, name=str(path), total=path.stat().st_size)


@contextmanager
def _bar(description: str) -> Iterator[Callable[[int, int, int], None]]:
    """A progress bar, and what moves it: done, total, and how many events that were."""
    began = time.perf_counter()
    with progress() as bars:
        task = bars.add_task(description, total=0, rate="")

        def show(done: int, total: int, events: int) -> None:
            rate = events / max(time.perf_counter() - began, 1e-3)
            bars.update(task, completed=done, total=total, rate=f"{rate:,.0f} events/s")

        yield show
