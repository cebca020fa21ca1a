"""Append: what the event store costs, beside the `eventsourcing` package, pgbench and COPY on the same PostgreSQL.

Durable commits everywhere; each pair of figures is taken in turns, three rounds, and the medians are compared. With
`--stored N` (default 5,000,000) N events are brought in behind the first measurement, and all is measured again.

The last line is one JSON object. `ratio_vs_eventsourcing`: 32 concurrent writers of one event each, ours / theirs with
as many threads as it does best with. `ratio_sequential`: one writer each. `ratio_vs_pgbench`: 32 writers / 32 clients
that insert the same rows. `ratio_bulk_vs_copy`: bulk append / COPY of the same rows into an equal table.
`ratio_conditional`: appends conditional on a tag of their own / unconditional ones, 32 writers. `ratio_replay`: events
decoded and folded. `kept_min`: of all our figures, the least that is left of one behind the stored events.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import msgspec
import psycopg
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate
from eventsourcing.domain import event as their_event
from eventsourcing.persistence import StoredEvent as TheirStoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore

from benchmarks.commands import pgbench
from benchmarks.events import measured_events
from headrace import telemetry
from headrace.embedded.postgres import EmbeddedPostgres
from headrace.errors import Conflict
from headrace.event_store.append import NO_METADATA
from headrace.event_store.condition import Condition, Criterion
from headrace.event_store.event_store import EventStore
from headrace.events.event import Event, StoredEvent
from headrace.events.event_types import EventTypes

ROUNDS = 3
WRITERS = 32
THREADS = (1, 4, 8)
REPLAYED = 20_000

PGBENCH_SCRIPT = """\
\\set user random(1, 1000000000000000000)
INSERT INTO headrace.events (stream, version, type, schema_version, data, metadata)
VALUES ('user-' || :user, 1, 'Booked', 1,
        ('{"account":"' || :user || '","amount":5,"note":"a note of some length"}')::jsonb, '{}');
"""


class Booked(Event):
    account: str
    amount: int
    note: str


class Tagged(Event, tags=["account:{account}"]):
    account: str
    amount: int
    note: str


class Balance(msgspec.Struct, frozen=True):
    total: int = 0

    def evolve(self, event: Booked) -> Self:
        return type(self)(self.total + event.amount)


NOTE = "a note of some length"
TYPES = EventTypes([Booked, Tagged])

Write = Callable[[int], Awaitable[None]]


async def per_s(writers: int, seconds: float, write: Write) -> float:
    """How many writes a second, when each of `writers` begins its next one when the last has returned."""
    deadline = time.perf_counter() + seconds
    done = 0

    async def keep_writing(number: int) -> None:
        nonlocal done
        while time.perf_counter() < deadline:
            await write(number)
            done += 1

    began = time.perf_counter()
    await asyncio.gather(*(keep_writing(number) for number in range(writers)))
    return done / (time.perf_counter() - began)


def unconditional(store: EventStore) -> Write:
    async def write(number: int) -> None:
        name = uuid4().hex
        await store.append(f"user-{name}", [Booked(account=name, amount=5, note=NOTE)], expected_version=0)

    return write


def conditional(store: EventStore) -> Write:
    """The same, and on the condition that no event carries its tag: every writer has tags of its own."""

    async def write(number: int) -> None:
        name = uuid4().hex
        condition = Condition((Criterion(("Tagged",), (f"account:{name}",)),))
        await store.append(f"user-{name}", [Tagged(account=name, amount=5, note=NOTE)], condition=condition)

    return write


def hot(store: EventStore) -> Write:
    """All on one tag: read what came last, decide, append; again when somebody else was faster."""
    account = uuid4().hex
    seen = Condition((Criterion(("Tagged",), (f"account:{account}",)),))

    async def write(number: int) -> None:
        nonlocal seen
        while True:
            try:
                event = Tagged(account=account, amount=5, note=NOTE)
                await store.append(f"user-{uuid4().hex}", [event], condition=seen)
                return
            except Conflict:
                matching = store.read_matching(seen.criteria)
                async for _ in matching:
                    pass
                seen = matching.condition

    return write


class Theirs:
    """The `eventsourcing` package: its recorder in its default, correctly ordered mode, called from threads."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        datastore = PostgresDatastore(
            dbname=parts.path[1:],
            host=parts.hostname or "",
            port=parts.port or 0,
            user=parts.username or "",
            password=parts.password or "",
            pool_size=max(THREADS),
        )
        self._recorder = PostgresApplicationRecorder(datastore, events_table_name="theirs")
        self._recorder.create_table()

    def per_s(self, threads: int, seconds: float) -> float:
        """One event each, as many as the threads get in."""
        deadline = time.perf_counter() + seconds
        counts = [0] * threads
        state = msgspec.json.encode(Booked(account=uuid4().hex, amount=5, note=NOTE))

        def keep_writing(number: int) -> None:
            while time.perf_counter() < deadline:
                event = TheirStoredEvent(originator_id=uuid4(), originator_version=1, topic="Booked", state=state)
                self._recorder.insert_events([event])
                counts[number] += 1

        workers = [threading.Thread(target=keep_writing, args=(number,)) for number in range(threads)]
        began = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return sum(counts) / (time.perf_counter() - began)

    @staticmethod
    def replay_per_s() -> float:
        """Stored events, decoded and applied to their aggregate."""
        account = TheirAccount()
        for _ in range(REPLAYED):
            account.book(5, NOTE)
        mapper: Any = Application[UUID]().mapper
        stored = [mapper.to_stored_event(event) for event in account.collect_events()]
        began = time.perf_counter()
        found: Any = None
        for one in stored:
            found = mapper.to_domain_event(one).mutate(found)
        assert found.total == 5 * REPLAYED
        return len(stored) / (time.perf_counter() - began)


