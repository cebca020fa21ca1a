"""`headrace dev`: the whole stack on this machine, restarted when a file of the project changes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import watchfiles

from headrace.cli.output import Folder, load_settings, note, run
from headrace.errors import Error
from headrace.http.server import listen
from headrace.runtime.databases import open_databases
from headrace.runtime.project import Project
from headrace.runtime.stack import run_roles
from headrace.runtime.supervisor import stop_on_signals
from headrace.runtime.waiting import until_stopped
from headrace.settings import Settings

WATCHED = {".py", ".sql", ".toml"}


def dev(project: Folder = Path()) -> None:
    """Run databases, worker and API; reload on change. Ctrl-C stops all of it."""
    run(_dev(load_settings(project)), log_level="info")


async def _dev(settings: Settings) -> None:
    stop = asyncio.Event()
    stop_on_signals(stop)
    Project.load(settings)  # a project that cannot be read is refused before anything is started
    listen(settings.http.host, settings.http.port).close()
    async with open_databases(settings):
        while not stop.is_set():
            async with run_roles(settings, ["worker", "serve"], stop):
                note(f"[bold]http://{settings.http.host}:{settings.http.port}[/] — reloads on change, Ctrl-C stops")
                await until_stopped(stop, _changed(settings))


async def _changed(settings: Settings) -> None:
    """Wait for a change of the project's files after which it can still be read."""
    async for changes in watchfiles.awatch(settings.root, watch_filter=_Sources(settings.data)):
        names = sorted({str(Path(path).relative_to(settings.root)) for _, path in changes})
        try:
            Project.load(Settings.load(settings.root))
        except Error as error:
            note(f"[red]Not reloaded[/]: {error}")
        else:
            note(f"Reloading: {', '.join(names)}")
            return


class _Sources(watchfiles.DefaultFilter):
    """The project's own sources; never the data that running it writes."""

    def __init__(self, data: Path) -> None:
        super().__init__()
        self._data = str(data)

    def __call__(self, change: watchfiles.Change, path: str) -> bool:
        return Path(path).suffix in WATCHED and not path.startswith(self._data) and super().__call__(change, path)
