"""A system whose worker mirrors tables, what kills its parts, and the proof that the mirror is whole in the end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

from support import fault_domain
from support.fault_system import Process, System, kill_and_keep, running_system
from support.mirror_proof import Mirrored

SEED = int(os.environ.get("HEADRACE_FAULT_SEED", "0"))
"""Where the numbers of seeded runs begin, to run others than last time."""

_PROJECT = 'project = "{name}"\n\n[clickhouse]\nport = 0\n\n[http]\nport = 0\n\n[mirror]\ntables = [{tables}]\n'


def mirror_project(tables: Sequence[str], name: str = "temporary") -> dict[str, str]:
    """The files of a project that mirrors `tables`, names or patterns, and has the ledger's events beside."""
    listed = ", ".join(f"'{table}'" for table in tables)
    return {
        "headrace.toml": _PROJECT.format(name=name, tables=listed),
        "domain.py": Path(fault_domain.__file__).read_text(),
    }


@asynccontextmanager
async def mirroring_system(tables: Sequence[str], **environ: str) -> AsyncIterator[System]:
    """Both databases and a project that mirrors `tables`; no role runs yet."""
    async with running_system(mirror_project(tables), **environ) as system:
        yield system


async def mirrored_by(system: System, tables: Sequence[str]) -> Mirrored:
    """What the system's worker has to bring about."""
    return Mirrored(system.postgres.url, await system.connect(), system.settings.project, tables)


class Killer:
    """Kills parts of a system at random, and starts them again."""

    def __init__(self, system: System, draw: Random) -> None:
        self._system = system
        self._draw = draw
        self._worker: Process | None = None
        self._victims: dict[str, Callable[[], Awaitable[None]]] = {
            "worker": self.kill_worker,
            "postgres": self.kill_postgres,
            "clickhouse": self.kill_clickhouse,
            "worker and clickhouse": self.kill_worker_and_clickhouse,
        }

    async def start(self) -> None:
        self._worker = await self._system.worker()

    async def strike(self, *victims: str, moment_max_s: float = 0.5) -> None:
        """Kill something, of `victims` or anything, at a random moment within the given time."""
        name = self._draw.choice(victims or sorted(self._victims))
        await asyncio.sleep(self._draw.uniform(0, moment_max_s))
        await self._victims[name]()

    async def kill_worker(self) -> None:
        assert self._worker is not None
        await self._worker.kill()
        await self.start()

    async def kill_postgres(self) -> None:
        await kill_and_keep("postgres", self._system.postgres)

    async def kill_clickhouse(self) -> None:
        await kill_and_keep("clickhouse", self._system.clickhouse_server)

    async def kill_worker_and_clickhouse(self) -> None:
        assert self._worker is not None
        await asyncio.gather(self.kill_clickhouse(), self._worker.kill())
        await self.start()
