"""A domain in a new version over an event log that holds older ones, on a real ClickHouse."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from support.read_side import ReadSide, Withdrawn, make_batch

from headrace.errors import InvalidConfiguration
from headrace.events.event import Event
from headrace.events.event_types import EventTypes
from headrace.events.position import Position
from headrace.events.upcasting import find_upcasters, upcaster
from headrace.read_models import rewrite
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.dead_letters import DISCARDED, LOADED, WAITING, read_dead_letters, write_dead_letters
from headrace.warehouse.definitions import FAILED, READY, read_definitions

DEFINITIONS = """
CREATE STREAM deposits AS SELECT account, amount FROM Deposited;
CREATE TABLE balances AS SELECT account, SUM(amount) AS total FROM deposits GROUP BY account;
CREATE TABLE withdrawals AS SELECT account, COUNT(*) AS times FROM Withdrawn GROUP BY account;
"""
NAMES = ("deposits", "balances", "withdrawals")
STEPS = ("log_copied_to:2", "log_copied_to:3", "log_copied", "read_models_marked", "log_exchanged")


class CutOff(Exception):
    """Stands for a kill between two steps: nothing after it runs."""


def in_cents() -> EventTypes:
    """The domain after a change: amounts are counted in cents."""

    class Deposited(Event, version=2):
        account: str
        amount: int

    @upcaster(Deposited, 1)
    def to_cents(data: dict[str, Any]) -> dict[str, Any]:
        return {**data, "amount": round(data["amount"] * 100)}

    return EventTypes([Deposited, Withdrawn], find_upcasters(to_cents))


def renamed() -> EventTypes:
    class MoneyDeposited(Event, renamed_from="Deposited"):
        account: str
        amount: int

    return EventTypes([MoneyDeposited, Withdrawn])


def over(side: ReadSide, events: EventTypes) -> ReadSide:
    """The worker that comes next, with this domain."""
    return ReadSide(side.clickhouse, side.source, events=events)


@pytest.fixture
async def loaded(clickhouse: ClickHouse, monkeypatch: pytest.MonkeyPatch) -> ReadSide:
    """Three batches of the first version, and read models over them. A rewrite takes them in two slices."""
    monkeypatch.setattr(rewrite, "PAGE_ROWS_MAX", 3)
    side = ReadSide(clickhouse, f"source_{uuid4().hex[:12]}")
    await side.start()
    await side.deploy(DEFINITIONS)
    await side.loader.load(make_batch(1000, [("Deposited", {"account": "a", "amount": 1})]))
    await side.loader.load(
        make_batch(2000, [("Deposited", {"account": "b", "amount": 2}), ("Withdrawn", {"account": "a", "amount": 5})])
    )
    await side.loader.load(make_batch(3000, [("Deposited", {"account": "a", "amount": 4})]))
    return side


async def log_of(side: ReadSide) -> list[tuple[object, ...]]:
    sql = f"SELECT type, schema_version, data, _batch FROM `{side.clickhouse.database}`.events ORDER BY _lsn, _ordinal"
    return [tuple(row) for row in await side.clickhouse.rows(sql)]


IN_CENTS = [
    ("Deposited", 2, '{"account":"a","amount":100}', 1),
    ("Deposited", 2, '{"account":"b","amount":200}', 2),
    ("Withdrawn", 1, '{"account": "a", "amount": 5}', 2),
    ("Deposited", 2, '{"account":"a","amount":400}', 3),
]


async def assert_in_cents(side: ReadSide) -> None:
    assert await log_of(side) == IN_CENTS
    assert await side.content("balances") == [("a", 500), ("b", 200)]
    assert {model.stored.state for model in side.models} == {READY}
    for name in NAMES:
        assert await side.content(name) == await side.batch_content(name)
    tables = await side.clickhouse.rows(f"SHOW TABLES FROM `{side.clickhouse.database}` LIKE '%upcast'")
    assert not tables


async def test_log_and_what_reads_it_are_upcast_and_the_rest_is_left_alone(loaded: ReadSide) -> None:
    before = await read_definitions(loaded.clickhouse, loaded.source)
    side = over(loaded, in_cents())
    await side.start()
    await side.keeper.fill_all()
    await assert_in_cents(side)
    after = await read_definitions(side.clickhouse, side.source)
    assert after["withdrawals"] == before["withdrawals"]
    assert after["deposits"] != before["deposits"]
    again = side.again()
    await again.start()
    assert await read_definitions(side.clickhouse, side.source) == after, "a second start has nothing to do"


@pytest.mark.parametrize("step", STEPS)
async def test_a_rewrite_cut_off_after_every_step_is_completed_by_the_next_start(loaded: ReadSide, step: str) -> None:
    def cut(reached: str) -> None:
        if reached == step:
            raise CutOff

    side = over(loaded, in_cents())
    side.on_step = cut
    with pytest.raises(CutOff):
        await side.start()
    again = over(loaded, in_cents())
    await again.start()
    await again.keeper.fill_all()
    await assert_in_cents(again)


@pytest.mark.parametrize("step", ["planned", "events_inserted", "advanced:balances"])
async def test_an_unfinished_batch_of_the_old_version_is_completed_in_the_new_one(loaded: ReadSide, step: str) -> None:
    def cut(reached: str) -> None:
        if reached == step:
            raise CutOff

    batch = make_batch(4000, [("Deposited", {"account": "b", "amount": 8}), ("Withdrawn", {"account": "b"})])
    loaded.on_step = cut
    with pytest.raises(CutOff):
        await loaded.loader.load(batch)
    side = over(loaded, in_cents())
    await side.start(lambda last: batch)
    await side.keeper.fill_all()
    assert await side.content("balances") == [("a", 500), ("b", 1000)]
    assert await side.content("withdrawals") == [("a", 1), ("b", 1)]


async def test_old_events_that_come_in_later_are_upcast_on_the_way(loaded: ReadSide) -> None:
    side = over(loaded, in_cents())
    await side.start()
    await side.keeper.fill_all()
    await side.loader.load(make_batch(4000, [("Deposited", {"account": "b", "amount": 8})]))
    await side.loader.load(make_batch(5000, [("Deposited", {"account": "b", "amount": 1})], schema_version=2))
    assert await side.content("balances") == [("a", 500), ("b", 1001)]


async def test_an_event_that_an_upcaster_refuses_is_kept_and_loaded_by_a_corrected_one(loaded: ReadSide) -> None:
    side = over(loaded, in_cents())
    await side.start()
    await side.keeper.fill_all()
    bad: tuple[str, dict[str, object]] = ("Deposited", {"account": "b", "amount": "8"})  # text times 100 has no `round`
    await side.loader.load(make_batch(4000, [bad, ("Deposited", {"account": "b", "amount": 1})]))
    assert await side.content("balances") == [("a", 500), ("b", 300)]
    (letter,) = await read_dead_letters(side.clickhouse, side.source, status=WAITING)
    assert (letter.target, letter.position) == ("headrace.events", Position(4000, 0))
    assert letter.raw == b'{"account": "b", "amount": "8"}'
    assert "TypeError" in letter.reason

    before = await read_definitions(side.clickhouse, side.source)
    await side.again().start()
    assert await read_definitions(side.clickhouse, side.source) == before, "what fails again is no reason to refill"

    corrected = over(side, corrected_to_cents())
    await corrected.start()
    await corrected.keeper.fill_all()
    assert await corrected.content("balances") == [("a", 500), ("b", 1100)]
    (letter,) = await read_dead_letters(side.clickhouse, side.source)
    assert letter.status == LOADED


def corrected_to_cents() -> EventTypes:
    class Deposited(Event, version=2):
        account: str
        amount: int

    @upcaster(Deposited, 1)
    def to_cents(data: dict[str, Any]) -> dict[str, Any]:
        return {**data, "amount": int(data["amount"]) * 100}

    return EventTypes([Deposited, Withdrawn], find_upcasters(to_cents))


async def test_events_that_cannot_be_rewritten_get_a_letter_and_the_others_go_on(loaded: ReadSide) -> None:
    await loaded.loader.load(make_batch(4000, [("Deposited", {"account": "b", "amount": None})]))
    side = over(loaded, in_cents())
    await side.start()
    await side.keeper.fill_all()
    assert await side.content("balances") == [("a", 500), ("b", 200)]
    (letter,) = await read_dead_letters(side.clickhouse, side.source, status=WAITING)
    assert (letter.position, letter.batch) == (Position(4000, 0), 4)
    assert len(await log_of(side)) == 5, "it stays in the log as it was"


async def test_a_discarded_letter_stays_discarded(loaded: ReadSide) -> None:
    await loaded.loader.load(make_batch(4000, [("Deposited", {"account": "b", "amount": None})]))
    await over(loaded, in_cents()).start()
    letters = await read_dead_letters(loaded.clickhouse, loaded.source)
    discarded = [replace(letter, status=DISCARDED) for letter in letters]
    await write_dead_letters(loaded.clickhouse, loaded.source, discarded)
    await over(loaded, in_cents()).start()
    (letter,) = await read_dead_letters(loaded.clickhouse, loaded.source)
    assert letter.status == DISCARDED


async def test_a_renamed_type_has_the_events_of_its_former_name(loaded: ReadSide) -> None:
    side = over(loaded, renamed())
    await side.start()
    await side.deploy("CREATE TABLE sums AS SELECT account, SUM(amount) AS total FROM MoneyDeposited GROUP BY account;")
    await side.loader.load(make_batch(4000, [("Deposited", {"account": "b", "amount": 8})]))
    await side.loader.load(make_batch(5000, [("MoneyDeposited", {"account": "b", "amount": 1})]))
    assert await side.content("sums") == [("a", 5), ("b", 11)]
    deposits = side.models.get("deposits")
    assert deposits is not None
    assert deposits.stored.state == FAILED, "what reads the former name says so instead of standing still"


async def test_a_version_that_is_not_known_yet_is_never_passed_over(loaded: ReadSide) -> None:
    newer = make_batch(4000, [("Deposited", {"account": "b", "amount": 800})], schema_version=2)
    with pytest.raises(InvalidConfiguration, match="does not know yet") as refused:
        await loaded.loader.load(newer)
    assert "position 0/FA0.0" in refused.value.detail
    side = over(loaded, in_cents())
    await side.start(lambda last: newer)
    await side.keeper.fill_all()
    assert await side.content("balances") == [("a", 500), ("b", 1000)]
    with pytest.raises(InvalidConfiguration, match="does not know yet") as refused:
        await ReadSide(side.clickhouse, side.source).start()
    assert "Stream account-a, version 1000, position 0/3E8.0" in refused.value.detail
