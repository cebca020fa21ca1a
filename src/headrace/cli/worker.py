"""`headrace worker`: capture changes and keep the read models."""

from __future__ import annotations

import asyncio
from pathlib import Path

from headrace.cli.output import Folder, LogLevel, load_settings, run
from headrace.runtime.databases import open_databases
from headrace.runtime.supervisor import stop_on_signals, stop_with_parent
from headrace.runtime.worker import run_worker


def worker(project: Folder = Path(), log_level: LogLevel = "info") -> None:
    """Capture changes from PostgreSQL and load them into ClickHouse, until stopped."""
    run(_worker(project), log_level=log_level)


async def _worker(folder: Path) -> None:
    stop = asyncio.Event()
    stop_on_signals(stop)
    stop_with_parent(stop)
    settings = load_settings(folder)
    async with open_databases(settings) as databases:
        await run_worker(settings, databases.addresses, stop)
