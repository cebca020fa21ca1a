"""Debezium's embedded engine into nothing, and our worker into ClickHouse, on the same rows and the same machine.

The engine is Debezium's own way to run without Kafka, in one process. It converts to JSON or, with `connect`, not at
all: it hands over Java objects. The ratios are to the faster of the two. Parts, by `--only`:

- `streaming`: the reader is connected, then rows are inserted, a thousand a transaction; from the first statement until
  the last row has arrived. Ours has arrived when the watermark has passed it.
- `snapshot`: rows that are there before; from the start of its task, and of our copy, until all are there.

Both read over loopback TCP, since Java has no other way. What a process needs to start is not measured. Needs Java 17
and Maven, which brings Debezium; without them nothing is measured, and the one line says so.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.mirror_sides import SECONDS_MAX, check_equal, mirror_worker, ours, wait_until_read
from benchmarks.mirrored_tables import Load, narrow_inserts, narrow_rows, prepare, write
from headrace import telemetry
from headrace.testing.databases import temporary_databases

SOURCE = Path(__file__).parent / "debezium_engine"
CONVERTERS = ("connect", "json")
SNAPSHOT_TIMES = 3  # as much as in `mirror`

# Larger batches and queues than its defaults, and nothing on disk, let it go as fast as it can.
PROPERTIES = {
    "name": "benchmark",
    "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
    "offset.storage": "org.apache.kafka.connect.storage.MemoryOffsetBackingStore",
    "offset.flush.interval.ms": "10000",
    "plugin.name": "pgoutput",
    "slot.name": "debezium",
    "publication.name": "debezium",
    "publication.autocreate.mode": "filtered",
    "table.include.list": "public.narrow",
    "topic.prefix": "benchmark",
    "max.batch.size": "16384",
    "max.queue.size": "65536",
    "poll.interval.ms": "10",
    "snapshot.fetch.size": "20000",
    "converter.schemas.enable": "false",
    "key.converter.schemas.enable": "false",
    "value.converter.schemas.enable": "false",
}

Figures = dict[str, object]


def say(**figures: object) -> None:
    print(figures, file=sys.stderr, flush=True)


def build(folder: Path) -> str:
    """Bring Debezium's jars and compile the engine's program into `folder`; the class path."""
    shutil.copy(SOURCE / "pom.xml", folder)
    maven = ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=jars"]
    subprocess.run(maven, cwd=folder, check=True, stdout=sys.stderr)
    class_path = f"{folder}/jars/*:{folder}"
    subprocess.run(["javac", "-cp", class_path, "-d", str(folder), str(SOURCE / "CountingEngine.java")], check=True)
    return class_path


class Engine:
    """Debezium in a process of its own, which says when it has started and when it has handed over all rows."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def says(self, word: str) -> None:
        """Wait until it says `word`."""
        assert self._process.stdout is not None
        async with asyncio.timeout(SECONDS_MAX):
            line = await self._process.stdout.readline()
        assert line.decode().strip() == word, f"Debezium said {line.decode()!r}; expected {word!r}"


