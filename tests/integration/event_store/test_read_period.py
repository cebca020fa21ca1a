"""Reading a stream both ways and up to a time, and all that was recorded in a period."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import takewhile
from uuid import uuid4

import msgspec
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.errors import Corrupt
from headrace.event_store import read, statements
from headrace.event_store.connection import configure
from headrace.event_store.event_store import EventStore
from headrace.event_store.read import Period, Place
from headrace.events.event import Event, StoredEvent

MARCH = datetime(2026, 3, 1, tzinfo=UTC)


class Counted(Event):
    n: int


async def record(url: str, stream: str, days: list[int], *, kind: str = "Counted", metadata: str = "{}") -> None:
    """Events as a clock that read these days of March would have recorded them."""
    async with await psycopg.AsyncConnection.connect(url) as connection:
        for version, day in enumerate(days, 1):
            await connection.execute(
                "INSERT INTO headrace.events (stream, version, type, schema_version, data, metadata, recorded_at)"
                " VALUES (%s, %s, %s, 1, '{\"n\": 1}', %s, %s)",
                (stream, version, kind, metadata, MARCH + timedelta(days=day - 1)),
            )


def day(number: int) -> datetime:
    return MARCH + timedelta(days=number - 1)


def versions(events: list[StoredEvent]) -> list[int]:
    return [event.version for event in events]


async def test_a_stream_is_read_backwards_across_pages(store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "PAGE_ROWS_MAX", 3)
    await store.append("s", [Counted(n=n) for n in range(10)])
    assert versions([e async for e in store.read_stream("s", backwards=True)]) == list(range(10, 0, -1))
    assert versions([e async for e in store.read_stream("s", backwards=True, limit=4)]) == [10, 9, 8, 7]
    between = store.read_stream("s", after_version=2, up_to_version=7)
    assert versions([e async for e in between]) == [3, 4, 5, 6, 7]
    backwards = store.read_stream("s", after_version=2, up_to_version=7, backwards=True)
    assert versions([e async for e in backwards]) == [7, 6, 5, 4, 3]


async def test_up_to_a_time_is_the_longest_beginning_recorded_by_then(store: EventStore, url: str) -> None:
    await record(url, "s", [1, 5, 9])
    assert [await store.find_version("s", day(n)) for n in (0, 1, 4, 5, 8, 9, 30)] == [0, 1, 1, 2, 2, 3, 3]
    assert await store.find_version("s") == 3
    assert await store.find_version("nobody") == 0
    assert versions([e async for e in store.read_stream("s", up_to_time=day(6))]) == [1, 2]
    assert versions([e async for e in store.read_stream("s", up_to_time=day(6), up_to_version=1)]) == [1]


async def test_a_clock_that_went_back_never_shows_an_event_without_those_before_it(store: EventStore, url: str) -> None:
    """Versions 3 and 4 were recorded by a clock that had gone back from the 9th to the 2nd: they count from the 9th."""
    await record(url, "s", [1, 9, 2, 3, 12])
    found = [await store.find_version("s", day(n)) for n in range(1, 14)]
    assert found == [1, 1, 1, 1, 1, 1, 1, 1, 4, 4, 4, 5, 5]
    assert found == sorted(found)
    assert versions([e async for e in store.read_stream("s", period=Period(day(2), day(9)))]) == [3, 4]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(days=st.lists(st.integers(1, 9), min_size=1, max_size=8), now=st.integers(0, 10))
async def test_whatever_the_clock_did_a_time_is_the_longest_beginning_recorded_by_then(
    store: EventStore, url: str, days: list[int], now: int
) -> None:
    stream = str(uuid4())
    await record(url, stream, days)
    beginning = list(takewhile(lambda recorded: recorded <= now, days))
    assert await store.find_version(stream, day(now)) == len(beginning)
    forwards = versions([e async for e in store.read_stream(stream, up_to_time=day(now))])
    backwards = versions([e async for e in store.read_stream(stream, up_to_time=day(now), backwards=True)])
    assert forwards == list(range(1, len(beginning) + 1)) == backwards[::-1]


async def test_a_period_holds_its_start_and_not_its_end(store: EventStore, url: str) -> None:
    await record(url, "account-1", [1, 15, 20])
    march = Period(day(15), day(20))
    assert versions([e async for e in store.read_period(march)]) == [2]
    assert versions([e async for e in store.read_stream("account-1", period=march)]) == [2]


async def test_a_period_is_read_in_order_across_pages_and_kept_to_a_category_or_type(
    store: EventStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "PAGE_ROWS_MAX", 2)
    await record(url, "account-1", [3, 3, 4, 4])
    await record(url, "account-2", [1, 4], kind="Closed")
    await record(url, "accountant-1", [2, 4])
    found = [(e.stream, e.version) async for e in store.read_period(Period(day(2), day(9)))]
    everything = [("account-1", n) for n in (1, 2, 3, 4)] + [("account-2", 2), ("accountant-1", 1), ("accountant-1", 2)]
    assert found == everything
    accounts = [e.stream async for e in store.read_period(Period(day(1), day(9)), category="account")]
    assert sorted(accounts) == ["account-1"] * 4 + ["account-2"] * 2
    closed = [(e.stream, e.version) async for e in store.read_period(Period(day(2), day(9)), event_type="Closed")]
    assert closed == [("account-2", 2)]
    assert [e async for e in store.read_period(Period(day(9), day(10)))] == []


async def test_metadata_that_cannot_be_read_is_corrupt_and_names_its_place(store: EventStore, url: str) -> None:
    await record(url, "s", [1], metadata='{"actor": 7}')
    with pytest.raises(Corrupt, match="metadata") as refused:
        [e async for e in store.read_stream("s")]
    assert "Stream s, version 1" in refused.value.detail


async def test_a_page_costs_its_own_rows_and_not_the_rest_of_the_period(store: EventStore, url: str) -> None:
    """The planner believed that the conditions keep one row, and sorted the whole rest of the period for each page."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await configure(connection)
        await connection.execute(
            "INSERT INTO headrace.events (ordinal, stream, version, type, schema_version, data, metadata, recorded_at)"
            " SELECT n, 's-1', n, 'Counted', 1, '{}', '{}', '2026-03-01'::timestamptz + n * interval '1 s'"
            " FROM generate_series(1, 80000) AS n"
        )
        await connection.execute("ANALYZE headrace.events")
        await connection.execute("SELECT brin_summarize_new_values('headrace.events_recorded_at')")
        ((_, last),) = await (
            await connection.execute(statements.query("find_period"), {"start": day(1), "end": day(2)})
        ).fetchall()
        place = Place(0, -1).parameters()
        asked = {**place, "last_transaction_id": last, "start": day(1), "end": day(2), "category": "s"}
        explained = b"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + statements.query("read_period")
        for _ in range(8):  # the first plans are made for their parameters, later ones for any
            cursor = await connection.execute(explained, {**asked, "type": "Counted", "rows_max": 1000}, prepare=True)
            ((text,),) = await cursor.fetchall()
            (plan,) = msgspec.json.decode(text)
            read_blocks = plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]
            assert plan["Plan"]["Actual Rows"] == 1000
            assert read_blocks < 400, plan
