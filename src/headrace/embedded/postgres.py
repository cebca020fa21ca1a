"""EmbeddedPostgres: a real PostgreSQL server as a child process, its data in the project's folder.

Owns the life of that process and nothing else: no schema and no query belongs here. It must never damage a data folder
that another process uses, and never leave a half-made one.

    .headrace/postgres            the data folder
    .headrace/postgres.password   mode 0600
    .headrace/postgres.lock       held by the process that owns the server; the kernel frees it when that process dies
    .headrace/postgres.log        what the server says

**When the owner dies** without stopping its server, Linux tells the server to shut down (`setpriv --pdeathsig`, where
util-linux has it). Elsewhere, or when that shutdown takes long, the next start finds the orphan by its data folder,
stops it and starts afresh.

**Under root** the server runs as an account without rights, which often cannot reach the project folder: `/root` is
closed to it. So the child is started *inside* its data folder and told that its data is at `/proc/self/cwd`.
"""

from __future__ import annotations

import asyncio
import fcntl
import math
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import IO
from urllib.parse import quote

from headrace.embedded.postgres_cluster import USER, make_cluster, read_or_make_password
from headrace.embedded.postgres_install import Account, binary, programs_for
from headrace.embedded.postgres_orphans import end_orphans, is_ready
from headrace.embedded.postgres_program import data_argument, failure, spawn, until
from headrace.errors import AlreadyRunning, Unavailable
from headrace.telemetry import logger

__all__ = ["EmbeddedPostgres", "binary"]

log = logger(__name__)

_LOCK_MAX_S = 1.0
_START_MAX_S = 300.0  # crash recovery replays at most max_wal_size, about a minute on a slow disk
_STOP_FAST_MAX_S = 10.0
_STOP_IMMEDIATE_MAX_S = 5.0
_ATTEMPTS_MAX = 5
_SOCKET_PATH_BYTES_MAX = 107
_LOG_BYTES_MAX = 16 << 20

SETTINGS: Mapping[str, str] = {
    "listen_addresses": "127.0.0.1",  # never reachable from another machine
    "unix_socket_directories": ".",  # the data folder, where the server works
    "wal_level": "logical",  # capture reads the write-ahead log
    "max_replication_slots": "10",  # capture, its tests and pg_recvlogical side by side; a slot costs little
    "max_wal_senders": "10",
    "wal_sender_timeout": "60s",  # a worker that hangs longer than this is disconnected and starts over
    "max_connections": "100",
    "fsync": "on",  # said aloud: an acknowledged event survives power loss
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "128MB",  # small machine: the page cache does the rest
    "max_wal_size": "2GB",  # fewer checkpoints, so fewer full page images, while a year of history comes in
    "checkpoint_timeout": "5min",
    "wal_compression": "on",  # full page images are the larger part of the log after a checkpoint
    "jit": "off",  # every statement here is short; compiling it would cost more than running it
    "password_encryption": "scram-sha-256",
    "search_path": "public",  # the role is called like our schema: "$user" would put the application's tables there
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",  # error texts are read by postgres_program.failure
    "log_checkpoints": "off",  # the log file is not rotated while the server runs: keep it to what matters
    "log_min_messages": "warning",
}


