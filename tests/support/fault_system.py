"""A whole system to break: both databases, a project folder, and roles as child processes."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from support import dying_worker, fault_domain
from support.waiting import DEADLINE_S, ROUNDS

from headrace.embedded.clickhouse.process import EmbeddedClickHouse
from headrace.embedded.postgres import EmbeddedPostgres
from headrace.runtime.supervisor import Child, keeping
from headrace.settings import Settings
from headrace.testing.databases import project_folder, temporary_databases
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.schema import create_schema

TIMEOUT_S = 240 + 60 * ROUNDS  # a round is up to six kills, each some seconds on a busy machine

STATEMENTS = """
CREATE STREAM deposits AS SELECT account, amount, note FROM Deposited WHERE amount > 10;
CREATE TABLE balances AS
  SELECT account, COUNT(*) AS deposits, SUM(amount) AS total, MAX(amount) AS largest FROM deposits GROUP BY account;
CREATE TABLE notes AS SELECT note, COUNT(*) AS times, SUM(amount) AS total FROM Deposited GROUP BY note;
"""


class Process:
    """One child process of a test. What it says is added to the file `log`."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self.log = log

    @classmethod
    async def start(cls, *command: str, log: Path, environ: Mapping[str, str]) -> Self:
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,  # its end tells the process that the test has died
                stdout=output,
                stderr=output,
                env={**_without_settings(os.environ), **environ, "_HEADRACE_CHILD": "1"},
                start_new_session=True,
            )
        return cls(process, log)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    def says(self, text: str) -> int:
        """How many of its lines hold `text`."""
        return sum(text in line for line in self.log.read_text().splitlines())

    async def wait(self) -> int:
        """Its exit code, or minus the signal that ended it."""
        async with asyncio.timeout(DEADLINE_S):
            return await self._process.wait()

    async def kill(self) -> None:
        """As `kill -9` does."""
        assert self.running, f"it ended by itself:\n{self.log.read_text()[-4000:]}"
        self._process.kill()
        assert await self.wait() == -signal.SIGKILL

    async def stop(self) -> None:
        """Ask it to end; it must end well. Does nothing when it has ended."""
        if self.running:
            self._process.terminate()
            assert await self.wait() == 0, self.log.read_text()[-4000:]

    async def end(self) -> None:
        """Whatever it does, it is gone afterwards."""
        if self.running:
            self._process.kill()
            await self.wait()


def _without_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """The settings of whoever runs the tests are not those of the project."""
    return {key: value for key, value in environ.items() if not key.startswith("HEADRACE_")}


@dataclass
class System:
    """What a test breaks. `stack` ends what was started on it."""

    postgres: EmbeddedPostgres
    clickhouse_server: EmbeddedClickHouse
    settings: Settings
    environ: Mapping[str, str]
    stack: AsyncExitStack

    @property
    def root(self) -> Path:
        return self.settings.root

    async def worker(self) -> Process:
        """`headrace worker`."""
        return await self._start("worker", "-m", "headrace", "worker", "--project", str(self.root))

    async def reactor(self) -> Process:
        """`headrace reactor`."""
        return await self._start("reactor", "-m", "headrace", "reactor", "--project", str(self.root))

    async def api(self, port: int) -> Process:
        """`headrace serve`."""
        environ = {"HEADRACE_HTTP__PORT": str(port)}
        return await self._start("serve", "-m", "headrace", "serve", "--project", str(self.root), environ=environ)

    async def dying_worker(self, step: str, occurrence: int) -> Process:
        """A worker that kills itself where `step` is announced for the `occurrence`-th time."""
        return await self._start("worker", dying_worker.__file__, str(self.root), step, str(occurrence))

    async def connect(self) -> ClickHouse:
        """A client that the test's end closes, with Headrace's own tables in place."""
        client = await ClickHouse.connect(self.clickhouse_server.url, database=self.settings.database)
        self.stack.push_async_callback(client.close)
        await create_schema(client)
        return client

    async def _start(self, name: str, *arguments: str, environ: Mapping[str, str] | None = None) -> Process:
        log = self.root / f"{name}.log"
        process = await Process.start(sys.executable, *arguments, log=log, environ={**self.environ, **(environ or {})})
        self.stack.push_async_callback(process.end)
        return process


@asynccontextmanager
async def running_system(files: Mapping[str, str] | None = None, /, **environ: str) -> AsyncIterator[System]:
    """Both databases on free ports and a project that uses them; no role runs yet. `environ` goes to the roles.

    `files` are those of another project than the ledger of most fault tests.
    """
    files = files or {
        "domain.py": Path(fault_domain.__file__).read_text(),
        "reactors.py": Path(__file__).with_name("fault_reactors.py").read_text(),
        "streams/ledger.sql": STATEMENTS,
    }
    async with temporary_databases() as databases, AsyncExitStack() as stack:
        root = stack.enter_context(project_folder(files))
        environ |= {
            "HEADRACE_POSTGRES__URL": databases.postgres.url,
            "HEADRACE_CLICKHOUSE__URL": databases.clickhouse.url,
        }
        settings = Settings.load(root, environ)
        try:
            yield System(databases.postgres, databases.clickhouse, settings, environ, stack)
        except BaseException:
            for log in root.glob("*.log"):
                sys.stderr.write(f"--- {log.name} ends with:\n{log.read_text()[-8000:]}\n")
            raise


class Server(Child, Protocol):
    """An embedded database."""

    @property
    def pid(self) -> int | None: ...


class _Kept:
    """A server as its supervisor sees it; `settled` is set when it was started again, or given up."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.starts = 0
        self.settled = asyncio.Event()
        self.wait, self.stop = server.wait, server.stop

    async def start(self) -> None:
        await self._server.start()
        self.starts += 1
        self.settled.set()


async def kill_and_keep(name: str, server: Server) -> None:
    """`kill -9` a server under the supervisor that keeps it in production, until that has it running again."""
    assert server.pid is not None
    kept = _Kept(server)
    async with keeping([(name, kept)], on_failure=kept.settled.set):
        os.kill(server.pid, signal.SIGKILL)
        async with asyncio.timeout(DEADLINE_S):
            await kept.settled.wait()
    assert kept.starts == 1, f"the supervisor gave {name} up"


def free_port() -> int:
    """A port that nobody uses at this moment, to be used again after a kill."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
