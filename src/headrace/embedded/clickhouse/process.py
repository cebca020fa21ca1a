"""The parent's side of the embedded ClickHouse: start it, know its address, notice its end, stop it.

Whoever restarts it after a crash is the supervisor, not this module.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Final

from headrace import errors
from headrace.errors import AlreadyRunning, Error, Unavailable
from headrace.telemetry import logger

PASSWORD_VARIABLE: Final = "HEADRACE_CLICKHOUSE_PASSWORD"
MEMORY_BYTES_MAX: Final = 4 << 30
QUERIES_MAX: Final = 16
START_S_MAX: Final = 60.0
STOP_S_MAX: Final = 15.0

log = logger(__name__)


class EmbeddedClickHouse:
    """One ClickHouse in a child process, on one data folder.

    `path` is the data folder, created if missing; one process at a time may use it. `user` and `password` are what
    clients must send. `port` 0 takes a free port at the first start and keeps it for later ones. `memory_bytes_max`
    (4 GiB) bounds all queries together, `queries_max` (16) how many run at once.
    """

    def __init__(
        self,
        path: Path,
        *,
        user: str = "headrace",
        password: str,
        host: str = "127.0.0.1",
        port: int = 0,
        memory_bytes_max: int = MEMORY_BYTES_MAX,
        queries_max: int = QUERIES_MAX,
    ) -> None:
        self.path = path
        self.user = user
        self._password = password
        self._host = host
        self._port = port
        self._memory_bytes_max = memory_bytes_max
        self._queries_max = queries_max
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """The child's process id; None before `start` and after its end was seen."""
        return self._process.pid if self._process and self._process.returncode is None else None

    @property
    def url(self) -> str:
        """`http://HOST:PORT`, without credentials. The port is known after the first start."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    async def start(self) -> str:
        """Start the child and return its URL once it answers.

        Raises `AlreadyRunning` when the folder or the port is taken (the detail names the process or the port), or
        when this object's child already runs; `InvalidConfiguration` for an unusable folder; `Unavailable` when there
        is no disk space or it does not start within 60 s. After an error nothing is left running.
        """
        if self.pid is not None:
            raise AlreadyRunning("This ClickHouse is already running", f"process {self.pid}", "Stop it first.")
        self._process = process = await self._spawn()
        assert process.stdout is not None
        try:
            async with asyncio.timeout(START_S_MAX):
                line = await process.stdout.readline()
        except TimeoutError:
            await self._end(process)
            raise Unavailable("ClickHouse did not start in time", f"{START_S_MAX:.0f} s, {self.path}") from None
        except BaseException:
            await self._end(process)
            raise
        said = _said(line)
        if "port" not in said:
            code = await process.wait()
            raise _error(said, code)
        self._port = int(str(said["port"]))
        log.info("clickhouse_started", url=self.url, pid=process.pid)
        return self.url

    async def stop(self) -> None:
        """Stop the child: SIGTERM (running queries get 5 s to end), and SIGKILL after 15 s. Repeating is harmless."""
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(STOP_S_MAX):
                    await process.wait()
            except TimeoutError:
                log.warning("clickhouse_killed", pid=process.pid, after_s=STOP_S_MAX)
                await self._end(process)
        self._close_stdin(process)

    async def wait(self) -> int:
        """Wait for the child's end and return its exit code (negative for a signal), so that it can be restarted."""
        if self._process is None:
            raise Unavailable("ClickHouse was never started", hint="Call start() first.")
        code = await self._process.wait()
        self._close_stdin(self._process)
        return code

    async def _spawn(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "headrace.embedded.clickhouse.server",
            "--child",
            *("--path", str(self.path)),
            *("--host", self._host),
            *("--port", str(self._port)),
            *("--user", self.user),
            *("--memory-bytes-max", str(self._memory_bytes_max)),
            *("--queries-max", str(self._queries_max)),
            stdin=asyncio.subprocess.PIPE,  # never written to; its end tells the child that this process has died
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, PASSWORD_VARIABLE: self._password},
            start_new_session=True,  # a terminal's Ctrl-C must not reach it: the order of stopping is decided here
        )

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        self._close_stdin(process)

    def _close_stdin(self, process: asyncio.subprocess.Process) -> None:
        if process.stdin is not None:
            process.stdin.close()


def _said(line: bytes) -> dict[str, object]:
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _error(said: dict[str, object], exit_code: int) -> Error:
    """The error that the child reported, as the class that it named."""
    kind = getattr(errors, str(said.get("error", "")), None)
    if isinstance(kind, type) and issubclass(kind, Error):
        return kind(str(said["message"]), str(said["detail"]), str(said["hint"]))
    return Unavailable(
        "ClickHouse ended while starting", f"exit code {exit_code}", "Its own messages are on standard error."
    )
