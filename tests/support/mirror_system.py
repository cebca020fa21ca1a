"""A system whose worker mirrors tables, what kills its parts, and the proof that the mirror is whole in the end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import psycopg
from support import fault_domain
from support.fault_system import Process, System, kill_and_keep, running_system, until
from support.mirror_oracle import assert_changes_add_up, assert_mirrored, mirror_name

from headrace.errors import Behind, Unavailable
from headrace.events.position import Position
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.dead_letters import read_dead_letters
from headrace.warehouse.mirrors import COPYING, READY, read_mirrors
from headrace.warehouse.watermark import WatermarkReader

_PROJECT = 'project = "temporary"\n\n[clickhouse]\nport = 0\n\n[http]\nport = 0\n\n[mirror]\ntables = [{tables}]\n'


@asynccontextmanager
async def mirroring_system(tables: Sequence[str], **environ: str) -> AsyncIterator[System]:
    """Both databases and a project that mirrors `tables`, names or patterns; no role runs yet."""
    listed = ", ".join(f"'{table}'" for table in tables)
    files = {"headrace.toml": _PROJECT.format(tables=listed), "domain.py": Path(fault_domain.__file__).read_text()}
    async with running_system(files, **environ) as system:
        yield system


async def log_end(url: str) -> Position:
    """Where PostgreSQL's log ends now: at a watermark of this everything that is committed is in the mirror."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        # A commit that is acknowledged without waiting for the disk is behind the flushed end for a moment.
        cursor = await connection.execute("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint")
        row = await cursor.fetchone()
    assert row is not None
    return Position(int(row[0]) - 1)


async def wait_for_mirror(system: System, clickhouse: ClickHouse, tables: Sequence[str]) -> None:
    """Wait until each table is ready and the watermark has passed the end of the log as it is now."""
    end = await log_end(system.postgres.url)
    await wait_until_mirrored(system, clickhouse, tables)

    async def passed() -> bool:
        reader = WatermarkReader(clickhouse=clickhouse, source=system.settings.project)
        try:
            await reader.wait_for(end, timeout_s=1.0)
        except (Behind, Unavailable):
            return False
        return True

    await until(passed)


async def wait_until_mirrored(system: System, clickhouse: ClickHouse, tables: Sequence[str]) -> None:
    """Wait until each table is copied and live. Fails at once when one of them has a problem."""

    async def ready() -> bool:
        try:
            mirrors = await read_mirrors(clickhouse, system.settings.project)
        except Unavailable:
            return False
        states = {name: mirrors[name] for name in map(mirror_name, tables) if name in mirrors}
        assert all(one.state in (COPYING, READY) for one in states.values()), states
        return len(states) == len(tables) and all(one.state == READY for one in states.values())

    await until(ready)


async def assert_whole(system: System, tables: Sequence[str], *, from_empty: bool = True) -> None:
    """A worker runs and nobody writes: when it has caught up, the mirror is what PostgreSQL holds.

    `from_empty`: the tables were empty when their mirror began, so that their change streams add up as well.
    """
    clickhouse = await system.connect()
    await wait_for_mirror(system, clickhouse, tables)
    await assert_mirrored(system.postgres.url, clickhouse, tables)
    if from_empty:
        await assert_changes_add_up(system.postgres.url, clickhouse, tables)
    assert not await read_dead_letters(clickhouse, system.settings.project)


class Killer:
    """Kills parts of a system at random, and starts them again."""

    def __init__(self, system: System, draw: Random) -> None:
        self._system = system
        self._draw = draw
        self.worker: Process | None = None
        self._victims: dict[str, Callable[[], Awaitable[None]]] = {
            "worker": self.kill_worker,
            "postgres": self.kill_postgres,
            "clickhouse": self.kill_clickhouse,
            "worker and clickhouse": self.kill_worker_and_clickhouse,
        }

    async def start(self) -> Process:
        self.worker = await self._system.worker()
        return self.worker

    async def strike(self, moment_max_s: float = 0.5) -> str:
        """Kill something at a random moment within the given time; what it was."""
        name = self._draw.choice(sorted(self._victims))
        await asyncio.sleep(self._draw.uniform(0, moment_max_s))
        await self._victims[name]()
        return name

    async def kill_worker(self) -> None:
        assert self.worker is not None
        await self.worker.kill()
        await self.start()

    async def kill_postgres(self) -> None:
        await kill_and_keep("postgres", self._system.postgres)

    async def kill_clickhouse(self) -> None:
        await kill_and_keep("clickhouse", self._system.clickhouse_server)

    async def kill_worker_and_clickhouse(self) -> None:
        assert self.worker is not None
        await asyncio.gather(self.kill_clickhouse(), self.worker.kill())
        await self.start()


SEED = int(os.environ.get("HEADRACE_FAULT_SEED", "0"))
"""Where the numbers of seeded runs begin, to run others than last time."""
