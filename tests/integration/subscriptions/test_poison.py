"""Events that cannot be handled: tried again, set aside with all behind them of their key, retried, discarded."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable

import psycopg
import pytest
from support.following import insert, open_writer
from support.reacting import caught_up, has, numbers_of, reacting, until, write
from support.reactor_domain import Copied, Copy, Written

from headrace import Command, Event, reactor
from headrace.event_store import connection, statements
from headrace.event_store.event_store import EventStore
from headrace.subscriptions import subscription


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscription, "BACKOFF_S", (0.0, 0.0, 0.0, 0.0))


async def statuses(store: EventStore) -> list[tuple[str, int, str]]:
    return [(each.key, each.version, each.status) for each in await store.subscriptions.letters()]


async def test_poison_and_all_behind_it_are_set_aside_and_other_keys_flow_on(store: EventStore, url: str) -> None:
    attempts: list[int] = []

    @reactor("copies")
    def copies(event: Written) -> Iterable[Command]:
        if event.topic == "bad" and event.number == 2:
            attempts.append(1)
            raise ZeroDivisionError("no \0 such number")
        yield Copy(topic=event.topic, number=event.number)

    await write(store, "bad", 1, 2, 3)
    await write(store, "good", 1, 2, 3)
    async with reacting(url, copies):
        await caught_up(store, "copies")
        await write(store, "bad", 4)
        await write(store, "good", 4)
        await caught_up(store, "copies")
    assert len(attempts) == subscription.ATTEMPTS_MAX
    assert await numbers_of(store, "copy-good") == [1, 2, 3, 4]
    assert await numbers_of(store, "copy-bad") == [1]
    first, *behind = await store.subscriptions.letters("copies")
    assert (first.stream, first.version, first.status) == ("notes-bad", 2, "waiting")
    assert first.reason == "ZeroDivisionError: no  such number"
    assert [(each.version, each.reason) for each in behind] == [
        (3, "Behind another dead letter of its key."),
        (4, "Behind another dead letter of its key."),
    ]


async def test_a_retry_handles_the_events_of_the_key_in_order_and_frees_it(store: EventStore, url: str) -> None:
    broken = True

    @reactor("copies")
    def copies(event: Written) -> Iterable[Command]:
        if broken and event.number == 1:
            raise ValueError
        yield Copy(topic=event.topic, number=event.number)

    await write(store, "a", 1, 2)
    async with reacting(url, copies):
        await caught_up(store, "copies")
        assert await store.subscriptions.retry("copies") == 2
        await until_none_is("retry", store)
        assert await statuses(store) == [("notes-a", 1, "waiting"), ("notes-a", 2, "waiting")]
    broken = False
    assert await store.subscriptions.retry("copies", "notes-a") == 2
    async with reacting(url, copies):
        await write(store, "a", 3)
        await until_none_is("retry", store)
        await caught_up(store, "copies")
    assert await numbers_of(store, "copy-a") == [1, 2, 3]
    assert {status for _, _, status in await statuses(store)} == {"handled"}


async def test_discarding_leaves_out_the_event_that_failed_and_handles_those_behind_it(
    store: EventStore, url: str
) -> None:
    @reactor("copies")
    def copies(event: Written) -> Iterable[Command]:
        assert event.number != 1
        yield Copy(topic=event.topic, number=event.number)

    await write(store, "a", 1, 2)
    async with reacting(url, copies):
        await caught_up(store, "copies")
        assert await store.subscriptions.discard("copies", "notes-a") == 2
        await until_none_is("retry", store)
        await write(store, "a", 3)
        await caught_up(store, "copies")
    assert await numbers_of(store, "copy-a") == [2, 3]
    assert [status for _, _, status in await statuses(store)] == ["discarded", "handled"]


async def test_a_discard_that_comes_during_a_retry_stands(store: EventStore, url: str) -> None:
    """The retry failed after the discard had been asked for, and made all of the key wait again."""
    retrying, go_on = asyncio.Event(), asyncio.Event()
    calls: list[int] = []

    @reactor("effects")
    async def effects(event: Written) -> None:
        calls.append(event.number)
        if len(calls) > subscription.ATTEMPTS_MAX:
            retrying.set()
            await go_on.wait()
        assert event.number != 1

    await write(store, "a", 1, 2)
    async with reacting(url, effects):
        await caught_up(store, "effects")
        await store.subscriptions.retry("effects")
        await retrying.wait()
        await store.subscriptions.discard("effects", "notes-a")
        go_on.set()
        await until(has(calls, 2 * subscription.ATTEMPTS_MAX + 1))
        await until_none_is("retry", store)
    assert [status for _, _, status in await statuses(store)] == ["discarded", "handled"]


async def test_a_key_stays_blocked_when_another_process_goes_on(store: EventStore, url: str) -> None:
    @reactor("copies")
    def broken(event: Written) -> Iterable[Command]:
        raise ValueError

    @reactor("copies")
    def copies(event: Written) -> Iterable[Command]:
        yield Copy(topic=event.topic, number=event.number)

    await write(store, "a", 1)
    async with reacting(url, broken):
        await caught_up(store, "copies")
    async with reacting(url, copies):
        await write(store, "a", 2)
        await caught_up(store, "copies")
    assert await numbers_of(store, "copy-a") == []
    assert await statuses(store) == [("notes-a", 1, "waiting"), ("notes-a", 2, "waiting")]


async def test_a_plain_reactor_that_hangs_is_left_behind(store: EventStore, url: str) -> None:
    release, calls = threading.Event(), list[str]()

    @reactor("copies", time_max_s=0.1)
    def copies(event: Written) -> Iterable[Command]:
        calls.append(event.topic)
        if event.topic == "hang":
            release.wait()
        yield Copy(topic=event.topic, number=event.number)

    await write(store, "hang", 1)
    await write(store, "well", 1)
    try:
        async with reacting(url, copies):
            await caught_up(store, "copies")
    finally:
        release.set()
    assert await numbers_of(store, "copy-well") == [1]
    assert calls.count("hang") == 1
    (letter,) = await store.subscriptions.letters()
    assert (letter.key, letter.reason.splitlines()[0]) == (
        "notes-hang",
        "The reactor copies did not end within 0.1 s.",
    )


async def test_an_async_reactor_that_hangs_is_cancelled_and_tried_again(store: EventStore, url: str) -> None:
    calls: list[str] = []

    @reactor("effects", time_max_s=0.05)
    async def effects(event: Written) -> None:
        calls.append(event.topic)
        if event.topic == "hang":
            await asyncio.Event().wait()

    await write(store, "hang", 1)
    await write(store, "well", 1)
    async with reacting(url, effects):
        await caught_up(store, "effects")
    assert calls.count("hang") == subscription.ATTEMPTS_MAX
    (letter,) = await store.subscriptions.letters()
    assert letter.reason == "It did not end within 0.05 s."


@pytest.mark.parametrize("error", [asyncio.CancelledError, SystemExit])
async def test_an_async_reactor_that_ends_itself_ends_nothing_else(
    store: EventStore, url: str, error: type[BaseException]
) -> None:
    """A cancelled task is no failure to a task group: the checkpoint would have stood still for ever, in silence."""

    @reactor("effects")
    async def effects(event: Written) -> None:
        if event.topic == "bad":
            raise error

    await write(store, "bad", 1)
    await write(store, "well", 1)
    async with reacting(url, effects):
        await caught_up(store, "effects")
    (letter,) = await store.subscriptions.letters()
    assert letter.reason == f"The reactor effects raised {error.__name__}."


async def test_events_that_cannot_be_decoded_are_set_aside_with_their_stream_and_version(
    store: EventStore, url: str
) -> None:
    seen: list[str] = []

    @reactor("everything", key="topic")
    async def everything(event: Event) -> None:
        seen.append(type(event).__name__)

    async with open_writer(url) as writer:
        await insert(writer, "odd", 1, type="Forgotten")
        await writer.execute(
            "INSERT INTO headrace.events (stream, version, type, schema_version, data, metadata) "
            "VALUES ('odd', 2, 'Written', 1, '{\"topic\": \"b\"}', '{}')"
        )
        await writer.commit()
    await store.append("even", [Copied(topic="c", number=1)])
    async with reacting(url, everything):
        await until(has(seen, 1))
        await caught_up(store, "everything", None)
    assert seen == ["Copied"]
    unknown, corrupt = await store.subscriptions.letters()
    assert "does not declare: Forgotten" in unknown.reason
    assert "Stream odd, version 1," in unknown.reason
    assert "does not fit its declaration" in corrupt.reason
    assert "Stream odd, version 2" in corrupt.reason
    assert [unknown.key, corrupt.key] == ["a", "b"]


async def test_what_is_no_command_is_the_reactors_failure(store: EventStore, url: str) -> None:
    @reactor("copies")
    def copies(event: Written) -> Iterable[object]:
        yield event

    await write(store, "a", 1)
    async with reacting(url, copies):
        await caught_up(store, "copies")
    (letter,) = await store.subscriptions.letters()
    assert letter.reason.startswith("The reactor copies gave something that is no command: a Written.")


async def test_a_reactor_that_fails_for_many_keys_pauses_itself(
    store: EventStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscription, "BLOCKED_KEYS_MAX", 3)

    @reactor("copies")
    def broken(event: Written) -> Iterable[Command]:
        raise ValueError

    for topic in "abc":
        await write(store, topic, 1)
    async with reacting(url, broken):

        async def paused() -> bool:
            return [each.state for each in await store.subscriptions.read()] == ["paused"]

        await until(paused)
        (state,) = await store.subscriptions.read()
    assert state.problem == "3 keys wait behind dead letters."


async def test_a_stream_that_is_locked_by_another_transaction_is_waited_for(
    store: EventStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An idle transaction that holds one stream delays that key for as long as it lasts, and is nobody's failure."""
    monkeypatch.setattr(connection, "_SESSION", connection._SESSION + b"; SET lock_timeout = '200ms'")

    @reactor("copies")
    def copies(event: Written) -> Iterable[Command]:
        yield Copy(topic=event.topic, number=event.number)

    async with reacting(url, copies), await psycopg.AsyncConnection.connect(url) as idle:
        await idle.execute("SELECT pg_advisory_xact_lock(hashtextextended('copy-held', 0))")
        await write(store, "held", 1)
        await write(store, "free", 1)

        async def free_copied() -> bool:
            return await numbers_of(store, "copy-free") == [1]

        await until(free_copied)
        await idle.rollback()
        await caught_up(store, "copies")
    assert await numbers_of(store, "copy-held") == [1]
    assert await statuses(store) == []


