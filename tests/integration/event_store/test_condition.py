"""Appends that are conditional on types and tags: every legal query of the dcb.events specification, and true races."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from uuid import uuid4

import psycopg
import pytest

from headrace.errors import Conflict, InvalidInput, Rejected
from headrace.event_store.append import Appended, Part
from headrace.event_store.condition import Condition, Criterion
from headrace.event_store.event_store import EventStore
from headrace.events.event import Event, Metadata, StoredEvent

RACERS = 16


class Enrolled(Event, tags=["course:{course}", "student:{student}"]):
    course: str
    student: str


class Renamed(Event, tags=["course:{course}"]):
    course: str


class Noted(Event):
    text: str = ""


HISTORY: list[tuple[str, Event]] = [
    ("course-1", Renamed(course="1")),
    ("course-1", Enrolled(course="1", student="a")),
    ("course-2", Enrolled(course="2", student="a")),
    ("notes-1", Noted()),
    ("course-2", Enrolled(course="2", student="b")),
]
TYPES = ((), ("Enrolled",), ("Enrolled", "Renamed"), ("Noted",), ("Missing",))
TAGS = ((), ("course:1",), ("student:a",), ("student:a", "course:2"), ("course:1", "course:2"), ("missing",))
CRITERIA = [Criterion(types, tags) for types, tags in itertools.product(TYPES, TAGS)]


def matches(event: Event, criteria: Sequence[Criterion]) -> bool:
    return any(
        (not one.types or type(event).__name__ in one.types) and set(one.tags) <= set(event.tags()) for one in criteria
    )


async def read(store: EventStore, criteria: Sequence[Criterion]) -> tuple[list[StoredEvent], Condition]:
    matching = store.read_matching(criteria)
    return [event async for event in matching], matching.condition


async def append_history(store: EventStore) -> None:
    for stream, event in HISTORY:
        await store.append(stream, [event])


@pytest.mark.parametrize("others", [[], [Criterion(("Noted",))], [Criterion((), ("student:b",))]])
async def test_every_query_reads_what_matches_in_order(store: EventStore, others: list[Criterion]) -> None:
    await append_history(store)
    for criterion in CRITERIA:
        criteria = [criterion, *others]
        found, _ = await read(store, criteria)
        expected = [(type(event).__name__, event.tags()) for _, event in HISTORY if matches(event, criteria)]
        assert [(event.type, event.tags) for event in found] == expected, criteria


async def test_every_query_makes_a_condition_that_only_what_matches_breaks(store: EventStore) -> None:
    await append_history(store)
    numbers = itertools.count()
    for criterion in CRITERIA:
        for later in (Noted(), Renamed(course="1"), Enrolled(course="2", student="a")):
            _, condition = await read(store, [criterion])
            await store.append(f"later-{next(numbers)}", [later])
            attempt = store.append(f"decided-{next(numbers)}", [Noted(text="decided")], condition=condition)
            if matches(later, [criterion]):
                with pytest.raises(Conflict, match="depends on"):
                    await attempt
            else:
                await attempt


async def test_without_a_read_no_event_may_match_at_all(store: EventStore) -> None:
    unique = Condition((Criterion(("Renamed",), ("course:1",)),))
    await store.append("a", [Renamed(course="1")], condition=unique)
    with pytest.raises(Conflict):
        await store.append("b", [Renamed(course="1")], condition=unique)
    await store.append("b", [Renamed(course="2")], condition=Condition((Criterion(("Renamed",), ("course:2",)),)))


async def test_an_event_of_ones_own_before_the_read_does_not_count(store: EventStore) -> None:
    await store.append("a", [Renamed(course="1")])
    _, condition = await read(store, [Criterion(tags=("course:1",))])
    await store.append("a", [Renamed(course="1")], condition=condition)


async def test_more_than_a_page_is_read_of_one_moment(store: EventStore) -> None:
    await store.bulk_append(("course-1", Renamed(course="1")) for _ in range(2_500))
    matching = store.read_matching([Criterion(tags=("course:1",)), Criterion(("Renamed",))])
    versions: list[int] = []
    async for event in matching:
        if not versions:
            await store.append("course-1", [Renamed(course="1")])
        versions.append(event.version)
    assert versions == list(range(1, 2_501))
    with pytest.raises(Conflict):
        await store.append("x", [Noted()], condition=matching.condition)


@pytest.mark.parametrize(
    "criterion",
    [
        Criterion(tags=("course:1",)),
        Criterion(("Enrolled",), ("student:x", "course:1")),
        Criterion(("Enrolled",)),
        Criterion(),
    ],
    ids=["tag", "type and tags", "type", "everything"],
)
async def test_of_racers_staggered_inside_their_reads_one_commits(url: str, criterion: Criterion) -> None:
    """marten#4591 and polecat#515: of racers whose reads overlapped, several committed. marten#5300 escaped a test
    whose racers were lined up behind their reads: here the reads themselves are staggered."""

    everybody_has_read = asyncio.Barrier(RACERS)

    async def race(number: int, store: EventStore) -> Appended | None:
        matching = store.read_matching([criterion])
        async for _ in matching:
            for _ in range(number % 3):
                await asyncio.sleep(0)
        await everybody_has_read.wait()
        try:
            return await store.append(
                f"racer-{number}", [Enrolled(course="1", student="x")], condition=matching.condition
            )
        except Conflict:
            return None

    # Three stores are three processes to each other: none of them can order the racers by its group commit.
    async with EventStore(url) as one, EventStore(url) as two, EventStore(url) as three:
        await append_history(one)
        for _ in range(5):
            stores = itertools.cycle([one, two, three])
            results = await asyncio.gather(*(race(number, next(stores)) for number in range(RACERS)))
            assert sum(result is not None for result in results) == 1


async def test_two_that_read_the_same_never_both_append(url: str) -> None:
    async with EventStore(url) as one, EventStore(url) as two:
        for number in range(20):
            criteria = [Criterion(tags=(f"course:{number}",))]
            _, condition = await read(one, criteria)
            event = Renamed(course=str(number))
            outcomes = await asyncio.gather(
                *(
                    store.append(f"s-{number}-{place}", [event], condition=condition)
                    for place, store in enumerate([one, two] * (RACERS // 2))
                ),
                return_exceptions=True,
            )
            assert [type(outcome) for outcome in outcomes].count(Appended) == 1
            assert all(isinstance(outcome, Appended | Conflict) for outcome in outcomes)
            found, _ = await read(one, criteria)
            assert len(found) == 1


async def test_a_transaction_with_a_lower_number_that_commits_late_breaks_the_condition(
    store: EventStore, url: str
) -> None:
    """The order of transaction numbers is not that of commits: "after" by number would pass the late one over."""
    async with await psycopg.AsyncConnection.connect(url) as late:
        await late.execute("SELECT pg_current_xact_id()")
        await store.append("a", [Renamed(course="1")])
        _, condition = await read(store, [Criterion(tags=("course:1",))])
        await late.execute(
            'SELECT headrace.append(\'[{"parts": [{"stream": "b", "events": [{"type": "Renamed", "schema_version": 1, '
            '"data": {"course": "1"}, "tags": ["course:1"]}]}]}]\')'
        )
        attempt = asyncio.ensure_future(store.append("a", [Renamed(course="1")], condition=condition))
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as watcher:
            waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            async with asyncio.timeout(10):
                while (await (await watcher.execute(waiting)).fetchone()) == (0,):  # noqa: ASYNC110  a lock says nothing
                    await asyncio.sleep(0.005)
        await late.commit()
        with pytest.raises(Conflict):
            await attempt


async def test_a_bulk_append_and_a_condition_take_turns(store: EventStore) -> None:
    criteria = [Criterion(tags=("course:1",))]

    async def decide() -> bool:
        _, condition = await read(store, criteria)
        try:
            await store.append("decided", [Noted()], condition=condition)
        except Conflict:
            return False
        return True

    events = (("course-1", Renamed(course="1")) for _ in range(20_000))
    async with asyncio.TaskGroup() as group:
        group.create_task(store.bulk_append(events))
        decided = [await decide() for _ in range(20)]
    assert any(decided)
    found, condition = await read(store, criteria)
    assert len(found) == 20_000
    await store.append("decided", [Noted()], condition=condition)


async def test_a_repeated_conditional_append_gets_its_first_result(store: EventStore) -> None:
    unique = Condition((Criterion(("Renamed",), ("course:1",)),))
    metadata = Metadata(command_id=uuid4())
    first = await store.append("a", [Renamed(course="1")], condition=unique, metadata=metadata)
    again = await store.append("a", [Renamed(course="1")], condition=unique, metadata=metadata)
    assert again.duplicate
    assert again.version == first.version


async def test_criteria_that_cannot_be_asked_are_refused(store: EventStore) -> None:
    for criteria in ([], [Criterion(tags=("a\nb",))], [Criterion(tags=("",))]):
        with pytest.raises(InvalidInput):
            store.read_matching(criteria)


async def test_several_streams_are_appended_together_or_not_at_all(store: EventStore) -> None:
    results = await store.append_together([Part("a", [Noted(), Noted()], 0), Part("b", [Noted()], 0)])
    assert [(each.stream, each.version) for each in results] == [("a", 2), ("b", 1)]
    with pytest.raises(Conflict, match="Stream b is at version 1; expected no stream"):
        await store.append_together([Part("a", [Noted()], 2), Part("b", [Noted()], 0), Part("c", [Noted()], 0)])
    assert [event.version async for event in store.read_stream("a")] == [1, 2]
    assert [event async for event in store.read_stream("c")] == []


async def test_events_of_one_append_are_read_in_the_order_of_the_append(store: EventStore) -> None:
    parts = [Part(name, [Noted(text=name)]) for name in ("z", "a", "m")]
    await store.append_together(parts)
    await store.bulk_append([("y", Noted(text="y")), ("b", Noted(text="b")), ("y", Noted(text="y2"))])
    assert [event.stream async for _, event in store.read_all()] == ["z", "a", "m", "y", "b", "y"]


async def test_a_command_id_repeated_for_another_number_of_streams_is_refused(store: EventStore) -> None:
    """Found by a random walk: there was no first result for the second stream, and the append was never answered, nor
    was any after it: the failure to answer had ended the group commit."""
    metadata = Metadata(command_id=uuid4())
    await store.append_together([Part("a", [Noted()]), Part("b", [Noted()])], metadata=metadata)
    for names in (("a", "b", "c"), ("a",)):
        async with asyncio.timeout(10):
            with pytest.raises(Rejected, match="was used before"):
                await store.append_together([Part(name, [Noted()]) for name in names], metadata=metadata)
    assert (await store.append("a", [Noted()])).version == 2


async def test_a_repeated_append_to_several_streams_gets_all_first_results(store: EventStore) -> None:
    metadata = Metadata(command_id=uuid4())
    parts = [Part("a", [Noted()]), Part("b", [Noted(), Noted()])]
    first = await store.append_together(parts, metadata=metadata)
    again = await store.append_together(parts, metadata=metadata)
    assert [(each.stream, each.first_version, each.version) for each in again] == [
        (each.stream, each.first_version, each.version) for each in first
    ]
    assert all(each.duplicate and each.types == part.types for each, part in zip(again, parts, strict=True))
    assert len([event async for event in store.read_stream("b")]) == 2
