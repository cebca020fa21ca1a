"""`headrace events at`, `diff` and `audit`: what a stream was, what changed in it, and who did it, when and why."""

from __future__ import annotations

import csv
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import IO, Annotated

import msgspec
import typer

from headrace.cli.connections import open_event_store
from headrace.cli.output import AsJson, Folder, load_settings, note, print_facts, print_json, print_rows, progress, run
from headrace.commands.audit import COLUMNS, Entry, entry, row
from headrace.commands.domain import Domain
from headrace.commands.history import Difference, History, Past, require_stream
from headrace.commands.point import Point, parse_point, parse_time
from headrace.errors import InvalidInput
from headrace.event_store.event_store import EventStore
from headrace.event_store.read import Period
from headrace.events.command import check_stream_name
from headrace.events.event import StoredEvent
from headrace.runtime.project import load_domain
from headrace.settings import Settings

Stream = Annotated[str, typer.Argument(help="The stream, such as user-42.")]
StateType = Annotated[str | None, typer.Option("--state", help="Which state, if the stream has several.")]
_PROGRESS_STEPS = 100
_PROGRESS_EVENTS = 1_000


class Format(StrEnum):
    """`text` is for people; `json` is one object a line, so that a file of any size is written and read in pieces."""

    text = "text"
    csv = "csv"
    json = "json"


def add_verbs(app: typer.Typer) -> None:
    """Make these verbs of `headrace events`."""
    for verb in (at, diff, audit):
        app.command()(verb)


def at(
    stream: Stream,
    version: Annotated[int | None, typer.Option(min=0, help="After this version; 0: before the first event.")] = None,
    time: Annotated[str | None, typer.Option(help="At this time, such as 2026-03-15T09:30:00Z.")] = None,
    state: StateType = None,
    project: Folder = Path(),
    as_json: AsJson = False,
) -> None:
    """Show the state of one stream, now or at any version or time."""
    if version is not None and time is not None:
        raise InvalidInput("A state is asked for by version or by time, not by both.")
    point = parse_time(time) if time is not None else version
    past = run(_at(load_settings(project), stream, point, state))
    if as_json:
        print_json(past)
        return
    facts = {"stream": past.stream, "version": past.version, "recorded at": past.recorded_at}
    print_facts({**facts, past.state_type: _json(past.state)}, as_json=False)


def diff(
    stream: Stream,
    from_: Annotated[str, typer.Argument(metavar="FROM", help="A version or a time.")],
    to: Annotated[str, typer.Argument(metavar="TO", help="A version or a time.")],
    state: StateType = None,
    project: Folder = Path(),
    as_json: AsJson = False,
) -> None:
    """Show what changed in the state of one stream between two versions or times."""
    found = run(_diff(load_settings(project), stream, parse_point(from_), parse_point(to), state))
    if as_json:
        print_json(found)
        return
    rows = [[change.path, _json(change.before), _json(change.after)] for change in found.changes]
    columns = ["field", f"version {found.from_version}", f"version {found.to_version}"]
    print_rows(columns, rows, as_json=False)


def audit(
    from_: Annotated[str, typer.Option("--from", help="Recorded at this time or later, such as 2026-03-15.")],
    to: Annotated[str | None, typer.Option("--to", help="Recorded before this time.", show_default="now")] = None,
    stream: Annotated[str | None, typer.Option(help="Only this stream.")] = None,
    category: Annotated[str | None, typer.Option(help="Only streams of this kind: user, for user-42.")] = None,
    event_type: Annotated[str | None, typer.Option("--type", help="Only events of this type.")] = None,
    format_: Annotated[Format, typer.Option("--format", help="Lines for people, CSV, or JSON lines.")] = Format.text,
    output: Annotated[Path | None, typer.Option(help="Into this file.", show_default="standard output")] = None,
    project: Folder = Path(),
    as_json: AsJson = False,
) -> None:
    """Show or export what happened in a period: what, when, who and why."""
    end = datetime.now(UTC) if to is None else parse_time(to)
    period = Period(parse_time(from_), end)
    if period.start >= end:
        raise InvalidInput("The period is empty.", f"From {period.start.isoformat()} to {end.isoformat()}.")
    _check_selection(stream, category, event_type)
    settings = load_settings(project)
    with _writing(output) as file:
        write = _writer(Format.json if as_json else format_, file)
        work = _audit(
            settings, period, write, stream=stream, category=category, event_type=event_type, quiet=file.isatty()
        )
        count = run(work)
    note(f"[dim]{count:,} event{'' if count == 1 else 's'}[/]")


