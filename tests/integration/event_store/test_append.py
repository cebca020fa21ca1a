"""Appending: versions, conflicts, repetitions, races, and one bad append among good ones."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import psycopg
import pytest

from headrace.errors import Conflict, InvalidInput, LimitExceeded, Rejected
from headrace.event_store.append import Append, Appended, Part
from headrace.event_store.event_store import EventStore
from headrace.events.event import Event, Metadata
from headrace.events.position import Position


class Deposited(Event):
    amount: int
    note: str = ""


class Withdrawn(Event, version=2):
    amount: int


async def versions(store: EventStore, stream: str) -> list[int]:
    return [event.version async for event in store.read_stream(stream)]


async def test_append_numbers_events_from_one_and_reads_back_what_was_written(store: EventStore) -> None:
    command_id = uuid4()
    metadata = Metadata(command_id=command_id, actor="ada", correlation_id="c-1")
    appended = await store.append(
        "account-1", [Deposited(amount=5, note='quote " back\\slash é'), Withdrawn(amount=3)], metadata=metadata
    )
    assert (appended.stream, appended.first_version, appended.version) == ("account-1", 1, 2)
    assert appended.types == ("Deposited", "Withdrawn")
    first, second = [event async for event in store.read_stream("account-1")]
    assert (first.type, first.version, first.schema_version) == ("Deposited", 1, 1)
    assert (second.type, second.version, second.schema_version) == ("Withdrawn", 2, 2)
    assert first.metadata == metadata
    assert b"back\\\\slash" in bytes(first.data)
    assert first.recorded_at.tzinfo is not None


async def test_position_covers_the_commit_and_grows(store: EventStore, url: str) -> None:
    first = await store.append("a", [Deposited(amount=1)])
    second = await store.append("b", [Deposited(amount=1)])
    assert Position(0) < first.position < second.position
    async with await psycopg.AsyncConnection.connect(url) as connection:
        row = await (await connection.execute("SELECT pg_current_wal_flush_lsn()::text")).fetchone()
    assert row is not None
    assert second.position <= Position.parse(row[0])


@pytest.mark.parametrize(("expected", "existing"), [(0, 1), (1, 0), (1, 2), (3, 2)])
async def test_append_rejects_wrong_expected_version_and_writes_nothing(
    store: EventStore, expected: int, existing: int
) -> None:
    for _ in range(existing):
        await store.append("account-1", [Deposited(amount=1)])
    with pytest.raises(Conflict) as refusal:
        await store.append("account-1", [Deposited(amount=9)], expected_version=expected)
    assert f"Expected {expected}, actual {existing}" in refusal.value.detail
    assert await versions(store, "account-1") == list(range(1, existing + 1))


async def test_append_with_the_right_expected_version_continues_the_stream(store: EventStore) -> None:
    await store.append("account-1", [Deposited(amount=1)], expected_version=0)
    appended = await store.append("account-1", [Deposited(amount=2), Deposited(amount=3)], expected_version=1)
    assert (appended.first_version, appended.version) == (2, 3)


async def test_appending_a_command_again_returns_its_first_result(store: EventStore) -> None:
    metadata = Metadata(command_id=uuid4())
    first = await store.append("account-1", [Deposited(amount=1)], expected_version=0, metadata=metadata)
    await store.append("account-1", [Withdrawn(amount=1)])
    again = await store.append(
        "account-1", [Deposited(amount=1), Deposited(amount=7)], expected_version=0, metadata=metadata
    )
    assert again.duplicate
    assert not first.duplicate
    assert (again.stream, again.first_version, again.version, again.types) == ("account-1", 1, 1, ("Deposited",))
    assert again.position >= first.position
    assert await versions(store, "account-1") == [1, 2]


async def test_a_command_id_used_by_another_request_is_refused(store: EventStore) -> None:
    metadata = Metadata(command_id=uuid4())
    await store.append("account-1", [Deposited(amount=1)], metadata=metadata, fingerprint=-(2**63))
    with pytest.raises(Rejected, match="used before"):
        await store.append("account-1", [Deposited(amount=1)], metadata=metadata, fingerprint=2**63 - 1)
    assert await versions(store, "account-1") == [1]


async def test_an_append_of_no_events_checks_and_remembers(store: EventStore) -> None:
    metadata = Metadata(command_id=uuid4())
    nothing = await store.append("account-1", [], expected_version=0, metadata=metadata)
    assert (nothing.version, nothing.first_version, nothing.types) == (0, 1, ())
    again = await store.append("account-1", [Deposited(amount=1)], metadata=metadata)
    assert again.duplicate
    assert again.version == 0
    with pytest.raises(Conflict):
        await store.append("account-1", [], expected_version=4)
    assert await versions(store, "account-1") == []


async def test_concurrent_appends_to_one_stream_get_consecutive_versions(store: EventStore) -> None:
    results = await asyncio.gather(*(store.append("hot", [Deposited(amount=n)]) for n in range(50)))
    assert sorted(result.version for result in results) == list(range(1, 51))
    assert await versions(store, "hot") == list(range(1, 51))


async def test_of_racers_that_expect_one_version_one_wins(store: EventStore, url: str) -> None:
    async with EventStore(url) as other:
        outcomes = await asyncio.gather(
            *((store, other)[n % 2].append("race", [Deposited(amount=n)], expected_version=0) for n in range(32)),
            return_exceptions=True,
        )
    assert sum(isinstance(outcome, Appended) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 31
    assert await versions(store, "race") == [1]


async def test_one_command_id_racing_in_two_processes_is_appended_once(store: EventStore, url: str) -> None:
    async with EventStore(url) as other:
        for round_number in range(20):
            metadata = Metadata(command_id=uuid4())
            streams = (f"one-{round_number}", f"two-{round_number}")
            results = await asyncio.gather(
                store.append(streams[0], [Deposited(amount=1)], metadata=metadata),
                other.append(streams[1], [Deposited(amount=1)], metadata=metadata),
            )
            assert sorted(result.duplicate for result in results) == [False, True]
            assert results[0].stream == results[1].stream
            assert sum([len(await versions(store, stream)) for stream in streams]) == 1


async def test_calls_over_the_same_streams_in_different_orders_do_not_deadlock(store: EventStore, url: str) -> None:
    streams = [f"s-{n}" for n in range(20)]
    async with EventStore(url) as other:
        for _ in range(10):
            forwards = [store.append(stream, [Deposited(amount=1)]) for stream in streams]
            backwards = [other.append(stream, [Deposited(amount=1)]) for stream in reversed(streams)]
            await asyncio.gather(*forwards, *backwards)
    for stream in streams:
        assert await versions(store, stream) == list(range(1, 21))


async def test_append_many_answers_each_for_itself_in_order(store: EventStore) -> None:
    await store.append("b", [Deposited(amount=1)])
    results = await store.append_many(
        [
            Append([Part("a", [Deposited(amount=1)], 0)]),
            Append([Part("b", [Deposited(amount=1)], 0)]),
            Append([Part("a", [Deposited(amount=1)], 1)]),
        ]
    )
    assert [type(result) for result in results] == [list, Conflict, list]
    assert await versions(store, "a") == [1, 2]


async def test_an_event_that_postgres_cannot_store_fails_alone(store: EventStore) -> None:
    """JSON may hold U+0000 and jsonb may not: found by PostgreSQL only, in the middle of a call for many."""
    appends = [Append([Part(f"s-{n}", [Deposited(amount=n, note="\0" if n == 3 else "")])]) for n in range(6)]
    results = await store.append_many(appends)
    assert [type(result) for result in results] == [list] * 3 + [InvalidInput] + [list] * 2


async def test_rows_written_past_the_function_make_a_conflict_and_no_failure(store: EventStore, url: str) -> None:
    """Another program inserts version 1 itself, and commits while our call for the same version waits for it."""
    async with await psycopg.AsyncConnection.connect(url) as outsider:
        await outsider.execute(
            "INSERT INTO headrace.events (stream, version, type, schema_version, data, metadata)"
            " VALUES ('s-1', 1, 'Deposited', 1, '{\"amount\": 1}', '{}')"
        )
        tasks = [
            asyncio.ensure_future(store.append(f"s-{n}", [Deposited(amount=n)], expected_version=0)) for n in (0, 1)
        ]
        await waiting_for_a_lock(url)
        await outsider.commit()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [Appended, Conflict]


async def test_an_append_cancelled_before_it_was_sent_does_not_happen(store: EventStore, url: str) -> None:
    async with await psycopg.AsyncConnection.connect(url) as holder:
        await holder.execute("SELECT pg_advisory_xact_lock(hashtextextended('held', 0))")
        held = asyncio.ensure_future(store.append("held", [Deposited(amount=1)]))
        await waiting_for_a_lock(url)
        queued = asyncio.ensure_future(store.append("queued", [Deposited(amount=1)]))
        await asyncio.sleep(0)
        queued.cancel()
        held.cancel()
        await holder.commit()
    await store.append("later", [Deposited(amount=1)])
    assert await versions(store, "queued") == []
    assert await versions(store, "held") == [1]


async def test_bad_appends_are_refused_before_anything_is_sent(store: EventStore) -> None:
    with pytest.raises(InvalidInput, match="stream name"):
        await store.append("tab\there", [Deposited(amount=1)])
    with pytest.raises(InvalidInput, match="version"):
        await store.append("a", [Deposited(amount=1)], expected_version=-2)
    with pytest.raises(LimitExceeded, match="events"):
        await store.append("a", [Deposited(amount=1)] * 10_001)
    with pytest.raises(LimitExceeded, match="bytes"):
        await store.append("a", [Deposited(amount=1, note="x" * (17 << 20))])


@pytest.mark.parametrize(
    "statement", ["UPDATE headrace.events SET type = 'X'", "DELETE FROM headrace.events", "TRUNCATE headrace.events"]
)
async def test_stored_events_cannot_be_changed(store: EventStore, url: str, statement: str) -> None:
    await store.append("a", [Deposited(amount=1)])
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        with pytest.raises(psycopg.errors.RestrictViolation, match="append-only"):
            await connection.execute(statement.encode())


async def waiting_for_a_lock(url: str) -> None:
    """Wait until some call of the event store waits for another transaction."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as watcher, asyncio.timeout(10):
        sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        while True:
            row = await (await watcher.execute(sql)).fetchone()
            if row is not None and row[0] > 0:
                return
