"""What the verbs of a role have in common: the project's databases, and an end when they are told to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from headrace.cli.output import load_settings, run
from headrace.runtime.databases import Addresses, open_databases
from headrace.runtime.supervisor import stop_on_signals, stop_with_parent
from headrace.settings import Settings
from headrace.telemetry import Level

Work = Callable[[Settings, Addresses, asyncio.Event], Awaitable[None]]


def run_role(work: Work, folder: Path, *, log_level: Level) -> None:
    """Do the role's work until a signal, or the end of the process that started this one, sets its event."""
    run(_run(work, folder), log_level=log_level)


async def _run(work: Work, folder: Path) -> None:
    stop = asyncio.Event()
    stop_on_signals(stop)
    stop_with_parent(stop)
    settings = load_settings(folder)
    async with open_databases(settings) as databases:
        await work(settings, databases.addresses, stop)