class TheirAccount(Aggregate):
    total = 0

    @their_event("Booked")
    def book(self, amount: int, note: str) -> None:
        self.total += amount


def replay_per_s() -> float:
    """Our stored events, decoded and folded."""
    data = msgspec.Raw(msgspec.json.encode(Booked(account="a", amount=5, note=NOTE)))
    at = datetime.now(UTC)
    stored = [
        StoredEvent(
            stream="account-a",
            version=number,
            type="Booked",
            schema_version=1,
            data=data,
            metadata=NO_METADATA,
            recorded_at=at,
        )
        for number in range(1, REPLAYED + 1)
    ]
    began = time.perf_counter()
    state = Balance()
    for one in stored:
        state = state.evolve(TYPES.decode(one))  # type: ignore[arg-type]
    assert state.total == 5 * REPLAYED
    return len(stored) / (time.perf_counter() - began)


async def bulk_per_s(store: EventStore, rows: int) -> float:
    began = time.perf_counter()
    await store.bulk_append(measured_events(rows))
    return rows / (time.perf_counter() - began)


async def copy_per_s(url: str, rows: int) -> float:
    """The rows of a bulk append, by COPY into a table with the same columns and indexes; in one piece, from memory."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("CREATE TABLE copied (LIKE headrace.events INCLUDING ALL)")
        columns = "ordinal, stream, version, type, schema_version, data, tags, metadata"
        newest = f"SELECT {columns} FROM headrace.events ORDER BY transaction_id DESC, ordinal DESC LIMIT {rows}"
        cursor = connection.cursor()
        async with cursor.copy(f"COPY ({newest}) TO STDOUT".encode()) as source:
            blocks = [bytes(block) async for block in source]
        began = time.perf_counter()
        async with cursor.copy(f"COPY copied ({columns}) FROM STDIN".encode()) as target:
            for block in blocks:
                await target.write(block)
        seconds = time.perf_counter() - began
        await connection.execute("DROP TABLE copied")
        return rows / seconds


async def store_many(url: str, count: int) -> None:
    """Events that are there already, a fifth of them with a tag."""
    statement = """
        WITH written AS (
            INSERT INTO headrace.events (ordinal, stream, version, type, schema_version, data, metadata, tags)
            SELECT n - %(begin)s, 'stored-' || n / 10, n %% 10 + 1, 'Booked', 1,
                   jsonb_build_object('account', n / 10, 'amount', 5, 'note', 'a note of some length'), '{}',
                   CASE WHEN n %% 5 = 0 THEN ARRAY['account:' || n / 10] ELSE '{}' END
            FROM generate_series(%(begin)s::bigint, %(end)s::bigint) AS n
            RETURNING tags, transaction_id, ordinal, stream, version
        )
        INSERT INTO headrace.event_tags (tag, transaction_id, ordinal, stream, version)
        SELECT tags[1], transaction_id, ordinal, stream, version FROM written WHERE tags <> '{}'
    """
    step = 100_000
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        for begin in range(0, count, step):
            await connection.execute(statement, {"begin": begin, "end": min(begin + step, count) - 1})
        await connection.execute("VACUUM ANALYZE headrace.events")
        await connection.execute("VACUUM ANALYZE headrace.event_tags")


async def measure_ours(store: EventStore, url: str, script: Path, seconds: int, rows: int) -> dict[str, float]:
    """Our figures, and those that PostgreSQL's own programs reach on the same tables, in turns."""
    taken: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        taken.setdefault(name, []).append(value)
        print(f"{name}: {value:,.0f}/s", file=sys.stderr)

    for _ in range(ROUNDS):
        note("append_32", await per_s(WRITERS, seconds, unconditional(store)))
        note("pgbench_32", await asyncio.to_thread(pgbench, url, script, seconds))
        note("append_1", await per_s(1, seconds, unconditional(store)))
        for writers in (1, 8, WRITERS):
            note(f"conditional_{writers}", await per_s(writers, seconds, conditional(store)))
        note("hot_32", await per_s(WRITERS, seconds, hot(store)))
        note("bulk", await bulk_per_s(store, rows))
        note("copy", await copy_per_s(url, rows))
        note("replay", replay_per_s())
    return {name: statistics.median(values) for name, values in taken.items()}


