"""`headrace events`: look into the event store, and move its events."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from headrace.cli import event_history, event_transfer
from headrace.cli.connections import open_stores
from headrace.cli.event_catalog import catalog
from headrace.cli.output import AsJson, Folder, load_settings, print_json, run
from headrace.commands.audit import entry
from headrace.errors import Unknown
from headrace.events.command import check_stream_name
from headrace.events.event import StoredEvent
from headrace.settings import Settings

app = typer.Typer(help="Look into the event store, and move its events.", no_args_is_help=True)
event_history.add_verbs(app)
app.command()(catalog)
app.command("export")(event_transfer.export_log)
app.command("import")(event_transfer.import_log)

POLL_S = 0.25
SHOWN_MAX = 10_000


@app.command()
def show(
    stream: Annotated[str, typer.Argument(help="The stream, such as user-42.")],
    after_version: Annotated[int, typer.Option(min=0, help="Begin after this version.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=SHOWN_MAX, help="At most so many events.")] = 1_000,
    project: Folder = Path(),
    as_json: AsJson = False,
) -> None:
    """Show the events of one stream, oldest first."""
    run(_show(load_settings(project), stream, after_version, limit, as_json=as_json))


@app.command()
def tail(
    count: Annotated[int, typer.Option("-n", min=0, max=SHOWN_MAX, help="Begin with the last so many events.")] = 10,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Go on until Ctrl-C.")] = True,
    project: Folder = Path(),
    as_json: AsJson = False,
) -> None:
    """Show events of all streams as they come in."""
    run(_tail(load_settings(project), count, follow=follow, as_json=as_json))


async def _show(settings: Settings, stream: str, after_version: int, limit: int, *, as_json: bool) -> None:
    check_stream_name(stream)
    async with open_stores(settings) as stores:
        found = False
        async for event in stores.events.read_stream(stream, after_version=after_version, limit=limit):
            _print(event, as_json=as_json)
            found = True
    if not found:
        raise Unknown(
            f"The stream {stream[:80]!r} has no events after version {after_version}.",
            hint="`headrace events tail --no-follow` shows streams that have.",
        )


async def _tail(settings: Settings, count: int, *, follow: bool, as_json: bool) -> None:
    async with open_stores(settings) as stores:
        place = await stores.events.find_place(before_last=count)
        while True:
            async for at, event in stores.events.read_all(after=place):
                place = at
                _print(event, as_json=as_json)
            if not follow:
                return
            await asyncio.sleep(POLL_S)


def _print(event: StoredEvent, *, as_json: bool) -> None:
    seen = entry(event)
    if as_json:
        print_json(seen)
    else:
        data = bytes(seen.data).decode()
        typer.echo(f"{seen.recorded_at:%Y-%m-%d %H:%M:%S}  {seen.stream}  {seen.version:>5}  {seen.type}  {data}")
