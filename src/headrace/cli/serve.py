"""`headrace serve`: the HTTP API."""

from __future__ import annotations

import asyncio
from pathlib import Path

from headrace.cli.output import Folder, LogLevel, load_settings, run
from headrace.http.server import run_api
from headrace.runtime.databases import open_databases
from headrace.runtime.supervisor import stop_on_signals, stop_with_parent


def serve(project: Folder = Path(), log_level: LogLevel = "info") -> None:
    """Serve commands, queries and dashboards over HTTP, until stopped."""
    run(_serve(project), log_level=log_level)


async def _serve(folder: Path) -> None:
    stop = asyncio.Event()
    stop_on_signals(stop)
    stop_with_parent(stop)
    settings = load_settings(folder)
    async with open_databases(settings) as databases:
        await run_api(settings, databases.addresses, stop)
