"""Events that are older than the slot: every one of them, once, before the first change of the log."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from psycopg.conninfo import make_conninfo
from support.capture_side import Database, drop_database

from headrace.bus.batch import Batch, Idle, Relation
from headrace.capture.source import Source
from headrace.embedded.postgres import EmbeddedPostgres
from headrace.event_store.event_store import EventStore
from headrace.events.event import Event
from headrace.events.position import START, Position

EVENTS = Relation("headrace", "events")
ROWS_MAX = 10


class Noted(Event):
    number: int
    text: str


@pytest.fixture
async def url(postgres_server: EmbeddedPostgres) -> AsyncIterator[str]:
    server = Database(postgres_server.url, "postgres")
    name = f"backlog_{uuid4().hex[:12]}"
    await server.run(f"CREATE DATABASE {name}")
    yield make_conninfo(postgres_server.url, dbname=name)
    await drop_database(server, name)


@pytest.fixture
async def store(url: str) -> AsyncIterator[EventStore]:
    async with EventStore(url, pool_size=2) as opened:
        yield opened


def make_source(url: str) -> Source:
    slot = make_conninfo(url).rsplit("backlog_", 1)[1].split(" ")[0]
    return Source(
        postgres_url=url,
        slot=f"s_{slot}",
        publication=f"s_{slot}",
        tables=["headrace.events"],
        buffer_bytes_max=1 << 20,
        batch_rows_max=ROWS_MAX,
    )


async def note(store: EventStore, first: int, count: int) -> None:
    for number in range(first, first + count):
        text = 'quotes " and, commas\nand lines \\ ü' if number % 2 else ""
        await store.append(f"note-{number % 3}", [Noted(number=number, text=text)])


def numbers(batch: Batch) -> list[tuple[str, str]]:
    table = batch.inserts[EVENTS]
    return list(zip(table["stream"].to_pylist(), table["data"].to_pylist(), strict=True))


async def read(source: Source, events: int) -> list[Batch]:
    batches: list[Batch] = []
    while sum(batch.rows for batch in batches) < events:
        got = await source.next_batch(wait_s=10)
        assert got is not None, f"{batches} and nothing more"
        if isinstance(got, Batch):
            batches.append(got)
    return batches


async def test_older_events_come_first_and_those_of_the_log_after_them(url: str, store: EventStore) -> None:
    await note(store, 0, 25)
    source = make_source(url)
    await source.prepare()
    await note(store, 25, 5)  # behind the slot's begin: these are in the log
    await source.start(after=START)

    batches = await read(source, 30)
    await source.close()

    seen = [pair for batch in batches for pair in numbers(batch)]
    assert len(seen) == len(set(seen)) == 30
    assert [batch.rows for batch in batches[:3]] == [10, 10, 5]
    places = [position for batch in batches for position in (batch.first, batch.last)]
    assert places == sorted(places)
    assert {batch.confirm_lsn for batch in batches[:3]} == {0}
    assert any('quotes \\" and, commas\\nand lines \\\\ ü' in data for _, data in seen)


async def test_reading_goes_on_behind_any_position_also_with_a_planned_end(url: str, store: EventStore) -> None:
    await note(store, 0, 23)
    source = make_source(url)
    await source.prepare()
    await source.start(after=START)
    whole = [pair for batch in await read(source, 23) for pair in numbers(batch)]
    await source.close()

    for done in (0, 7, 10, 22):
        again = make_source(url)
        await again.prepare()
        await again.start(after=Position(1, done))
        planned = Position(1, min(done + 4, 22))
        if planned.ordinal > done:
            batch = await again.next_batch(last=planned, wait_s=10)
            assert isinstance(batch, Batch)
            assert (batch.first, batch.last) == (Position(1, done + 1), planned)
            assert numbers(batch) == whole[done + 1 : planned.ordinal + 1]
        await note(store, 100 + done, 1)
        rest = await read(again, 23 - planned.ordinal)
        await again.close()
        assert numbers(rest[0])[0] == (whole + numbers(rest[-1]))[planned.ordinal + 1]


async def test_nothing_older_means_the_log_at_once(url: str, store: EventStore) -> None:
    source = make_source(url)
    await source.prepare()
    await source.start(after=START)
    await note(store, 0, 1)
    batches = await read(source, 1)
    assert batches[0].confirm_lsn > 0
    got = await source.next_batch(wait_s=5)
    assert got is None or isinstance(got, Idle)
    await source.close()