async def until_none_is(status: str, store: EventStore) -> None:
    async def none() -> bool:
        return all(each != status for _, _, each in await statuses(store))

    await until(none)


async def test_a_reset_forgets_an_event_that_is_set_aside_at_the_same_moment(store: EventStore, url: str) -> None:
    """One statement changed the subscription and forgot its dead letters. It waited for a holder that was setting an
    event aside, and then did not see that letter: its key stayed blocked, though every event came again."""
    async with reacting(url, reactor("one")(_ignore)):
        await caught_up(store, "one")
    async with (
        await psycopg.AsyncConnection.connect(url) as holder,
        await psycopg.AsyncConnection.connect(url, autocommit=True) as watcher,
        asyncio.TaskGroup() as group,
    ):
        epoch = await (await holder.execute("SELECT epoch FROM headrace.subscriptions")).fetchone()
        assert epoch is not None
        letter = {"name": "one", "stream": "s", "version": 1, "key": "s", "reason": "It failed."}
        await holder.execute(statements.query("set_aside"), {**letter, "epoch": epoch[0]})
        resetting = group.create_task(store.subscriptions.reset("one"))

        async def waits() -> bool:
            waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            return (await watcher.execute(waiting)).rowcount > 0

        await until(waits)
        assert not resetting.done()
        await holder.commit()
    assert await store.subscriptions.letters() == []


async def _ignore(event: Written) -> None: ...