def measure_theirs(url: str, seconds: int) -> dict[str, float]:
    theirs = Theirs(url)
    best = {threads: statistics.median(theirs.per_s(threads, seconds) for _ in range(ROUNDS)) for threads in THREADS}
    replay = statistics.median(Theirs.replay_per_s() for _ in range(ROUNDS))
    figures = {"theirs_1": best[1], "theirs_best": max(best.values()), "theirs_replay": replay}
    print({name: round(value) for name, value in figures.items()}, file=sys.stderr)
    return figures


OURS = ("append_32", "append_1", "conditional_1", "conditional_8", "conditional_32", "hot_32", "bulk", "replay")


async def measure(seconds: int, rows: int, stored: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        postgres = EmbeddedPostgres(Path(folder) / "postgres")
        url = await postgres.start()
        script = Path(folder) / "insert.sql"
        script.write_text(PGBENCH_SCRIPT)
        try:
            async with EventStore(url) as store:
                await per_s(WRITERS, 1, unconditional(store))  # warm up: connections, prepared statements, caches
                theirs = await asyncio.to_thread(measure_theirs, url, seconds)
                few = await measure_ours(store, url, script, seconds, rows)
                many = {}
                if stored:
                    await store_many(url, stored)
                    many = await measure_ours(store, url, script, seconds, rows)
        finally:
            await postgres.stop()
    kept = {name: round(many[name] / few[name], 2) for name in OURS if many}
    return {
        "scenario": "append",
        "ratio_vs_eventsourcing": round(few["append_32"] / theirs["theirs_best"], 1),
        "ratio_sequential": round(few["append_1"] / theirs["theirs_1"], 2),
        "ratio_vs_pgbench": round(few["append_32"] / few["pgbench_32"], 2),
        "ratio_bulk_vs_copy": round(few["bulk"] / few["copy"], 2),
        "conditional": {name: round(few[name]) for name in few if name.startswith(("conditional", "hot"))},
        "ratio_conditional": round(few["conditional_32"] / few["append_32"], 2),
        "ratio_replay": round(few["replay"] / theirs["theirs_replay"], 1),
        "per_s": {name: round(value) for name, value in {**few, **theirs}.items()},
        "stored": stored,
        "per_s_stored": {name: round(value) for name, value in many.items()},
        "kept": kept,
        "kept_min": min(kept.values(), default=None),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=5, help="length of one measurement (default 5)")
    parser.add_argument("--rows", type=int, default=200_000, help="rows of a bulk append (default 200,000)")
    parser.add_argument(
        "--stored", type=int, default=5_000_000, help="events behind which all is measured again; 0: not"
    )
    arguments = parser.parse_args()
    telemetry.configure("warning")
    print(json.dumps(asyncio.run(measure(arguments.seconds, arguments.rows, arguments.stored))))
