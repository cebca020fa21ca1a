"""`headrace forget`: delete the key of a person, and say where the person was found."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from headrace.cli.output import AsJson, Folder, load_settings, note, print_facts, print_json, print_rows, run
from headrace.commands.load import PERSONAL_LIFETIME_S
from headrace.event_store.event_store import EventStore
from headrace.event_store.forget import Traces
from headrace.event_store.subject_keys import LIFETIME_S
from headrace.runtime.databases import open_databases
from headrace.settings import Settings

SHOWN_AT_MOST_S = LIFETIME_S + PERSONAL_LIFETIME_S


def forget(
    subject: Annotated[str, typer.Argument(help="Whom to forget, as subject= of the events names them.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say where the subject is found.")] = False,
    project: Folder = Path(),
    as_json: AsJson = False,
) -> None:
    """Make the personal fields of one subject's events unreadable for ever."""
    traces = run(_forget(load_settings(project), subject, dry_run=dry_run))
    facts = _facts(traces, dry_run=dry_run)
    if as_json:
        print_json(facts | {"shown_at_most_s": SHOWN_AT_MOST_S, "found": [asdict(each) for each in traces.found]})
        return
    columns = ("type", "stream", "events", "fields", "keyed hashes")
    rows = [(each.type, each.stream, each.events, ", ".join(each.fields), each.keyed_hashes) for each in traces.found]
    print_rows(columns, rows, as_json=False)
    print_facts({name.replace("_", " "): value for name, value in facts.items()}, as_json=False)
    for line in _remaining(facts, dry_run=dry_run):
        note(line)


async def _forget(settings: Settings, subject: str, *, dry_run: bool) -> Traces:
    async with (
        open_databases(settings) as databases,
        EventStore(databases.addresses.postgres_url, pool_size=2) as store,
    ):
        return await store.forget(subject, dry_run=dry_run)


def _facts(traces: Traces, *, dry_run: bool) -> dict[str, object]:
    key = ("would be deleted" if dry_run else "deleted") if traces.key else "was deleted before"
    return {
        "subject": traces.subject,
        "key": key,
        "events": sum(each.events for each in traces.found),
        "snapshots": traces.snapshots,
        "keyed_hashes": sum(each.keyed_hashes for each in traces.found),
    }


def _remaining(facts: dict[str, object], *, dry_run: bool) -> list[str]:
    """What deleting a key does not do, said to whoever has to answer for it."""
    if dry_run:
        return ["Nothing was changed: this was a dry run."]
    lines = [
        "The events stay, in PostgreSQL and ClickHouse, without what the fields said.",
        f"Processes that run may still show the fields for {SHOWN_AT_MOST_S:g} seconds.",
        "Backups of PostgreSQL from before now hold the key: they must expire.",
    ]
    if facts["keyed_hashes"]:
        lines.append(
            "The keyed hashes stay, in PostgreSQL and ClickHouse: they say which values were equal, not which."
        )
    return lines
