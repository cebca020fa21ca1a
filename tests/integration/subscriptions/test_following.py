"""Following the events past transactions that are held open, rolled back, and committed at every moment."""

from __future__ import annotations

import asyncio

import msgspec
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.following import Event, insert, open_writer, read_rest
from support.reactor_domain import Copied, Written

from headrace.errors import Corrupt, Unavailable
from headrace.event_store import follow
from headrace.event_store.event_store import EventStore
from headrace.event_store.follow import Checkpoint
from headrace.event_store.held_subscription import HeldSubscription, Superseded, hold

BEGINNING = Checkpoint()


async def test_a_writer_that_began_earlier_and_commits_later_is_not_passed_over(store: EventStore, url: str) -> None:
    """commanded/eventstore#3: a reader that remembers the largest number loses what commits late."""
    async with hold(url, "one", from_now=False) as held, open_writer(url) as late:
        first = await insert(late, "late")
        await store.append("early", [Written(topic="a", number=1)])
        found, checkpoint = await read_rest(held, BEGINNING)
        assert [event for _, event in found] == [("early", 1)]
        await late.commit()
        found, checkpoint = await read_rest(held, checkpoint)
        assert [event for _, event in found] == [first]
        assert (await read_rest(held, checkpoint))[0] == []


async def test_an_idle_transaction_holds_nobody_up(store: EventStore, url: str) -> None:
    """Readers that stop below the oldest open transaction stand still for as long as a forgotten session lives."""
    async with hold(url, "one", from_now=False) as held, open_writer(url) as idle:
        await insert(idle, "idle")
        checkpoint = BEGINNING
        for number in range(1, 20):
            await store.append("busy", [Written(topic="a", number=number)])
            found, checkpoint = await read_rest(held, checkpoint)
            assert [event for _, event in found] == [("busy", number)]


async def test_a_rollback_leaves_no_gap_to_wait_for(store: EventStore, url: str) -> None:
    """JasperFx/marten#5108: numbers that a rolled-back transaction used up were waited for, also after a restart."""
    async with open_writer(url) as writer:
        await insert(writer, "gone")
        await store.append("a", [Written(topic="a", number=1)])
        async with hold(url, "one", from_now=False) as held:
            found, checkpoint = await read_rest(held, BEGINNING)
            await held.save(checkpoint)
        await writer.rollback()
    await store.append("b", [Written(topic="a", number=1)])
    async with hold(url, "one", from_now=False) as held:
        later, _ = await read_rest(held, held.checkpoint)
    assert [event for _, event in found + later] == [("a", 1), ("b", 1)]


