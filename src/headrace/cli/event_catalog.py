"""`headrace events catalog`: what the domain declares, what is stored, and whether the one reads the other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from headrace.cli.connections import open_stores
from headrace.cli.output import AsJson, Folder, load_settings, note, print_json, print_rows, run
from headrace.event_store.read import BEGINNING
from headrace.events.compatibility import Compatibility, StoredShape
from headrace.events.event import Event
from headrace.events.event_types import EventTypes
from headrace.runtime.project import Project
from headrace.settings import Settings
from headrace.warehouse.event_views import columns


def catalog(
    last: Annotated[int, typer.Option(min=0, help="Check only the last so many events; 0 checks all.")] = 0,
    project: Folder = Path(),
    as_json: AsJson = False,
) -> None:
    """Show every event type and what is stored of it; exit with 1 when the domain cannot read something stored."""
    settings = load_settings(project)
    events = Project.load(settings).domain.events
    found = run(_check(settings, events, last))
    if as_json:
        print_json(_as_json(events, found, last))
    else:
        _print(events, found, last)
    if found.breaks:
        raise typer.Exit(1)


async def _check(settings: Settings, events: EventTypes, last: int) -> Compatibility:
    found = Compatibility(events)
    async with open_stores(settings) as stores:
        after = await stores.events.find_place(before_last=last) if last else BEGINNING
        async for _, stored in stores.events.read_all(after=after):
            found.check(stored)
    return found


def _as_json(events: EventTypes, found: Compatibility, last: int) -> dict[str, Any]:
    shapes = sorted(found.shapes.values(), key=lambda shape: (shape.type, shape.schema_version))
    return {
        "compatible": not found.breaks,
        "checked": sum(shape.events for shape in shapes),
        "all": last == 0,
        "types": [
            {
                "type": each.__name__,
                "schema_version": each.schema_version,
                "renamed_from": each.renamed_from,
                "upcasters": [upcaster.upcast.__name__ for upcaster in events.upcasters(each)],
                "schema": msgspec.json.schema(each),
                "stored": [shape for shape in shapes if events.find(shape.type) is each],
            }
            for each in events
        ],
        "undeclared": [shape for shape in shapes if events.find(shape.type) is None],
    }


def _print(events: EventTypes, found: Compatibility, last: int) -> None:
    declared = [
        (each.__name__, each.schema_version, ", ".join(f"{name} {kind}" for name, kind in columns(each).items()))
        for each in events
    ]
    print_rows(("type", "schema version", "fields"), declared, as_json=False)
    shapes = sorted(found.shapes.values(), key=lambda shape: (shape.type, shape.schema_version))
    rows = [
        (shape.type, shape.schema_version, shape.events, _read_by(events, shape), _verdict(shape)) for shape in shapes
    ]
    print_rows(("stored type", "schema version", "events", "read by", "verdict"), rows, as_json=False, title="Stored")
    checked = sum(shape.events for shape in shapes)
    note(f"Checked the last {checked:,} events." if last else f"Checked all {checked:,} events.")


def _read_by(events: EventTypes, shape: StoredShape) -> str:
    """The upcasters on the way, and the class at its end."""
    event_type: type[Event] | None = events.find(shape.type)
    if event_type is None:
        return "nothing"
    path = events.upcasters(event_type)[max(shape.schema_version, 1) - 1 :]
    return " → ".join([*(each.upcast.__name__ for each in path), event_type.__name__])


def _verdict(shape: StoredShape) -> str:
    return f"breaks for {shape.breaking:,}: {shape.problem}" if shape.breaking else "compatible"
