"""The mirror: tables of PostgreSQL kept in ClickHouse, beside what PostgreSQL's own programs need for the same rows.

Each figure is taken on servers of its own, ours and theirs in turn, and the medians of the pairs are compared. Ours has
run when the watermark has passed everything and the rows of both sides are equal. Parts, by `--only`:

- `streaming`: a reader is connected, then rows are inserted, a thousand a transaction; from the first statement until
  the last row has arrived. On a small machine the writer takes its share: `writer_rows_per_s` is the writer alone.
- `catching_up`: the same rows are all there when the reader comes.
- `updates`: a thousand changes a transaction on a table of twenty columns: 500 updates, 200 deletes, 300 inserts; all
  there when the reader comes.
- `initial_copy`: rows that are there before their table is mirrored, until it is ready, beside `psql -c "COPY …"`.
- `lag`: transactions of one insert, update or delete, at a steady rate; from the commit, as PostgreSQL dates it, until
  `SELECT` from the view finds it, and until the watermark has passed it. Taken over every change.

`--big` adds the memory that the worker takes for a transaction of ten million rows.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

from benchmarks.mirror_sides import MirrorWorker, Taken, check_equal, mirror_worker, ours, theirs
from benchmarks.mirrored_tables import (
    Load,
    narrow_inserts,
    narrow_rows,
    one_transaction,
    prepare,
    wide_changes,
    write,
)
from headrace import telemetry
from headrace.embedded.postgres_install import binary
from headrace.testing.databases import TemporaryDatabases, temporary_databases

COPIED_TIMES = 3  # the copy is the fastest: more rows, so that it takes as long
WIDE_SHARE = 5  # and changes of wide rows are the slowest: a fifth
BIG_ROWS = 10_000_000
LAG_PER_S = 2_000
LAG_ROWS = 100_000
WARM_UP_S = 3

LAG_SCRIPTS = {
    "insert.sql@5": "\\set id random(1, 1000000000000)\n"
    f"INSERT INTO narrow VALUES ({LAG_ROWS} + :id::bigint, 'customer', 'a note of some length', 1, 0.25, now()) "
    "ON CONFLICT DO NOTHING;\n",
    "update.sql@4": f"\\set id random(0, {LAG_ROWS} - 1)\n"
    "UPDATE narrow SET quantity = quantity + 1, note = 'changed' WHERE id = :id;\n",
    "delete.sql@1": f"\\set id random(0, {LAG_ROWS} - 1)\nDELETE FROM narrow WHERE id = :id;\n",
}

Figures = dict[str, object]


def say(**figures: object) -> None:
    print(figures, file=sys.stderr, flush=True)


async def compare(name: str, load: Load, rounds: int, *, live: bool) -> Figures:
    """The same load on both sides, in turn."""
    pairs: list[tuple[float, Taken]] = []
    for _ in range(rounds):
        their = await theirs(load, live=live)
        our = await ours(load, live=live)
        pairs.append((their, our))
        say(part=name, theirs_s=round(their, 2), ours=our)
    millions = load.changes / 1e6
    return {
        f"ratio_{name}": round(statistics.median(their / our.seconds for their, our in pairs), 3),
        f"{name}_rows_per_s": round(load.changes / statistics.median(our.seconds for _, our in pairs)),
        f"{name}_pg_recvlogical_rows_per_s": round(load.changes / statistics.median(their for their, _ in pairs)),
        f"{name}_cpu_s_per_million_rows": round(statistics.median(our.worker_cpu_s for _, our in pairs) / millions, 2),
        f"{name}_clickhouse_cpu_s_per_million_rows": round(
            statistics.median(our.clickhouse_cpu_s for _, our in pairs) / millions, 2
        ),
    }


async def streaming(rows: int, rounds: int) -> Figures:
    load = narrow_inserts(rows)
    return {
        **await compare("streaming", load, rounds, live=True),
        "writer_rows_per_s": round(load.changes / await writing_s(load)),
    }


async def writing_s(load: Load) -> float:
    """Seconds that the writer needs when nobody reads."""
    async with temporary_databases() as databases:
        await prepare(databases.postgres.socket_url, load)
        began = time.perf_counter()
        await write(databases.postgres.socket_url, load)
        return time.perf_counter() - began


async def catching_up(rows: int, rounds: int) -> Figures:
    return await compare("catching_up", narrow_inserts(rows), rounds, live=False)


async def updates(rows: int, rounds: int) -> Figures:
    return await compare("updates", wide_changes(rows // WIDE_SHARE), rounds, live=False)


async def initial_copy(rows: int, rounds: int) -> Figures:
    rows *= COPIED_TIMES
    pairs: list[tuple[float, float]] = []
    for _ in range(rounds):
        async with temporary_databases() as databases:
            url = databases.postgres.socket_url
            await prepare(url, narrow_rows(rows))
            psql_s = await asyncio.to_thread(psql_copy_s, databases)
            async with mirror_worker(databases, "narrow", postgres_url=url) as worker:
                await worker.start()
                our_s = await worker.wait_until_mirrored("narrow")
                await check_equal(url, worker.clickhouse, "narrow")
        pairs.append((psql_s, our_s))
        say(part="initial_copy", psql_s=round(psql_s, 2), ours_s=round(our_s, 2))
    return {
        "ratio_initial_copy": round(statistics.median(psql_s / our_s for psql_s, our_s in pairs), 3),
        "initial_copy_rows_per_s": round(rows / statistics.median(our_s for _, our_s in pairs)),
        "initial_copy_psql_rows_per_s": round(rows / statistics.median(psql_s for psql_s, _ in pairs)),
    }


def psql_copy_s(databases: TemporaryDatabases) -> float:
    path = databases.folder / "copied"
    command = [str(binary("psql")), databases.postgres.socket_url, "-c", "COPY narrow TO STDOUT"]
    with path.open("wb") as file:
        began = time.perf_counter()
        subprocess.run(command, stdout=file, check=True)
        seconds = time.perf_counter() - began
    path.unlink()
    return seconds


async def lag(per_s: int, seconds: int) -> Figures:
    async with temporary_databases() as databases:
        url = databases.postgres.socket_url
        await prepare(url, narrow_rows(LAG_ROWS))
        async with mirror_worker(databases, "narrow", postgres_url=url) as worker:
            await worker.start()
            await worker.wait_until_mirrored("narrow")
            await asyncio.to_thread(pgbench_mixed, databases, per_s, seconds + WARM_UP_S)
            await worker.wait_for(await write(url, narrow_inserts(0)))
            await check_equal(url, worker.clickhouse, "narrow")
            visible, complete, batches = await delays(worker)
    return {
        "lag_changes": len(visible),
        "lag_per_s": per_s,
        "lag_batches": batches,
        "lag_ms": _quantiles(visible),
        "lag_complete_ms": _quantiles(complete),
    }


def pgbench_mixed(databases: TemporaryDatabases, per_s: int, seconds: int) -> None:
    """Transactions of one insert, update or delete at a steady rate. Raises when the server cannot keep the rate."""
    files = []
    for name, script in LAG_SCRIPTS.items():
        (databases.folder / name.split("@")[0]).write_text(script)
        files += ["-f", str(databases.folder / name)]
    command = [str(binary("pgbench")), "-n", "-c", "4", "-M", "prepared", "-R", str(per_s), "-T", str(seconds), *files]
    done = subprocess.run([*command, databases.postgres.socket_url], stdout=subprocess.PIPE, text=True, check=True)
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("tps = "))
    reached = float(line.split()[2])
    say(part="lag", transactions_per_s=reached)
    assert reached > 0.95 * per_s, "the machine is too busy for this rate"


async def delays(worker: MirrorWorker) -> tuple[list[float], list[float], int]:
    """Milliseconds from commit to visible, and to complete, of each change behind the warm-up; the number of batches.

    The worker notes its steps by a clock that is the same for all processes; PostgreSQL dates commits by the wall's.
    """
    to_wall_s = time.time() - time.perf_counter()
    times: dict[str, list[float]] = {}
    for line in worker.steps.read_text().splitlines():
        at, step = line.split(" ", 1)
        times.setdefault(step, []).append(float(at) + to_wall_s)
    found = await worker.clickhouse.rows("SELECT batch FROM headrace.batches FINAL ORDER BY batch")
    batches = [int(batch) for (batch,) in found]
    assert len(batches) == len(times["tables_loaded"]) == len(times["watermark_written"])
    loaded = dict(zip(batches, times["tables_loaded"], strict=True))
    vouched = dict(zip(batches, times["watermark_written"], strict=True))
    changes = await worker.clickhouse.rows(
        "SELECT _batch, toFloat64(_committed_at) FROM narrow_changes WHERE _operation != 'update_before' "
        "ORDER BY _lsn, _ordinal"
    )
    began = changes[0][1] + WARM_UP_S
    measured = [(batch, at) for batch, at in changes if at >= began]
    visible = [(loaded[batch] - at) * 1000 for batch, at in measured]
    return visible, [(vouched[batch] - at) * 1000 for batch, at in measured], len(batches)


def _quantiles(values: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(values, n=100)
    return {"p50": round(cuts[49], 1), "p99": round(cuts[98], 1)}


async def big() -> Figures:
    load = one_transaction(BIG_ROWS)
    async with temporary_databases() as databases:
        url = databases.postgres.socket_url
        await prepare(url, load)
        async with mirror_worker(databases, load.table, postgres_url=url) as worker:
            await worker.start()
            await worker.wait_until_mirrored(load.table)
            before = worker.rss_peak_bytes()
            end = await write(url, load)
            began = time.perf_counter()
            await worker.wait_for(end)
            seconds = time.perf_counter() - began
            await check_equal(url, worker.clickhouse, load.table)
            peak = worker.rss_peak_bytes()
    return {
        "big_rows": BIG_ROWS,
        "big_rows_per_s": round(BIG_ROWS / seconds),
        "big_rss_before_mib": before >> 20,
        "big_rss_peak_mib": peak >> 20,
    }


def main() -> Figures:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=30, help="length of the measurement of the lag")
    parser.add_argument("--per-s", type=int, default=LAG_PER_S, help="transactions a second, for the lag")
    parser.add_argument("--big", action="store_true", help="also one transaction of ten million rows")
    parts = ("streaming", "catching_up", "initial_copy", "updates", "lag", "big")
    parser.add_argument("--only", choices=parts, help="one part")
    arguments = parser.parse_args()
    rows, rounds = arguments.rows, arguments.rounds
    run: dict[str, Callable[[], Awaitable[Figures]]] = {
        "streaming": lambda: streaming(rows, rounds),
        "catching_up": lambda: catching_up(rows, rounds),
        "initial_copy": lambda: initial_copy(rows, rounds),
        "updates": lambda: updates(rows, rounds),
        "lag": lambda: lag(arguments.per_s, arguments.seconds),
        "big": big,
    }
    wanted = [arguments.only] if arguments.only else [*parts[:-1], *(["big"] if arguments.big else [])]
    figures: Figures = {"scenario": "mirror", "rows": rows, "rounds": rounds}
    for part in wanted:
        figures |= asyncio.run(run[part]())  # type: ignore[arg-type]
    return figures


if __name__ == "__main__":
    telemetry.configure("warning")
    print(json.dumps(main()))
