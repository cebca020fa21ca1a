"""`headrace dev`: the whole stack on this machine, restarted when a file of the project changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import watchfiles
from rich.markup import escape
from watchfiles.main import FileChange

from headrace.cli.connections import open_clickhouse_at
from headrace.cli.output import Folder, load_settings, note, run
from headrace.errors import AlreadyRunning, Error
from headrace.runtime.databases import Addresses, open_databases
from headrace.runtime.listener import take_port
from headrace.runtime.project import Project
from headrace.runtime.stack import run_roles
from headrace.runtime.statement_check import check_statements
from headrace.runtime.supervisor import stop_on_signals
from headrace.runtime.waiting import until_stopped
from headrace.settings import DATA, Settings

WATCHED = {".py", ".sql", ".toml"}


def dev(project: Folder = Path()) -> None:
    """Run databases, worker, API and reactors; reload on change. Ctrl-C stops all of it."""
    run(_dev(load_settings(project)), log_level="info")


async def _dev(settings: Settings) -> None:
    stop = asyncio.Event()
    stop_on_signals(stop)
    project: Project | None = Project.load(settings)  # one that cannot be read is refused before anything is started
    settings = take_port(settings)
    async with open_databases(settings) as databases:
        if databases.attached:
            raise AlreadyRunning(
                "This project is running already.", f"In {settings.root}.", "Use it, or stop it first."
            )
        # One watch for all the time: a file that is saved during a restart counts too.
        watch = watchfiles.awatch(settings.root, watch_filter=_Sources())
        while project is not None:
            async with run_roles(settings, project.roles, stop):
                note(f"[bold]http://{settings.http.host}:{settings.http.port}[/] — reloads on change, Ctrl-C stops")
                project = await until_stopped(stop, _changed(watch, project, databases.addresses))


async def _changed(watch: AsyncIterator[set[FileChange]], running: Project, addresses: Addresses) -> Project:
    """Wait for a change of the project's files after which it can still run; the project as it is then."""
    settings = running.settings
    async for changes in watch:
        names = sorted({str(Path(path).relative_to(settings.root)) for _, path in changes})
        try:
            project = Project.load(Settings.load(settings.root))
            await _check(project, running, addresses)
        except Error as error:
            note(f"[red]Not reloaded[/]: {escape(str(error))}")
        else:
            note(f"Reloading: {', '.join(names)}")
            return project
    raise AssertionError("files are watched until somebody stops watching")


async def _check(project: Project, running: Project, addresses: Addresses) -> None:
    clickhouse = await open_clickhouse_at(addresses.clickhouse_url, project.settings)
    try:
        await check_statements(project, running, clickhouse)
    finally:
        await clickhouse.close()


class _Sources(watchfiles.DefaultFilter):
    """The project's own sources; never the data that running it, or a project below it, writes."""

    ignore_dirs = (*watchfiles.DefaultFilter.ignore_dirs, DATA)

    def __call__(self, change: watchfiles.Change, path: str) -> bool:
        return Path(path).suffix in WATCHED and super().__call__(change, path)