def _check_selection(stream: str | None, category: str | None, event_type: str | None) -> None:
    """Refuse what would quietly select nothing. Raises InvalidInput."""
    if sum(each is not None for each in (stream, category, event_type)) > 1:
        raise InvalidInput("An audit is of one stream, one category or one type.", hint="Give one of the three.")
    if stream is not None:
        check_stream_name(stream)
    if category is not None and ("-" in category or not category.isprintable()):
        raise InvalidInput(f"Not a category: {category[:80]!r}.", hint="Of user-42 it is user; --stream takes user-42.")
    if event_type is not None and not event_type.isidentifier():
        raise InvalidInput(f"Not an event type: {event_type[:80]!r}.", hint="A type is called like its class.")


async def _at(settings: Settings, stream: str, point: Point | None, state_type: str | None) -> Past:
    domain = _domain(settings)
    check_stream_name(stream)
    async with open_event_store(settings) as events:
        return await History(store=events, domain=domain).at(stream, point, state_type=state_type)


async def _diff(settings: Settings, stream: str, before: Point, after: Point, state_type: str | None) -> Difference:
    domain = _domain(settings)
    check_stream_name(stream)
    async with open_event_store(settings) as events:
        history = History(store=events, domain=domain)
        return await history.difference(stream, before, after, state_type=state_type)


async def _audit(
    settings: Settings,
    period: Period,
    write: Callable[[Entry], None],
    *,
    stream: str | None,
    category: str | None,
    event_type: str | None,
    quiet: bool,
) -> int:
    """Write every entry of the period; how many there were. `quiet`: no bar among entries on one terminal."""
    count = 0
    async with open_event_store(settings) as events:
        found = await _select(events, period, stream, category, event_type)
        bar = progress()
        bar.disable = bar.disable or quiet
        with bar:
            task = bar.add_task("reading", total=_PROGRESS_STEPS, rate="")
            async for stored in found:
                write(entry(stored))
                count += 1
                if count % _PROGRESS_EVENTS == 0:
                    done = (stored.recorded_at - period.start) / (period.end - period.start)
                    bar.update(task, completed=done * _PROGRESS_STEPS, rate=f"{count:,} events")
            bar.update(task, completed=_PROGRESS_STEPS, rate=f"{count:,} events")
    return count


async def _select(
    events: EventStore, period: Period, stream: str | None, category: str | None, event_type: str | None
) -> AsyncIterator[StoredEvent]:
    if stream is None:
        return events.read_period(period, category=category, event_type=event_type)
    await require_stream(events, stream)
    return events.read_stream(stream, period=period)


def _domain(settings: Settings) -> Domain:
    return Domain.from_module(load_domain(settings.root))


@contextmanager
def _writing(path: Path | None) -> Iterator[IO[str]]:
    """The file to write to. It gets its name when it is whole: an export that broke off is never taken for one."""
    if path is None:
        yield sys.stdout
        return
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _writer(format_: Format, file: IO[str]) -> Callable[[Entry], None]:
    """What writes one entry in a format."""
    if format_ is Format.csv:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        return lambda seen: table.writerow(row(seen))
    if format_ is Format.json:
        return lambda seen: print(_json(seen), file=file)
    return lambda seen: print(_line(seen), file=file)


def _line(seen: Entry) -> str:
    who = seen.metadata.actor or "?"
    data = bytes(seen.data).decode()
    why = " ".join(filter(None, (seen.metadata.command, seen.metadata.correlation_id)))
    when = f"{seen.recorded_at:%Y-%m-%d %H:%M:%S}"
    return f"{when}  {seen.stream}  {seen.version:>5}  {seen.type}  {data}  by {who}{f', {why}' if why else ''}"


def _json(value: object) -> str:
    return "" if value is msgspec.UNSET else msgspec.json.encode(value).decode()