class EmbeddedPostgres:
    """One PostgreSQL server over one data folder.

    `data` is the data folder, made by the first start. `port` is the TCP port on 127.0.0.1; 0 takes a free one and
    keeps it over restarts of this object. `settings` go over SETTINGS. `programs` is a `bin` folder of PostgreSQL,
    by default that of the installed wheel. Start it from a thread that lives as long as the server shall.
    """

    def __init__(
        self,
        data: Path,
        *,
        port: int = 0,
        settings: Mapping[str, str] | None = None,
        programs: Path | None = None,
    ) -> None:
        self.data = data.absolute()
        self.port = port
        self._settings = {**SETTINGS, **(settings or {})}
        self._programs = programs
        self._password = ""
        self._lock: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id of the running server. Raises Unavailable when it was not started."""
        if self._process is None:
            raise Unavailable("The embedded PostgreSQL is not running.", hint="Start it first.")
        return self._process.pid

    @property
    def url(self) -> str:
        """The address over TCP, password included: do not log it."""
        return f"postgresql://{USER}:{self._password}@127.0.0.1:{self.port}/postgres"

    @property
    def socket_url(self) -> str:
        """The address over the Unix socket in the data folder, which is faster for bulk; password included.

        The path of a Unix socket has room for about 107 bytes: under a longer data folder this is `url`.
        """
        if len(os.fsencode(self.data / f".s.PGSQL.{self.port}")) > _SOCKET_PATH_BYTES_MAX:
            return self.url
        folder = quote(str(self.data), safe="")
        return f"postgresql://{USER}:{self._password}@/postgres?host={folder}&port={self.port}"

    async def start(self) -> str:
        """Make the data folder if there is none, start the server, wait until it takes connections; return `url`.

        Raises AlreadyRunning when another process owns the data folder or the port, InvalidConfiguration for a folder
        that is not ours, Unavailable with the server's last words otherwise. After an error nothing is left running.
        """
        self.data.parent.mkdir(parents=True, exist_ok=True)
        if self._process is not None and self._process.poll() is not None:
            await self.stop()  # it crashed: give the lock back, or it would keep out ourselves
        self._lock = await _take_lock(self._beside("lock"), self.data)
        try:
            await end_orphans(self.data)
            account = Account.for_data(self.data)
            programs = self._programs or programs_for(account)
            self._password = read_or_make_password(self._beside("password"), self.data)
            await asyncio.to_thread(make_cluster, self.data, programs, account, self._password)
            await self._launch(programs, account)
        except BaseException:
            await self.stop()
            raise
        log.info("postgres_started", pid=self.pid, port=self.port, data=str(self.data))
        return self.url

    async def stop(self) -> None:
        """Stop the server: fast, at its deadline at once, at that deadline by force. Does nothing when not started."""
        process, self._process = self._process, None
        if process is not None:
            for number, deadline_s in (
                (signal.SIGINT, _STOP_FAST_MAX_S),
                (signal.SIGQUIT, _STOP_IMMEDIATE_MAX_S),
                (signal.SIGKILL, _STOP_IMMEDIATE_MAX_S),
            ):
                if process.poll() is not None:
                    break
                process.send_signal(number)
                await until(lambda: process.poll() is not None, deadline_s)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    async def wait(self) -> int:
        """Wait until the server ends by itself; return its exit code, or minus the signal that ended it."""
        process = self._process
        if process is None:
            return 0
        await until(lambda: process.poll() is not None, math.inf, every_s=0.05)
        return process.wait()

    def _beside(self, suffix: str) -> Path:
        return self.data.with_name(f"{self.data.name}.{suffix}")

    async def _launch(self, programs: Path, account: Account | None) -> None:
        fixed = self.port
        for attempt in range(1, _ATTEMPTS_MAX + 1):
            self.port = fixed or _free_port()
            said = await self._try_launch(programs, account)
            if said is None:
                return
            # Both pass: a port that was free a moment ago, and the last children of a server that was killed.
            passing = "shared memory block" in said or (not fixed and "Address already in use" in said)
            if not passing or attempt == _ATTEMPTS_MAX:
                raise failure(said, self.data, self.port)
            await asyncio.sleep(attempt * 0.2)

    async def _try_launch(self, programs: Path, account: Account | None) -> str | None:
        """None when the server takes connections; what it said when it ended instead."""
        path = self._beside("log")
        if path.exists() and path.stat().st_size > _LOG_BYTES_MAX:
            path.replace(self._beside("log.1"))
        with path.open("ab") as output:
            begin = output.tell()
            self._process = process = spawn(self._command(programs, account), self.data, account, output)
        if not await until(lambda: process.poll() is not None or is_ready(self.data, process.pid), _START_MAX_S):
            return f"It was not ready after {_START_MAX_S:.0f} s.\n{_tail(path, begin)}"
        return None if process.poll() is None else _tail(path, begin)

    def _command(self, programs: Path, account: Account | None) -> list[str]:
        command = [str(programs / "postgres"), "-D", data_argument(self.data, account), "-p", str(self.port)]
        for name, value in self._settings.items():
            command += ["-c", f"{name}={value}"]
        if setpriv := shutil.which("setpriv"):
            command = [setpriv, "--pdeathsig", "INT", "--", *command]
        return command


async def _take_lock(path: Path, data: Path) -> IO[str]:
    """Waits a moment: an owner that was just killed holds the lock until the kernel has cleared it away."""
    file = path.open("a+")
    if not await until(lambda: _try_lock(file), _LOCK_MAX_S):
        file.seek(0)
        owner = file.read().strip() or "unknown"
        file.close()
        raise AlreadyRunning(
            "Another process runs the embedded PostgreSQL of this folder.",
            f"Folder {data}, process {owner}.",
            f"Stop it with `kill {owner}`, or use it: one folder has one server.",
        )
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _tail(path: Path, begin: int, lines_max: int = 20) -> str:
    with path.open("rb") as file:
        file.seek(begin)
        return "\n".join(file.read(1 << 20).decode(errors="replace").splitlines()[-lines_max:])
