"""Faults that other event stores have had and reported, each played against `read_all` and `read_matching`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from headrace.errors import Conflict
from headrace.event_store.condition import Criterion
from headrace.event_store.event_store import EventStore
from headrace.event_store.matching import Matching
from headrace.event_store.read import ALWAYS, BEGINNING, PAGE_ROWS_MAX, Place
from headrace.events.event import Event, StoredEvent

Late = psycopg.AsyncConnection[tuple[object, ...]]
COURSE = [Criterion(tags=("course:1",))]


class Renamed(Event, tags=["course:1"]):
    name: str = ""


class Moved(Event, tags=["account:{source}", "account:{target}"]):
    source: str
    target: str


@pytest.fixture
async def late(url: str) -> AsyncIterator[Late]:
    """A transaction that has its number already and has not written yet."""
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await connection.execute("SELECT pg_current_xact_id()")
        yield connection


async def write(connection: Late, stream: str) -> None:
    await connection.execute(
        "SELECT headrace.append(jsonb_build_array(jsonb_build_object('parts', jsonb_build_array(jsonb_build_object("
        "'stream', %s::text, 'events', jsonb_build_array(jsonb_build_object('type', 'Renamed', 'schema_version', 1, "
        "'data', '{}'::jsonb, 'tags', jsonb_build_array('course:1'))))))))",
        (stream,),
    )


async def read_on(store: EventStore, after: Place = BEGINNING) -> tuple[list[str], Place]:
    found = [(place, event.stream) async for place, event in store.read_all(after=after)]
    return [stream for _, stream in found], found[-1][0] if found else after


async def collect(matching: Matching) -> list[StoredEvent]:
    return [event async for event in matching]


async def test_a_writer_that_began_earlier_and_commits_later_is_not_passed_over(store: EventStore, late: Late) -> None:
    """commanded/eventstore#3: a reader that had seen number 2 never saw number 1, which committed after it."""
    await store.append("fast", [Renamed()])
    await write(late, "slow")
    seen, place = await read_on(store)
    assert seen == []  # what is newer than the open one waits, or the open one would be passed over
    assert [event.stream for event in await collect(store.read_matching(COURSE))] == ["fast"]
    await late.commit()
    assert (await read_on(store, place))[0] == ["slow", "fast"]
    assert [event.stream for event in await collect(store.read_matching(COURSE))] == ["slow", "fast"]


async def test_a_number_that_was_rolled_back_is_waited_for_by_nobody(url: str, late: Late) -> None:
    """marten#5108: the gap of a rolled-back append stopped a reader that was started anew for good."""
    async with EventStore(url) as first:
        await write(late, "undone")
        await first.append("a", [Renamed()])
        place = (await read_on(first))[1]
        await late.rollback()
    async with EventStore(url) as restarted:
        seen, place = await read_on(restarted, place)
        assert seen == ["a"]
        await restarted.append("b", [Renamed()])
        assert (await read_on(restarted, place))[0] == ["b"]
        matching = restarted.read_matching(COURSE)
        assert [event.stream for event in await collect(matching)] == ["a", "b"]
        await restarted.append("c", [Renamed()], condition=matching.condition)


async def test_a_session_left_idle_in_a_transaction_delays_and_loses_nothing(
    store: EventStore, url: str, late: Late
) -> None:
    """marten#4953: behind a session that was idle in its transaction, readers skipped what came after it. One that has
    only read holds nothing back; one that may write holds back what is newer, and conditions go on all the same."""
    async with await psycopg.AsyncConnection.connect(url) as reading:
        await reading.execute("SELECT count(*) FROM headrace.events")
        await store.append("a", [Renamed()])
        assert (await read_on(store))[0] == []
        matching = store.read_matching(COURSE)
        await collect(matching)
        await store.append("b", [Renamed()], condition=matching.condition)
        with pytest.raises(Conflict):
            await store.append("c", [Renamed()], condition=matching.condition)
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as administrator:
            await administrator.execute("SELECT pg_terminate_backend(%s, 5000)", (late.info.backend_pid,))
        await late.close()
        assert (await read_on(store))[0] == ["a", "b"]


async def test_a_commit_that_lands_while_everything_is_read_is_read_once_in_its_place(
    store: EventStore, late: Late, url: str
) -> None:
    """marten#5300: a version that was read after the events covered an event that they did not hold."""
    async with await psycopg.AsyncConnection.connect(url) as later:
        await write(late, "late")
        await late.commit()
        await store.bulk_append(("before", Renamed()) for _ in range(PAGE_ROWS_MAX + 1))
        await later.execute("SELECT pg_current_xact_id()")
        await store.bulk_append(("after", Renamed()) for _ in range(PAGE_ROWS_MAX + 1))
        streams: list[str] = []
        async for _, event in store.read_all():
            if not streams:
                await write(later, "between")
                await later.commit()
            streams.append(event.stream)
    assert streams == ["late", *["before"] * (PAGE_ROWS_MAX + 1), "between", *["after"] * (PAGE_ROWS_MAX + 1)]


