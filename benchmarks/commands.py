"""Commands over HTTP beside pgbench inserting the same rows: what the whole write side costs.

64 connections send one command each at a time to one API process; every command is of a new user, so every one loads a
stream, decides and appends, durably. pgbench inserts equal event rows with 32 clients, durably, into the same server.
The two take turns, three rounds; the figures are medians. Run: `python benchmarks/commands.py`.

The last line is one JSON object: `per_s`, `pgbench_per_s`, `ratio` (per_s / pgbench_per_s), `p50_ms`, `p99_ms`.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import multiprocessing
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import msgspec
import uvicorn

from headrace import telemetry
from headrace.commands.decider import decider
from headrace.commands.dispatch import Dispatcher
from headrace.commands.domain import Domain
from headrace.embedded.postgres import EmbeddedPostgres, binary
from headrace.event_store.event_store import EventStore
from headrace.events.command import Command
from headrace.events.event import Event
from headrace.http.app import create_app
from headrace.http.commands import command_routes

CONNECTIONS = 64
PGBENCH_CLIENTS = 32
ROUNDS = 3

PGBENCH_SCRIPT = """\
\\set user random(1, 1000000000000000000)
INSERT INTO headrace.events (stream, version, type, schema_version, data, metadata)
VALUES ('user-' || :user, 1, 'WorkoutLogged', 1,
        ('{"user_id":"' || :user || '","type":"running","duration_seconds":1800,"distance_km":5.25}')::jsonb,
        '{"command":"LogWorkout"}');
"""


class LogWorkout(Command, stream="user-{user_id}"):
    user_id: str
    type: str
    duration_seconds: int
    distance_km: float | None = None


class WorkoutLogged(Event):
    user_id: str
    type: str
    duration_seconds: int
    distance_km: float | None


class User(msgspec.Struct, frozen=True):
    workouts: int = 0

    def evolve(self, event: WorkoutLogged) -> Self:
        return type(self)(self.workouts + 1)


@decider(LogWorkout)
def log_workout(command: LogWorkout, user: User) -> Iterable[Event]:
    yield WorkoutLogged(
        user_id=command.user_id,
        type=command.type,
        duration_seconds=command.duration_seconds,
        distance_km=command.distance_km,
    )


async def serve(url: str, listener: socket.socket) -> None:
    """The API process: what `headrace serve` runs, with one command."""
    domain = Domain.from_module(sys.modules[__name__])
    async with EventStore(url) as store:
        # What is imported by now lives as long as the process; collecting over it is a pause of 40 ms each time.
        gc.collect()
        gc.freeze()
        routes = command_routes(Dispatcher(store=store, domain=domain), domain)
        app = create_app(title="benchmark", version="1", routes=routes, body_bytes_max=1 << 20)
        config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off")
        await uvicorn.Server(config).serve(sockets=[listener])


def api_process(url: str, listener: socket.socket) -> None:
    telemetry.configure("warning")
    with asyncio.Runner(loop_factory=uvicorn.Config(app="").get_loop_factory()) as runner:
        runner.run(serve(url, listener))


class Client(asyncio.Protocol):
    """One keep-alive connection that sends the next command when the last is answered. No HTTP library: it must cost
    little beside the server that it measures."""

    def __init__(self, number: int, deadline: float, latencies_s: list[float]) -> None:
        self._number = number
        self._deadline = deadline
        self._latencies_s = latencies_s
        self._sent = 0
        self._sent_at = 0.0
        self._answer = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, separator, body = self._answer.partition(b"\r\n\r\n")
        if not separator:
            return
        length = re.search(rb"content-length: (\d+)", head)
        if length is None or len(body) < int(length[1]):
            return
        if not head.startswith(b"HTTP/1.1 201"):
            self.done.set_exception(RuntimeError(self._answer.decode()))
            self._transport.close()
            return
        now = time.perf_counter()
        self._latencies_s.append(now - self._sent_at)
        self._answer = b""
        if now < self._deadline:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)

    def _send(self) -> None:
        self._sent += 1
        user = f"{time.time_ns()}{self._number:02}"
        body = f'{{"user_id":"{user}","type":"running","duration_seconds":1800,"distance_km":5.25}}'
        head = f"POST /commands/LogWorkout HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        self._sent_at = time.perf_counter()
        self._transport.write((head + body).encode())


async def load(port: int, seconds: float) -> tuple[float, list[float]]:
    """Commands per second, and the latency of each in seconds."""
    latencies_s: list[float] = []
    begin = time.perf_counter()
    loop = asyncio.get_running_loop()
    clients = [Client(number, begin + seconds, latencies_s) for number in range(CONNECTIONS)]
    for client in clients:
        await loop.create_connection(lambda client=client: client, "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.gather(*(client.done for client in clients))
    return len(latencies_s) / (time.perf_counter() - begin), latencies_s


def pgbench(url: str, script: Path, seconds: int) -> float:
    """Rows per second."""
    command = [str(binary("pgbench")), "-n", "-M", "prepared", "-c", str(PGBENCH_CLIENTS), "-j", "2"]
    command += ["-T", str(seconds), "-f", str(script), url]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.search(r"tps = ([\d.]+)", output)
    assert found is not None, output
    return float(found[1])


async def measure(seconds: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        postgres = EmbeddedPostgres(Path(folder) / "postgres")
        url = await postgres.start()
        listener = socket.create_server(("127.0.0.1", 0), backlog=CONNECTIONS)
        port = listener.getsockname()[1]
        api = multiprocessing.get_context("fork").Process(target=api_process, args=(url, listener))
        api.start()
        try:
            return await rounds(url, port, Path(folder) / "insert.sql", seconds)
        finally:
            api.terminate()
            api.join(10)
            listener.close()
            await postgres.stop()


async def rounds(url: str, port: int, script: Path, seconds: int) -> dict[str, float]:
    script.write_text(PGBENCH_SCRIPT)
    await load(port, 1.0)  # warm up: connections, prepared statements, caches
    ours, theirs, latencies_s = [], [], []
    for number in range(1, ROUNDS + 1):
        per_s, latencies = await load(port, seconds)
        pgbench_per_s = await asyncio.to_thread(pgbench, url, script, seconds)
        print(f"round {number}: {per_s:,.0f} commands/s, pgbench {pgbench_per_s:,.0f} rows/s", file=sys.stderr)
        ours.append(per_s)
        theirs.append(pgbench_per_s)
        latencies_s += latencies
    percentiles = statistics.quantiles(latencies_s, n=100)
    per_s, pgbench_per_s = statistics.median(ours), statistics.median(theirs)
    return {
        "per_s": round(per_s),
        "pgbench_per_s": round(pgbench_per_s),
        "ratio": round(per_s / pgbench_per_s, 3),
        "p50_ms": round(percentiles[49] * 1000, 2),
        "p99_ms": round(percentiles[98] * 1000, 2),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=10, help="length of one measurement (default 10)")
    telemetry.configure("warning")
    print(json.dumps(asyncio.run(measure(parser.parse_args().seconds))))
