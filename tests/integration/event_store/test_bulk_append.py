"""Bulk append: versions per stream, chunks, and what happens beside writers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from headrace.errors import InvalidInput
from headrace.event_store import bulk_append
from headrace.event_store.bulk_append import BulkAppended
from headrace.event_store.event_store import EventStore
from headrace.events.event import Event, Metadata


class Noted(Event):
    n: int
    text: str = 'tab\t, line\n, back\\slash, quote " and é'


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_append, "CHUNK_EVENTS_MAX", 10)


@pytest.mark.usefixtures("small_chunks")
async def test_bulk_append_continues_streams_in_order_over_chunks(store: EventStore) -> None:
    await store.append("s-0", [Noted(n=-1)])
    progress: list[BulkAppended] = []
    done = await store.bulk_append(
        ((f"s-{n % 3}", Noted(n=n)) for n in range(35)), metadata=Metadata(actor="import"), on_chunk=progress.append
    )
    assert [step.events for step in progress] == [10, 20, 30, 35]
    assert done == progress[-1]
    assert done.position > progress[0].position
    events = [event async for event in store.read_stream("s-0")]
    assert [event.version for event in events] == list(range(1, 14))
    assert events[-1].metadata == Metadata(actor="import")


async def test_bulk_append_writes_what_append_writes(store: EventStore) -> None:
    await store.append("one", [Noted(n=1)])

    async def items() -> AsyncIterator[tuple[str, Event]]:
        yield "two", Noted(n=1)

    await store.bulk_append(items())
    (one,) = [event async for event in store.read_stream("one")]
    (two,) = [event async for event in store.read_stream("two")]
    assert (one.type, one.schema_version, one.data, one.metadata) == (
        two.type,
        two.schema_version,
        two.data,
        two.metadata,
    )


@pytest.mark.usefixtures("small_chunks")
async def test_bulk_append_and_appends_to_the_same_streams_leave_no_gap(store: EventStore) -> None:
    async def append() -> None:
        for n in range(30):
            await store.append(f"s-{n % 2}", [Noted(n=n)])

    await asyncio.gather(store.bulk_append((f"s-{n % 2}", Noted(n=n)) for n in range(100)), append())
    total = 0
    for number in range(2):
        found = [event.version async for event in store.read_stream(f"s-{number}")]
        assert found == list(range(1, len(found) + 1))
        total += len(found)
    assert total == 130


@pytest.mark.usefixtures("small_chunks")
async def test_bulk_append_that_fails_says_how_many_are_in(store: EventStore) -> None:
    with pytest.raises(InvalidInput) as refusal:
        await store.bulk_append(("s", Noted(n=n, text="\0" if n == 25 else "")) for n in range(40))
    assert "20 events are in" in refusal.value.detail
    assert [event.version async for event in store.read_stream("s")] == list(range(1, 21))


async def test_bulk_append_of_nothing_does_nothing(store: EventStore) -> None:
    assert (await store.bulk_append([])).events == 0