async def test_what_commits_in_the_middle_of_a_page_comes_once(
    store: EventStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JasperFx/marten#5300: a commit that landed between two statements of one read was lost."""
    monkeypatch.setattr(follow, "PAGE_ROWS_MAX", 2)
    async with (
        hold(url, "one", from_now=False) as held,
        open_writer(url) as before,
        open_writer(url) as behind,
    ):
        await insert(before, "before")
        await store.append("a", [Written(topic="a", number=number) for number in range(4)])
        await insert(behind, "behind")
        await store.append("a", [Written(topic="a", number=4)])
        page = await held.read_new(BEGINNING.toward((await held.look()).snapshot), None)
        await before.commit()
        await behind.commit()
        rest, _ = await read_rest(held, page.checkpoint)
    found = [(event.stream, event.version) for _, event in page.events] + [event for _, event in rest]
    assert found == [("a", 1), ("a", 2), ("a", 3), ("a", 4), ("a", 5), ("before", 1), ("behind", 1)]


async def test_reading_on_from_every_checkpoint_repeats_and_skips_nothing(
    store: EventStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JasperFx/marten#5280: the event at a boundary was fetched twice."""
    monkeypatch.setattr(follow, "PAGE_ROWS_MAX", 3)
    async with hold(url, "one", from_now=False) as held, open_writer(url) as late:
        await insert(late, "late")
        for number in range(4):
            await store.append(f"s{number}", [Written(topic="a", number=each) for each in range(number + 1)])
        first, checkpoint = await read_rest(held, BEGINNING)
        await late.commit()
        second, _ = await read_rest(held, checkpoint)
        whole = first + second
        assert len(whole) == 11
        for index, (after, _) in enumerate(whole):
            # From inside the first snapshot, what came in between may come at another moment; never twice, never not.
            rest = [event for _, event in (await read_rest(held, after))[0]]
            assert sorted(rest) == sorted(event for _, event in whole[index + 1 :])


async def test_only_the_types_that_are_asked_for_come_however_rare(
    store: EventStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "PAGE_ROWS_MAX", 4)
    for number in range(9):
        await store.append("a", [Written(topic="a", number=number)] * 3)
    await store.append("b", [Copied(topic="a", number=1)])
    await store.append("a", [Written(topic="a", number=9)])
    async with hold(url, "one", from_now=False) as held:
        found, _ = await read_rest(held, BEGINNING, ["Copied"])
    assert [event for _, event in found] == [("b", 1)]


async def test_a_new_one_may_begin_behind_the_last_event(store: EventStore, url: str) -> None:
    async with open_writer(url) as open_then:
        await insert(open_then, "open")
        await store.append("old", [Written(topic="a", number=1)])
        async with hold(url, "one", from_now=True):
            pass
        await open_then.commit()
    await store.append("new", [Written(topic="a", number=1)])
    async with hold(url, "one", from_now=True) as held:
        found, _ = await read_rest(held, held.checkpoint)
    assert [event for _, event in found] == [("open", 1), ("new", 1)]


async def test_a_checkpoint_beyond_the_newest_transaction_is_corrupt(store: EventStore, url: str) -> None:
    """kurrent-io/KurrentDB#4970: with a restored database, a checkpoint from its future skipped all that came next."""
    async with hold(url, "one", from_now=False) as held:
        await held.save(Checkpoint("900000000:900000000:"))
    with pytest.raises(Corrupt, match="beyond the newest transaction"):
        async with hold(url, "one", from_now=False):
            pass
    await store.subscriptions.reset("one")
    async with hold(url, "one", from_now=False) as held:
        assert held.checkpoint == BEGINNING


async def test_who_lost_the_lock_can_save_nothing(store: EventStore, url: str) -> None:
    """occurrent's ADR 115: a stale holder woke up and moved the checkpoint over what its successor had not handled."""
    await store.append("a", [Written(topic="a", number=1)])
    async with hold(url, "one", from_now=False) as stale:
        found, checkpoint = await read_rest(stale, BEGINNING)
        (event,) = [event async for event in store.read_stream("a")]
        await stale._connection.execute("SELECT pg_advisory_unlock_all()")  # as if it had been cut off
        async with hold(url, "one", from_now=False) as successor:
            for attempt in (stale.save(checkpoint), stale.set_aside(event, "a", "it failed"), stale.look()):
                with pytest.raises(Superseded):
                    await attempt
            assert (await successor.look()).paused is False
            assert await store.subscriptions.letters() == []
    assert found
    assert (await store.subscriptions.read())[0].checkpoint == BEGINNING


async def test_a_second_process_waits_until_the_first_one_is_gone(store: EventStore, url: str) -> None:
    async def second() -> None:
        async with hold(url, "one", from_now=False):
            pass

    async with hold(url, "one", from_now=False) as first:
        waiting = asyncio.create_task(second())
        async with hold(url, "another", from_now=False):  # has to do with nobody
            pass
        assert not waiting.done()
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as killer:
            pid = first._connection.info.backend_pid
            await killer.execute("SELECT pg_terminate_backend(%s)", (pid,))
        async with asyncio.timeout(20):
            await waiting
        with pytest.raises(Unavailable):
            await first.look()


WRITERS = 3
_step = st.one_of(
    st.tuples(st.sampled_from(["insert", "commit", "rollback"]), st.integers(0, WRITERS - 1)),
    st.tuples(st.sampled_from(["page", "restart", "drain"]), st.just(0)),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(_step, min_size=8, max_size=40), page_rows=st.integers(1, 3))
def test_whatever_commits_when_each_event_comes_exactly_once(
    url: str, steps: list[tuple[str, int]], page_rows: int
) -> None:
    """Writers insert, commit and roll back in any order; a reader reads pages and starts again at what it saved."""
    with pytest.MonkeyPatch.context() as patch, asyncio.Runner() as runner:
        patch.setattr(follow, "PAGE_ROWS_MAX", page_rows)
        runner.run(_play(url, steps))


async def _play(url: str, steps: list[tuple[str, int]]) -> None:
    committed: set[Event] = set()
    seen: list[Event] = []
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        row = await (await connection.execute("SELECT gen_random_uuid()::text")).fetchone()
    assert row is not None
    run = row[0]
    async with (
        hold(url, run, from_now=True) as held,
        open_writer(url) as one,
        open_writer(url) as two,
        open_writer(url) as three,
    ):
        writers, pending = (one, two, three), [set[Event](), set[Event](), set[Event]()]
        checkpoint = held.checkpoint
        for number, (step, index) in enumerate(steps):
            if step == "insert":
                pending[index].add(await insert(writers[index], f"{run}-{index}-{number}"))
            elif step in ("commit", "rollback"):
                await (writers[index].commit() if step == "commit" else writers[index].rollback())
                committed |= pending[index] if step == "commit" else set()
                pending[index] = set()
            elif step == "page":
                checkpoint = checkpoint.toward((await held.look()).snapshot)
                page = await held.read_new(checkpoint, None)
                seen += [(event.stream, event.version) for _, event in page.events]
                checkpoint = page.checkpoint
            elif step == "restart":
                await held.save(checkpoint)
                checkpoint = await _saved(held)
            else:
                found, checkpoint = await read_rest(held, checkpoint)
                seen += [event for _, event in found]
                assert set(seen) == committed, "all that is committed has come, whatever is open"
        for writer, inserted in zip(writers, pending, strict=True):
            await writer.commit()
            committed |= inserted
        found, _ = await read_rest(held, checkpoint)
    seen += [event for _, event in found]
    assert sorted(seen) == sorted(committed)


async def _saved(held: HeldSubscription) -> Checkpoint:
    query = "SELECT checkpoint FROM headrace.subscriptions WHERE name = %(name)s"
    row = await (await held._connection.execute(query, held._who)).fetchone()
    assert row is not None
    return msgspec.json.decode(row[0], type=Checkpoint)
