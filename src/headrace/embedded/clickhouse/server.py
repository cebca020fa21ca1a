"""The child process: locks the data folder, starts the engine, serves, and stops in order.

    python -m headrace.embedded.clickhouse.server --path DIR --host 127.0.0.1 --port 0

The user's password comes in the environment variable HEADRACE_CLICKHOUSE_PASSWORD, never on the command line. One line
of JSON on standard output says that it serves (`{"port": …}`) or why it does not (`{"error": …}`). The process stops
on SIGTERM and, with `--child`, when its standard input closes, which is how it notices that its parent has died. It
ignores Ctrl-C, because the parent decides the order of stopping.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import uvicorn
import uvloop

from headrace import telemetry
from headrace.embedded.clickhouse import responses
from headrace.embedded.clickhouse.admission import Admission
from headrace.embedded.clickhouse.app import App
from headrace.embedded.clickhouse.engine import Engine
from headrace.embedded.clickhouse.exceptions import ClickHouseException
from headrace.embedded.clickhouse.exchange import House
from headrace.embedded.clickhouse.feed import Spool
from headrace.embedded.clickhouse.process import PASSWORD_VARIABLE
from headrace.embedded.clickhouse.sessions import Sessions
from headrace.errors import AlreadyRunning, Error, InvalidConfiguration, Unavailable

LOCK_FILE: Final = "headrace.lock"
DRAIN_S: Final = 5
# The engine may hang while it stops; a process without a parent must not stay for ever.
ORPHAN_S_MAX: Final = 15.0
FREE_BYTES_MIN: Final = 64 << 20
# These would be read as options of chDB's connection string or as a glob of FROM INFILE.
_FORBIDDEN_IN_PATH: Final = frozenset("?&*{}[]%'\\")


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling, and with a word when it serves."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listening in sockets or ():
            _say({"port": listening.getsockname()[1], "pid": os.getpid()})


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="headrace.embedded.clickhouse.server", description=__doc__)
    parser.add_argument("--path", type=Path, required=True, help="the data folder; created if missing")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--user", default="headrace")
    parser.add_argument("--memory-bytes-max", type=int, default=4 << 30, help="of all queries together")
    parser.add_argument("--queries-max", type=int, default=16, help="running at once")
    parser.add_argument("--child", action="store_true", help="stop when standard input closes")
    return parser.parse_args()


def _check_folder(path: Path) -> Path:
    path = path.resolve()
    if odd := _FORBIDDEN_IN_PATH.intersection(str(path)):
        raise InvalidConfiguration(
            "The data folder's path has a character that ClickHouse cannot use",
            f"path {path}, character {min(odd)!r}",
            "Move the project to a path without ? & * { } [ ] % ' and backslashes.",
        )
    try:
        path.mkdir(parents=True, exist_ok=True)
        free_bytes = shutil.disk_usage(path).free
    except OSError as error:
        raise InvalidConfiguration("The data folder cannot be used", f"{path}: {error}") from error
    if free_bytes < FREE_BYTES_MIN:
        raise Unavailable(
            "There is no disk space left for ClickHouse",
            f"{path} has {free_bytes >> 20} MiB free, {FREE_BYTES_MIN >> 20} MiB are needed to start",
            "Free disk space, or move the data folder to another disk.",
        )
    return path


def _lock(path: Path) -> int:
    """Take the folder for this process; the lock goes with the process, however it ends."""
    lock = os.open(path / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.read(lock, 32).decode().strip() or "unknown"
        raise AlreadyRunning(
            "Another process uses this ClickHouse data folder",
            f"folder {path}, process {holder}",
            f"Stop it (kill {holder}), or use another project folder.",
        ) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Accepted connections inherit it; without it, a small answer waits 40 ms for an acknowledgement.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        listening.bind((host, port))
        listening.listen(1024)
    except OSError as error:
        raise AlreadyRunning(
            f"Port {port} on {host} cannot be used",
            str(error),
            f"Stop what listens there (ss -ltnp 'sport = :{port}' names it), or choose another port.",
        ) from error
    return listening


def _start_engine(path: Path, memory_bytes_max: int) -> Engine:
    try:
        return Engine(path, memory_bytes_max=memory_bytes_max)
    except ImportError as error:
        raise InvalidConfiguration(
            "The embedded ClickHouse is not installed", str(error), "Run: pip install 'headrace[embedded]'"
        ) from error
    except (ClickHouseException, RuntimeError) as error:
        raise Unavailable("ClickHouse cannot start on this data folder", f"{path}: {error}") from error


def _say(line: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
    # Nobody reads further lines: what the engine may print must not fill the pipe and block.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())


async def _serve(house: House, listening: socket.socket, *, user: str, password: str, host: str, child: bool) -> None:
    config = uvicorn.Config(
        App(house, user=user, password=password, host=host),
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        timeout_keep_alive=responses.KEEP_ALIVE_S,
        timeout_graceful_shutdown=DRAIN_S,
    )
    server = _Server(config)
    loop = asyncio.get_running_loop()

    def stop() -> None:
        server.should_exit = True

    def parent_gone() -> None:
        loop.remove_reader(sys.stdin.fileno())
        watchdog = threading.Timer(ORPHAN_S_MAX, os._exit, (1,))
        watchdog.daemon = True
        watchdog.start()
        stop()

    loop.add_signal_handler(signal.SIGTERM, stop)
    if child:
        # Nothing is ever written to it: it becomes readable when the parent's end is closed.
        loop.add_reader(sys.stdin.fileno(), parent_gone)
    await server.serve(sockets=[listening])


def main() -> int:
    """Run the child process; returns its exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(0o077)  # the data is its owner's alone
    telemetry.configure("warning")
    arguments = _arguments()
    try:
        path = _check_folder(arguments.path)
        lock = _lock(path)
        listening = _listen(arguments.host, arguments.port)
        engine = _start_engine(path, arguments.memory_bytes_max)
    except Error as error:
        _say(dict(error.as_dict()))
        return error.exit_code
    threads = ThreadPoolExecutor(arguments.queries_max + 2, "query")
    house = House(engine, Admission(arguments.queries_max), Sessions(engine), Spool(path / "spool"), threads)
    password = os.environ.pop(PASSWORD_VARIABLE, "")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(
            _serve(
                house,
                listening,
                user=arguments.user,
                password=password,
                host=arguments.host,
                child=arguments.child,
            )
        )
    engine.kill_all()
    threads.shutdown(wait=True)
    house.sessions.close()
    engine.close()
    os.close(lock)
    return 0


if __name__ == "__main__":
    sys.exit(main())
