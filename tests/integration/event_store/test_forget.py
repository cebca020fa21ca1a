"""Forgetting a person: who is read before and after, and what happens when somebody writes at the same time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import psycopg
import pytest

from headrace.errors import Conflict, InvalidInput, Unknown
from headrace.event_store.append import Append, Part
from headrace.event_store.condition import Criterion
from headrace.event_store.event_store import EventStore
from headrace.event_store.forget import Trace
from headrace.event_store.subject_keys import LIFETIME_S
from headrace.events.event import Event
from headrace.events.event_types import EventTypes
from headrace.events.personal import JoinablePersonal, Personal

ROUNDS = 40


class Registered(Event, subject="{who}"):
    who: str
    name: Personal[str]
    email: JoinablePersonal[str | None] = None


class Noted(Event):
    text: str = ""


TYPES = EventTypes([Registered, Noted])


async def read(store: EventStore, stream: str) -> list[Event]:
    return [TYPES.decode(event) async for event in store.read_stream(stream)]


async def names(store: EventStore, stream: str) -> list[str]:
    return [event.name for event in await read(store, stream) if isinstance(event, Registered)]


async def test_a_forgotten_person_is_unreadable_and_everybody_else_is_not(store: EventStore) -> None:
    ada = Registered(who="ada", name="Ada L.", email="ada@example.org")
    bob = Registered(who="bob", name="Bob M.", email="bob@example.org")
    await store.append("s", [ada, Noted(text="n"), bob])
    assert await read(store, "s") == [ada, Noted(text="n"), bob]
    traces = await store.forget("ada")
    assert (traces.key, traces.found) == (True, (Trace("Registered", "s", 1, ("email", "name"), 1),))
    forgotten = Registered(who="ada", name="[forgotten]")
    assert await read(store, "s") == [forgotten, Noted(text="n"), bob]
    assert [TYPES.decode(event) async for _, event in store.read_all(limit=1)] == [forgotten]
    assert [TYPES.decode(event) async for event in store.read_matching([Criterion(tags=("subject:ada",))])] == [
        forgotten
    ]
    assert TYPES.decode((await store.read_streams({"s": 0}))["s"][0]) == forgotten


async def test_the_tables_hold_no_personal_text(store: EventStore, url: str) -> None:
    await store.append("s", [Registered(who="ada", name="Ada L.", email="ada@example.org")])
    await store.bulk_append([("t", Registered(who="ada", name="Ada L.", email="ada@example.org"))])
    async with await psycopg.AsyncConnection.connect(url) as connection:
        rows = await (await connection.execute("SELECT row_to_json(e)::text FROM headrace.events AS e")).fetchall()
    text = str(rows)
    assert "Ada L." not in text
    assert "ada@example" not in text
    assert text.count("personal:1:") == 4


async def test_forgetting_can_be_repeated_and_the_unknown_are_refused(store: EventStore) -> None:
    await store.append("s", [Registered(who="ada", name="Ada")])
    first = await store.forget("ada")
    again = await store.forget("ada")
    assert (first.key, again.key, again.found) == (True, False, first.found)
    with pytest.raises(Unknown, match="'nobody'"):
        await store.forget("nobody")


async def test_a_dry_run_says_the_same_and_changes_nothing(store: EventStore) -> None:
    await store.append("s", [Registered(who="ada", name="Ada")])
    found = await store.forget("ada", dry_run=True)
    assert await names(store, "s") == ["Ada"]
    assert await store.forget("ada") == found


async def test_who_comes_back_gets_a_new_key_and_the_past_stays_forgotten(store: EventStore) -> None:
    await store.append("s", [Registered(who="ada", name="before")])
    await store.forget("ada")
    await store.append("s", [Registered(who="ada", name="after")])
    assert await names(store, "s") == ["[forgotten]", "after"]


async def test_another_process_appends_under_a_new_key_whatever_it_remembers(store: EventStore, url: str) -> None:
    async with EventStore(url) as other:
        await other.append("s", [Registered(who="ada", name="before")])
        await store.forget("ada")
        await other.append("s", [Registered(who="ada", name="after")])
        assert await names(store, "s") == ["[forgotten]", "after"]


async def test_another_process_forgets_when_what_it_remembers_is_out_of_date(
    store: EventStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with EventStore(url) as other:
        await other.append("s", [Registered(who="ada", name="Ada")])
        await store.forget("ada")
        assert await names(other, "s") == ["Ada"]
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now + LIFETIME_S)
        assert await names(other, "s") == ["[forgotten]"]


async def test_nothing_is_written_that_nobody_can_read_however_forgetting_races(store: EventStore, url: str) -> None:
    """Each append is before the forgetting, and is then in its report, or after it, and is then readable."""
    async with EventStore(url) as other:
        for number in range(ROUNDS):
            who, stream = f"who-{number}", f"s-{number}"
            await other.append(stream, [Registered(who=who, name="first")])
            late = [other.append(stream, [Registered(who=who, name="late")]) for _ in range(3)]
            traces, _ = await asyncio.gather(store.forget(who), asyncio.gather(*late))
            seen = await names(store, stream)
            gone = sum(trace.events for trace in traces.found)
            assert seen == ["[forgotten]"] * gone + ["late"] * (4 - gone)


async def test_an_import_holds_off_forgetting_or_stops(store: EventStore, url: str) -> None:
    """Whoever is forgotten while an import has already sealed something stops it with nothing of the chunk written."""

    async def items(*, forget: bool) -> AsyncIterator[tuple[str, Event]]:
        for number in range(1_500):
            yield "s", Registered(who="ada", name=f"n{number}")
        if forget:
            await store.forget("ada")

    await store.append("s", [Registered(who="ada", name="first")])
    async with EventStore(url) as other:
        with pytest.raises(Conflict, match="forgotten meanwhile") as raised:
            await other.bulk_append(items(forget=True))
        assert raised.value.detail.startswith("0 events are in")
        assert await names(store, "s") == ["[forgotten]"]
        await other.bulk_append(items(forget=False))
    assert (await names(store, "s"))[1:] == [f"n{number}" for number in range(1_500)]
    assert (await store.forget("ada")).found[0].events == 1_501


async def test_appends_together_keep_their_order_and_each_its_subject(store: EventStore) -> None:
    appends = [
        Append([Part("s", [Registered(who=f"who-{n % 2}", name=f"n{n}") if n % 3 else Noted(text=str(n))])])
        for n in range(9)
    ]
    await store.append_many(appends)
    assert [getattr(event, "name", None) for event in await read(store, "s")] == [
        f"n{n}" if n % 3 else None for n in range(9)
    ]


async def test_appends_that_meet_new_people_at_once_share_their_keys(store: EventStore, url: str) -> None:
    async with EventStore(url) as other:
        await asyncio.gather(
            *(
                one.append(f"s-{n}", [Registered(who=f"who-{n % 7}", name=f"n{n}")])
                for n in range(60)
                for one in (store, other)
            )
        )
        for n in range(60):
            assert await names(other, f"s-{n}") == [f"n{n}"] * 2
    for n in range(7):
        assert (await store.forget(f"who-{n}")).key
    assert await names(store, "s-0") == ["[forgotten]"] * 2


async def test_one_event_about_nobody_spoils_no_append_beside_it(store: EventStore) -> None:
    about_nobody = Registered(who=None, name="Ada")  # type: ignore[arg-type]
    good, bad = await store.append_many(
        [Append([Part("s", [Registered(who="ada", name="Ada")])]), Append([Part("t", [about_nobody])])]
    )
    assert isinstance(good, list)
    assert isinstance(bad, InvalidInput)
    assert await names(store, "s") == ["Ada"]


async def test_snapshots_of_streams_about_the_person_are_deleted(store: EventStore, url: str) -> None:
    """Whatever columns they have beside their stream."""
    await store.append("s", [Registered(who="ada", name="Ada")])
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("DROP TABLE IF EXISTS headrace.snapshots")
        await connection.execute("CREATE TABLE headrace.snapshots (stream text)")
        await connection.execute("INSERT INTO headrace.snapshots VALUES ('s'), ('other')")
        assert (await store.forget("ada", dry_run=True)).snapshots == 1
        assert (await store.forget("ada")).snapshots == 1
        assert await (await connection.execute("SELECT stream FROM headrace.snapshots")).fetchall() == [("other",)]


async def test_nobody_else_may_read_the_keys(store: EventStore, url: str) -> None:
    await store.append("s", [Registered(who="ada", name="Ada")])
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        role = f"reader_{url.rsplit('/', 1)[-1].split('?')[0]}"
        await connection.execute(f"CREATE ROLE {role}".encode())
        await connection.execute(f"GRANT USAGE ON SCHEMA headrace TO {role}".encode())
        await connection.execute(f"SET ROLE {role}".encode())
        for table in ("subject_keys", "hash_key"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await connection.execute(f"SELECT * FROM headrace.{table}".encode())