@asynccontextmanager
async def debezium(
    class_path: str, url: str, folder: Path, *, converter: str, snapshot: str, rows: int
) -> AsyncIterator[Engine]:
    """The engine, running on the database at `url`; `snapshot` is its snapshot.mode."""
    parts = urlsplit(url)
    server = {
        "database.hostname": parts.hostname,
        "database.port": parts.port,
        "database.user": parts.username,
        "database.password": parts.password,
        "database.dbname": parts.path[1:],
        "snapshot.mode": snapshot,
    }
    properties = folder / "debezium.properties"
    properties.write_text("".join(f"{name}={value}\n" for name, value in {**PROPERTIES, **server}.items()))
    process = await asyncio.create_subprocess_exec(
        *("java", "-Xmx2g", "-cp", class_path, "CountingEngine", str(properties), converter, str(rows)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield Engine(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def their_streaming_s(class_path: str, load: Load, converter: str) -> float:
    async with temporary_databases() as databases:
        url = databases.postgres.url
        await prepare(url, load)
        running = debezium(
            class_path, url, databases.folder, converter=converter, snapshot="no_data", rows=load.changes + 1
        )
        async with running as engine:
            await engine.says("started")
            await wait_until_read(url, "debezium")
            began = time.perf_counter()
            await write(url, load)
            await engine.says("done")
            return time.perf_counter() - began


async def their_snapshot_s(class_path: str, load: Load, converter: str, rows: int) -> float:
    async with temporary_databases() as databases:
        url = databases.postgres.url
        await prepare(url, load)
        running = debezium(class_path, url, databases.folder, converter=converter, snapshot="initial_only", rows=rows)
        async with running as engine:
            await engine.says("started")
            began = time.perf_counter()
            await engine.says("done")
            return time.perf_counter() - began


async def our_copy_s(load: Load) -> float:
    async with temporary_databases() as databases:
        url = databases.postgres.url
        await prepare(url, load)
        async with mirror_worker(databases, load.table, postgres_url=url) as worker:
            await worker.start()
            seconds = await worker.wait_until_mirrored(load.table)
            await check_equal(url, worker.clickhouse, load.table)
            return seconds


async def streaming(class_path: str, rows: int, rounds: int) -> Figures:
    load = narrow_inserts(rows)
    seconds: dict[str, list[float]] = {side: [] for side in ("ours", *CONVERTERS)}
    for _ in range(rounds):
        for converter in CONVERTERS:
            seconds[converter].append(await their_streaming_s(class_path, load, converter))
        seconds["ours"].append((await ours(load, live=True, tcp=True)).seconds)
        say(part="streaming", **{side: round(values[-1], 2) for side, values in seconds.items()})
    return _figures("streaming", rows, seconds)


async def snapshot(class_path: str, rows: int, rounds: int) -> Figures:
    rows *= SNAPSHOT_TIMES
    load = narrow_rows(rows)
    seconds: dict[str, list[float]] = {side: [] for side in ("ours", *CONVERTERS)}
    for _ in range(rounds):
        for converter in CONVERTERS:
            seconds[converter].append(await their_snapshot_s(class_path, load, converter, rows))
        seconds["ours"].append(await our_copy_s(load))
        say(part="snapshot", **{side: round(values[-1], 2) for side, values in seconds.items()})
    return _figures("initial_copy", rows, seconds)


def _figures(name: str, rows: int, seconds: dict[str, list[float]]) -> Figures:
    medians = {side: statistics.median(values) for side, values in seconds.items()}
    best = min(medians[converter] for converter in CONVERTERS)
    return {
        f"ratio_{name}": round(best / medians["ours"], 2),
        f"{name}_rows_per_s": round(rows / medians["ours"]),
        **{f"{name}_debezium_{each}_rows_per_s": round(rows / medians[each]) for each in CONVERTERS},
    }


def main() -> Figures:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rows", type=int, default=1_000_000, help="rows that are streamed; three times as many copied"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("streaming", "snapshot"), help="one part")
    arguments = parser.parse_args()
    figures: Figures = {"scenario": "debezium", "rows": arguments.rows, "rounds": arguments.rounds}
    missing = [program for program in ("java", "javac", "mvn") if shutil.which(program) is None]
    if missing:
        return {**figures, "skipped": f"Debezium needs {', '.join(missing)}: install a JDK (17 or later) and Maven."}
    with tempfile.TemporaryDirectory(prefix="headrace-") as name:
        class_path = build(Path(name))
        if arguments.only != "snapshot":
            figures |= asyncio.run(streaming(class_path, arguments.rows, arguments.rounds))
        if arguments.only != "streaming":
            figures |= asyncio.run(snapshot(class_path, arguments.rows, arguments.rounds))
    return figures


if __name__ == "__main__":
    telemetry.configure("warning")
    print(json.dumps(main()))
