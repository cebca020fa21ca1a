"""`headrace status`: positions, lag, read models, dead letters."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.markup import escape

from headrace.cli.connections import open_stores
from headrace.cli.output import AsJson, Folder, load_settings, note, print_facts, print_json, run
from headrace.runtime.health import Health, Status, read_health
from headrace.settings import Settings


def status(project: Folder = Path(), as_json: AsJson = False) -> None:
    """Show how far the read side is. Exit code 1 when something needs attention."""
    found = run(_status(load_settings(project)))
    if as_json:
        print_json(found.as_dict())
    else:
        facts = found.as_dict()
        read_models = facts.pop("read_models")
        reactors = {f"reactor {name}": state for name, state in facts.pop("subscriptions").items()}
        tables = {f"table {name}": state for name, state in facts.pop("tables").items()}
        problems = facts.pop("problems")
        named = {name.replace("_", " "): value for name, value in facts.items()}
        print_facts(named | read_models | tables | reactors, as_json=False)
        for problem in problems:
            note(f"[yellow]![/] {escape(problem)}")
    raise typer.Exit(0 if found.ready else 1)


async def _status(settings: Settings) -> Status:
    async with open_stores(settings) as stores:
        found = await read_health(
            Health(stores.events, stores.clickhouse, settings.project, stores.postgres_url, settings.slot)
        )
        if stores.owned:
            found.problems.insert(0, "Nothing is running; the databases were started to look. Start `headrace dev`.")
        return found
