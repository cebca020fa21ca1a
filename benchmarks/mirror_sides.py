"""The two sides that the mirror's benchmarks compare: `pg_recvlogical` into a file, and our worker into ClickHouse.

Both read over the same Unix socket, each in a process of its own. The clock of a backlog starts when PostgreSQL says
that the reader has taken its slot: what a process needs to start is not measured.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from benchmarks.mirrored_tables import MARKER, Load, prepare, write
from headrace.embedded.postgres_install import binary
from headrace.events.position import Position
from headrace.runtime.databases import CLICKHOUSE_USER
from headrace.settings import Settings
from headrace.testing.databases import TemporaryDatabases, temporary_databases
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.mirrors import READY, read_mirrors
from headrace.warehouse.schema import create_schema
from headrace.warehouse.watermark import WatermarkReader

SECONDS_MAX = 900.0
POLL_S = 0.005
PROJECT = "benchmark"
_TAIL_BYTES = 1_000  # the marker and the commit behind it are the last that is written
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Taken:
    """What one run of our side took; the processor seconds are those of the measured time."""

    seconds: float
    worker_cpu_s: float
    clickhouse_cpu_s: float


class MirrorWorker:
    """A worker in a process of its own that mirrors tables of a running PostgreSQL into a running ClickHouse."""

    def __init__(self, databases: TemporaryDatabases, clickhouse: ClickHouse, settings: Settings) -> None:
        self.clickhouse = clickhouse
        self.steps = settings.root / "steps"
        self._databases = databases
        self._settings = settings
        self._watermarks = WatermarkReader(clickhouse=clickhouse, source=settings.project)
        self._process: asyncio.subprocess.Process | None = None

    @property
    def slot(self) -> str:
        return self._settings.slot

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.timed_worker", str(self._settings.root), str(self.steps)
        )

    async def stop(self) -> None:
        """Stop it; the slot stays. Does nothing when it is not running."""
        process, self._process = self._process, None
        if process is not None:
            if process.returncode is None:
                process.terminate()
            await process.wait()

    async def wait_until_mirrored(self, table: str) -> float:
        """Wait until the table's copy is complete; the seconds since it began, which is when the worker wrote so."""
        began = 0.0
        async with asyncio.timeout(SECONDS_MAX):
            while True:
                found = (await read_mirrors(self.clickhouse, PROJECT)).get(table)
                began = began or (time.perf_counter() if found else 0.0)
                if found and found.state == READY:
                    return time.perf_counter() - began
                assert self._process is not None, "start() comes first"
                assert self._process.returncode is None, "the worker has ended"
                await asyncio.sleep(POLL_S)

    async def wait_for(self, position: Position) -> None:
        """Wait until everything up to a position is loaded."""
        await self._watermarks.wait_for(position, timeout_s=SECONDS_MAX)

    def cpu_s(self) -> tuple[float, float]:
        """Processor seconds so far, of the worker and of ClickHouse."""
        assert self._process is not None
        assert self._databases.clickhouse.pid is not None
        return cpu_s(self._process.pid), cpu_s(self._databases.clickhouse.pid)

    def rss_peak_bytes(self) -> int:
        """The most memory that the worker ever held."""
        assert self._process is not None
        return rss_peak_bytes(self._process.pid)


@asynccontextmanager
async def mirror_worker(databases: TemporaryDatabases, table: str, *, postgres_url: str) -> AsyncIterator[MirrorWorker]:
    """A worker, not started yet, of a project that mirrors `table` of the database at `postgres_url`."""
    clickhouse_url = databases.clickhouse.url.replace("://", f"://{CLICKHOUSE_USER}:@")
    toml = (
        f'project = "{PROJECT}"\n[postgres]\nurl = "{postgres_url}"\n'
        f'[clickhouse]\nurl = "{clickhouse_url}"\n[mirror]\ntables = ["public.{table}"]\n'
    )
    with tempfile.TemporaryDirectory(prefix="headrace-") as name:
        root = Path(name)
        (root / "headrace.toml").write_text(toml)
        (root / "domain.py").write_text("")
        settings = Settings.load(root)
        clickhouse = await ClickHouse.connect(clickhouse_url, database=settings.database)
        await create_schema(clickhouse)
        worker = MirrorWorker(databases, clickhouse, settings)
        try:
            yield worker
        finally:
            await worker.stop()
            await clickhouse.close()


