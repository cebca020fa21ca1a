"""`headrace recover`: go on with a new replication slot, when the old one or its server is gone."""

from __future__ import annotations

from pathlib import Path

from headrace.cli.output import AsJson, Folder, load_settings, note, print_json, run
from headrace.runtime.databases import open_databases
from headrace.runtime.project import Project
from headrace.runtime.recovery import Recovery
from headrace.runtime.recovery import recover as recover_project
from headrace.settings import Settings


def recover(project: Folder = Path(), as_json: AsJson = False) -> None:
    """Load everything again behind a new slot; mirrored tables stay readable. No worker may be running."""
    done = run(_recover(load_settings(project)))
    if as_json:
        print_json({"tables": done.tables})
        return
    for table in done.tables:
        note(f"{table} will be copied again; its readers keep the old rows until that is complete.")
    note("Start `headrace worker`: it makes a new slot, and loads all events again from the event store.")


async def _recover(settings: Settings) -> Recovery:
    async with open_databases(settings) as databases:
        return await recover_project(Project.load(settings), databases.addresses)
