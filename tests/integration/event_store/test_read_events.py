"""Reading back: pages, many streams at once, and a complete read that passes over no late committer."""

from __future__ import annotations

import psycopg
import pytest

from headrace.event_store import read
from headrace.event_store.event_store import EventStore
from headrace.event_store.read import BEGINNING, Place
from headrace.events.event import Event, StoredEvent


class Counted(Event):
    n: int


async def test_read_stream_crosses_pages_in_order(store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "PAGE_ROWS_MAX", 3)
    await store.append("s", [Counted(n=n) for n in range(10)])
    assert [event.version async for event in store.read_stream("s")] == list(range(1, 11))
    assert [event.version async for event in store.read_stream("s", after_version=7)] == [8, 9, 10]
    assert [event.version async for event in store.read_stream("s", after_version=2, limit=4)] == [3, 4, 5, 6]
    assert [event async for event in store.read_stream("s", limit=0)] == []


async def test_an_unknown_stream_is_empty(store: EventStore) -> None:
    assert [event async for event in store.read_stream("nobody")] == []


async def test_read_streams_gives_each_after_its_own_version(store: EventStore) -> None:
    await store.append("a", [Counted(n=1), Counted(n=2)])
    await store.append("b", [Counted(n=1)])
    found = await store.read_streams({"a": 1, "b": 0, "c": 0})
    assert {stream: [event.version for event in events] for stream, events in found.items()} == {
        "a": [2],
        "b": [1],
        "c": [],
    }


async def test_read_all_resumes_and_is_true_to_every_stream(store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "PAGE_ROWS_MAX", 4)
    for n in range(15):
        await store.append(f"s-{n % 3}", [Counted(n=n)])
    seen: list[StoredEvent] = []
    place = BEGINNING
    while True:
        page = [pair async for pair in store.read_all(after=place, limit=6)]
        if not page:
            break
        place = page[-1][0]
        seen += [event for _, event in page]
    assert len(seen) == 15
    for number in range(3):
        assert [event.version for event in seen if event.stream == f"s-{number}"] == [1, 2, 3, 4, 5]


async def test_read_all_orders_transactions_as_numbers(
    store: EventStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were ordered as text: a read across 9 and 10, 99 and 100 and so on gave events twice or passed over them."""
    monkeypatch.setattr(read, "PAGE_ROWS_MAX", 2)
    numbers = [9, 10, 11, 99, 100, 101]
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        for version, number in enumerate(numbers, 1):
            await connection.execute(
                "INSERT INTO headrace.events (transaction_id, stream, version, type, schema_version, data, metadata)"
                " VALUES (%s::text::xid8, 's', %s, 'Counted', 1, '{\"n\": 1}', '{}')",
                [str(number), version],
            )
    assert [place.transaction_id async for place, _ in store.read_all()] == numbers
    assert await store.find_place(before_last=2) == Place(99, "s", 4)


async def test_read_all_waits_for_a_transaction_that_commits_late(store: EventStore, url: str) -> None:
    """An earlier transaction number that commits later: "greater than last seen" would have lost it (the bug of many
    event stores, such as commanded/eventstore#3)."""
    async with await psycopg.AsyncConnection.connect(url) as late:
        await late.execute(
            "INSERT INTO headrace.events (stream, version, type, schema_version, data, metadata)"
            " VALUES ('late', 1, 'Counted', 1, '{\"n\": 1}', '{}')"
        )
        await store.append("early", [Counted(n=2)])
        assert [event.stream async for _, event in store.read_all()] == []
        await late.commit()
    assert [event.stream async for _, event in store.read_all()] == ["late", "early"]


def test_places_compare_in_the_order_of_the_read() -> None:
    assert BEGINNING < Place(1, "a", 1) < Place(1, "a", 2) < Place(1, "b", 1) < Place(2, "a", 1)