async def ours(load: Load, *, live: bool, tcp: bool = False) -> Taken:
    """Mirror what is written, until the watermark has passed it, on servers of its own. `live`: the worker is there
    when writing begins, and the time runs from then; else it comes when everything is written. `tcp`: not the socket.
    """
    async with temporary_databases() as databases:
        url = databases.postgres.socket_url
        await prepare(url, load)
        read_url = databases.postgres.url if tcp else url
        async with mirror_worker(databases, load.table, postgres_url=read_url) as worker:
            await worker.start()
            await worker.wait_until_mirrored(load.table)
            if live:
                before, began = worker.cpu_s(), time.perf_counter()
                end = await write(url, load)
            else:
                await worker.stop()
                end = await write(url, load)
                await worker.start()
                await wait_until_read(url, worker.slot)
                before, began = worker.cpu_s(), time.perf_counter()
            await worker.wait_for(end)
            seconds, after = time.perf_counter() - began, worker.cpu_s()
            await check_equal(url, worker.clickhouse, load.table)
    return Taken(seconds, after[0] - before[0], after[1] - before[1])


async def theirs(load: Load, *, live: bool) -> float:
    """Seconds that pg_recvlogical needs to write the same into a file, timed in the same way."""
    async with temporary_databases() as databases:
        url = databases.postgres.socket_url
        await prepare(url, load)
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            await connection.execute(f"CREATE PUBLICATION theirs FOR TABLE {load.table}".encode())
            await connection.execute("SELECT pg_create_logical_replication_slot('theirs', 'pgoutput')")
        path = databases.folder / "theirs.bin"
        command = ("-d", url, "--slot", "theirs", "--start", "-f", str(path))
        options = ("-o", "proto_version=1", "-o", "publication_names=theirs")
        if not live:
            await write(url, load)
        process = await asyncio.create_subprocess_exec(
            *(str(binary("pg_recvlogical")), *command, *options),
            stderr=asyncio.subprocess.DEVNULL,  # it complains when it is stopped
        )
        try:
            await wait_until_read(url, "theirs")
            began = time.perf_counter()
            if live:
                await write(url, load)
            await asyncio.to_thread(_wait_for_marker, path)
            return time.perf_counter() - began
        finally:
            process.terminate()
            await process.wait()


def _wait_for_marker(path: Path) -> None:
    """Nothing tells when another process has written something: look again and again."""
    deadline = time.monotonic() + SECONDS_MAX
    while time.monotonic() < deadline:
        if path.exists():
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
                if MARKER.encode() in file.read():
                    return
        time.sleep(POLL_S)
    raise TimeoutError(f"{path.name} had no marker after {SECONDS_MAX:.0f} s")


async def wait_until_read(url: str, slot: str) -> None:
    """Wait until a reader has taken the slot."""
    async with asyncio.timeout(SECONDS_MAX), await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        while True:
            sql = "SELECT FROM pg_replication_slots WHERE slot_name = %s AND active"
            if await (await connection.execute(sql, (slot,))).fetchone() is not None:
                return
            await asyncio.sleep(POLL_S)


async def check_equal(url: str, clickhouse: ClickHouse, table: str) -> None:
    """A figure counts only when the rows are there."""
    async with await psycopg.AsyncConnection.connect(url) as connection:
        cursor = await connection.execute(f"SELECT count(*), sum(id), sum(quantity) FROM {table}".encode())
        expected = await cursor.fetchone()
    (found,) = await clickhouse.rows(f"SELECT count(), sum(id), sum(quantity) FROM `{table}`")
    assert expected is not None
    assert [int(each) for each in found] == [int(each) for each in expected], (found, expected)


def cpu_s(pid: int) -> float:
    """Processor seconds of a process so far."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(after_name[11]) + int(after_name[12])) / _TICKS_PER_S


def rss_peak_bytes(pid: int) -> int:
    """The most memory that a process ever held."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (peak,) = (line for line in lines if line.startswith("VmHWM:"))
    return int(peak.split()[1]) * 1024
