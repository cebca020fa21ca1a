"""Roles beside each other: `headrace worker` and `headrace serve` as child processes, kept running together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from headrace.runtime.supervisor import Role, keeping
from headrace.settings import Settings
from headrace.telemetry import Level


@asynccontextmanager
async def run_roles(
    settings: Settings, verbs: Sequence[str], stop: asyncio.Event, *, log_level: Level = "info"
) -> AsyncIterator[list[Role]]:
    """Run each verb as a child process and keep it running; `stop` is set when one cannot be kept."""
    environ = {"HEADRACE_HTTP__PORT": str(settings.http.port)}  # which may be a free one that was found
    roles = [Role(verb, "--log-level", log_level, root=settings.root, environ=environ) for verb in verbs]
    try:
        for role in roles:
            await role.start()
        async with keeping([(role.name, role) for role in roles], on_failure=stop.set):
            yield roles
    finally:
        for role in reversed(roles):
            await role.stop()