async def test_a_commit_that_lands_while_matching_events_are_read_is_not_read_and_breaks_the_condition(
    store: EventStore, late: Late, url: str
) -> None:
    """marten#5300, for conditions: what is read is of the moment of the first page, and so is the condition."""
    await store.bulk_append(("before", Renamed()) for _ in range(PAGE_ROWS_MAX + 1))
    async with await psycopg.AsyncConnection.connect(url) as later:
        await later.execute("SELECT pg_current_xact_id()")
        await store.bulk_append(("after", Renamed()) for _ in range(PAGE_ROWS_MAX + 1))
        matching = store.read_matching(COURSE)
        streams: list[str] = []
        async for event in matching:
            if not streams:
                await write(later, "between")
                await later.commit()
            streams.append(event.stream)
    assert streams == [*["before"] * (PAGE_ROWS_MAX + 1), *["after"] * (PAGE_ROWS_MAX + 1)]
    with pytest.raises(Conflict):
        await store.append("decided", [Renamed()], condition=matching.condition)


async def test_what_is_read_twice_has_a_condition_for_each_read(store: EventStore) -> None:
    """marten#5280: the same criteria, fetched twice in one session, shared one condition: the first one's was lost."""
    await store.append("a", [Renamed()])
    first, second = store.read_matching(COURSE), store.read_matching(COURSE)
    assert len(await collect(first)) == 1
    await store.append("a", [Renamed()])
    assert len(await collect(second)) == 2
    with pytest.raises(Conflict):
        await store.append("decided", [Renamed()], condition=first.condition)
    await store.append("decided", [Renamed()], condition=second.condition)
    with pytest.raises(Conflict):
        await store.append("decided", [Renamed()], condition=second.condition)
    assert await collect(first) == [event async for event in store.read_stream("a", limit=1)]
    assert await read_on(store) == await read_on(store)


async def test_two_tags_of_one_kind_on_one_event_are_both_found(store: EventStore) -> None:
    """marten#5265: of two tags of one type on one event, only one was stored."""
    conditions = []
    for tags in (("account:x",), ("account:y",), ("account:y", "account:x")):
        matching = store.read_matching([Criterion(tags=tags)])
        assert await collect(matching) == []
        conditions.append(matching.condition)
    await store.append("moves", [Moved(source="x", target="y"), Moved(source="z", target="z")])
    for condition in conditions:
        assert [event.version for event in await collect(store.read_matching(condition.criteria))] == [1]
        with pytest.raises(Conflict):
            await store.append("decided", [Renamed()], condition=condition)
    either = [Criterion(tags=("account:x",)), Criterion(tags=("account:y",)), Criterion(("Moved",), ("account:z",))]
    assert [event.version for event in await collect(store.read_matching(either))] == [1, 2]


async def test_the_order_of_transaction_numbers_is_that_of_numbers(store: EventStore, url: str, tmp_path: Path) -> None:
    """Our own, found by a random walk: the order was that of the numbers' text, so that 10,000 came before 9,999, and a
    reader whose page ended between the two never saw some of what was there."""
    numbers = [9, 10, 99, 100, 101]
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        for version, number in enumerate(numbers, 1):
            await connection.execute(
                "INSERT INTO headrace.events"
                " (transaction_id, stream, version, type, schema_version, data, metadata, tags)"
                " VALUES (%s::text::xid8, 's', %s, 'Renamed', 1, '{}', '{}', '{course:1}')",
                (str(number), version),
            )
        await connection.execute(
            "INSERT INTO headrace.event_tags (transaction_id, ordinal, stream, version, tag)"
            " SELECT transaction_id, ordinal, stream, version, 'course:1' FROM headrace.events"
        )
    read = [(place.transaction_id, event.version) async for place, event in store.read_all()]
    assert read == list(zip(numbers, range(1, 6), strict=True))
    assert (await store.find_place(before_last=2)).transaction_id == 99
    assert [event.version for event in await collect(store.read_matching(COURSE))] == [1, 2, 3, 4, 5]
    assert [event.version async for event in store.read_period(ALWAYS)] == [1, 2, 3, 4, 5]
    with (tmp_path / "log.jsonl").open("wb") as file:
        await store.export_json_lines(file)
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["version"] for line in lines] == [1, 2, 3, 4, 5]
