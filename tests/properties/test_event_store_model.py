"""Whatever is appended, in whatever way and order, the event store holds what a list in memory would hold.

The model is that list. A condition is a place in it: it holds while nothing behind the place matches.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule, run_state_machine_as_test

from headrace.errors import Conflict, Rejected
from headrace.event_store.append import Appended, Part
from headrace.event_store.condition import Condition, Criterion
from headrace.event_store.event_store import EventStore
from headrace.events.event import Event, Metadata, StoredEvent

SETTINGS = settings(
    deadline=None, max_examples=30, stateful_step_count=25, suppress_health_check=[HealthCheck.too_slow]
)
RACERS = 6


class Opened(Event, tags=["course:{course}"]):
    course: str


class Joined(Event, tags=["course:{course}", "student:{student}", "student:{guest}"]):
    """It may carry one tag twice, and two tags of one kind."""

    course: str
    student: str
    guest: str | None = None


class Noted(Event):
    pass


NAMES = st.sampled_from(["a", "b"])
EVENTS = st.one_of(
    st.builds(Noted),
    st.builds(Opened, course=NAMES),
    st.builds(Joined, course=NAMES, student=NAMES, guest=st.none() | NAMES),
)
STREAMS = st.sampled_from(["s-1", "s-2", "s-3"])
TAGS = ["course:a", "course:b", "student:a", "student:b", "missing"]
CRITERIA = st.lists(
    st.builds(
        Criterion,
        st.lists(st.sampled_from(["Opened", "Joined", "Noted", "Missing"]), max_size=2).map(tuple),
        st.lists(st.sampled_from(TAGS), max_size=2).map(tuple),
    ),
    min_size=1,
    max_size=3,
)
PARTS = st.lists(
    st.tuples(STREAMS, st.lists(EVENTS, max_size=3)), min_size=1, max_size=3, unique_by=lambda part: part[0]
)
# What is expected of a stream: any version, the one it has, none at all, or a wrong one.
EXPECTED = st.sampled_from(["any", "actual", "none", "wrong"])


class Row(NamedTuple):
    stream: str
    version: int
    type: str
    tags: tuple[str, ...]


class Known(NamedTuple):
    """A condition, and how much of the log whoever made it had seen."""

    condition: Condition
    seen: int


@dataclass
class Model:
    log: list[Row] = field(default_factory=list)
    results: dict[UUID, tuple[int, list[tuple[str, int, int]]]] = field(default_factory=dict)

    def version(self, stream: str) -> int:
        return sum(row.stream == stream for row in self.log)

    def add(self, stream: str, events: Sequence[Event]) -> tuple[str, int, int]:
        before = self.version(stream)
        for number, event in enumerate(events, before + 1):
            self.log.append(Row(stream, number, type(event).__name__, event.tags()))
        return stream, before + 1, before + len(events)

    def matching(self, criteria: Sequence[Criterion], seen: int = 0) -> list[Row]:
        return [
            row
            for row in self.log[seen:]
            if any((not one.types or row.type in one.types) and set(one.tags) <= set(row.tags) for one in criteria)
        ]


class Machine(RuleBasedStateMachine):
    conditions = Bundle("conditions")
    commands = Bundle("commands")

    def __init__(self, store: EventStore, runner: asyncio.Runner) -> None:
        super().__init__()
        self.store = store
        self.run = runner.run
        self.model = Model()

    @rule(target=conditions, criteria=CRITERIA)
    def read(self, criteria: list[Criterion]) -> Known:
        matching = self.store.read_matching(criteria)
        assert self.run(collect(matching)) == self.model.matching(criteria)
        return Known(matching.condition, len(self.model.log))

    @rule(target=conditions, criteria=CRITERIA)
    def assume_nothing(self, criteria: list[Criterion]) -> Known:
        return Known(Condition(tuple(criteria)), 0)

    @rule(target=commands)
    def name_a_command(self) -> UUID:
        return uuid4()

    @rule(parts=PARTS, expected=EXPECTED)
    def append(self, parts: list[tuple[str, list[Event]]], expected: str) -> None:
        if any(events for _, events in parts) or expected != "any":
            self._append(parts, expected=expected)

    @rule(parts=PARTS, expected=EXPECTED, known=conditions)
    def append_on_condition(self, parts: list[tuple[str, list[Event]]], expected: str, known: Known) -> None:
        self._append(parts, expected=expected, known=known)

    @rule(parts=PARTS, expected=EXPECTED, known=conditions, command_id=commands, fingerprint=st.sampled_from([0, 0, 1]))
    def append_once(
        self,
        parts: list[tuple[str, list[Event]]],
        expected: str,
        known: Known,
        command_id: UUID,
        fingerprint: int,
    ) -> None:
        self._append(parts, expected=expected, known=known, command_id=command_id, fingerprint=fingerprint)

    @rule(events=st.lists(st.tuples(STREAMS, EVENTS), min_size=1, max_size=6))
    def append_in_bulk(self, events: list[tuple[str, Event]]) -> None:
        assert self.run(self.store.bulk_append(events)).events == len(events)
        for stream, event in events:
            self.model.add(stream, [event])

    @rule(target=conditions, known=conditions, event=EVENTS)
    def race_on_a_condition(self, known: Known, event: Event) -> Any:
        """At once, on one condition that what they append may break: one wins then, and all if it may not."""
        streams = [f"racer-{number}" for number in range(RACERS)]
        appends = [self.store.append(stream, [event], condition=known.condition) for stream in streams]
        outcomes = self.run(gather(appends))
        won = [stream for stream, outcome in zip(streams, outcomes, strict=True) if isinstance(outcome, Appended)]
        holds = not self.model.matching(known.condition.criteria, known.seen)
        breaks = bool(Model([Row("", 1, type(event).__name__, event.tags())]).matching(known.condition.criteria))
        assert len(won) == (0 if not holds else 1 if breaks else RACERS)
        order = [row.stream for row in self.run(collect_all(self.store))[len(self.model.log) :]]
        assert sorted(order) == won
        for stream in order:
            self.model.add(stream, [event])
        return multiple()

    @rule(stream=STREAMS, after=st.integers(0, 4), limit=st.none() | st.integers(1, 3))
    def read_stream(self, stream: str, after: int, limit: int | None) -> None:
        expected = [row for row in self.model.log if row.stream == stream][after:][:limit]
        assert self.run(collect(self.store.read_stream(stream, after_version=after, limit=limit))) == expected

    @invariant()
    def the_log_is_the_models(self) -> None:
        assert self.run(collect_all(self.store)) == self.model.log

    def _append(
        self,
        parts: list[tuple[str, list[Event]]],
        *,
        expected: str,
        known: Known | None = None,
        command_id: UUID | None = None,
        fingerprint: int = 0,
    ) -> None:
        wanted = [Part(stream, events, self._expected(stream, expected)) for stream, events in parts]
        attempt = self.store.append_together(
            wanted,
            condition=known.condition if known else None,
            metadata=Metadata(command_id=command_id),
            fingerprint=fingerprint,
        )
        if command_id in self.model.results:
            first_fingerprint, first = self.model.results[command_id]
            if fingerprint != first_fingerprint or len(parts) != len(first):
                with pytest.raises(Rejected):
                    self.run(attempt)
            else:
                assert rows(self.run(attempt), duplicate=True) == first
            return
        fits = all(part.expected_version in (None, self.model.version(part.stream)) for part in wanted)
        if not fits or (known and self.model.matching(known.condition.criteria, known.seen)):
            with pytest.raises(Conflict):
                self.run(attempt)
            return
        written = rows(self.run(attempt), duplicate=False)
        assert written == [self.model.add(stream, events) for stream, events in parts]
        if command_id is not None:
            self.model.results[command_id] = (fingerprint, written)

    def _expected(self, stream: str, expected: str) -> int | None:
        actual = self.model.version(stream)
        return {"any": None, "actual": actual, "none": 0, "wrong": actual + 1}[expected]


def rows(appended: list[Appended], *, duplicate: bool) -> list[tuple[str, int, int]]:
    assert all(each.duplicate is duplicate for each in appended)
    return [(each.stream, each.first_version, each.version) for each in appended]


async def gather(appends: Sequence[Coroutine[Any, Any, Appended]]) -> list[Appended | BaseException]:
    return await asyncio.gather(*appends, return_exceptions=True)


async def collect(events: Any) -> list[Row]:
    return [row(event) async for event in events]


async def collect_all(store: EventStore) -> list[Row]:
    return [row(event) async for _, event in store.read_all()]


def row(event: StoredEvent) -> Row:
    return Row(event.stream, event.version, event.type, event.tags)


def test_the_store_holds_what_a_list_would_hold(url: str) -> None:
    def empty() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("SET session_replication_role = replica")
            connection.execute("TRUNCATE headrace.events, headrace.event_tags, headrace.command_results")

    with asyncio.Runner() as runner:
        store = EventStore(url)
        runner.run(store.open())

        class OnThisStore(Machine):
            def __init__(self) -> None:
                empty()
                super().__init__(store, runner)

        try:
            run_state_machine_as_test(OnThisStore, settings=SETTINGS)
        finally:
            runner.run(store.close())
