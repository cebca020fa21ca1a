"""The load protocol against a real ClickHouse: once, in order, and the same after being cut off anywhere."""

from __future__ import annotations

import random
from dataclasses import replace
from uuid import uuid4

import pytest
from support.read_side import ReadSide, make_batch

from headrace.bus.batch import Batch
from headrace.errors import Unavailable
from headrace.events.position import Position
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.dead_letters import RETRY, WAITING, read_dead_letters, write_dead_letters
from headrace.warehouse.definitions import FAILED, READY, WANTED, read_definitions, write_definition
from headrace.warehouse.watermark import WatermarkReader, read_watermark

DEFINITIONS = """
CREATE STREAM deposits AS SELECT account, amount, note FROM Deposited WHERE amount > 0;
CREATE TABLE balances AS
  SELECT account, COUNT(*) AS deposits, SUM(amount) AS total, AVG(amount) AS mean, MIN(amount) AS least
  FROM deposits GROUP BY account;
CREATE TABLE notes AS SELECT note, COUNT(*) AS times FROM Deposited GROUP BY note;
"""
NAMES = ("deposits", "balances", "notes")


class CutOff(Exception):
    """Stands for a kill between two steps: nothing after it runs."""


@pytest.fixture
async def read_side(clickhouse: ClickHouse) -> ReadSide:
    side = ReadSide(clickhouse, f"source_{uuid4().hex[:12]}")
    await side.start()
    return side


def some_batch(lsn: int) -> Batch:
    """A batch that only depends on its place, so that it can be read again from the log."""
    draw = random.Random(lsn)
    events: list[tuple[str, dict[str, object]]] = [
        (
            draw.choice(("Deposited", "Deposited", "Withdrawn")),
            {"account": f"a{draw.randrange(20)}", "amount": draw.randrange(-5, 100), "note": draw.choice(("x", None))},
        )
        for _ in range(draw.randrange(1, 60))
    ]
    return make_batch(lsn, events)


async def assert_equal_to_batch(side: ReadSide) -> None:
    for name in NAMES:
        content = await side.content(name)
        assert content == await side.batch_content(name)
        assert content


async def test_incremental_content_equals_the_definition_run_as_a_batch(read_side: ReadSide) -> None:
    await read_side.deploy(DEFINITIONS)
    for lsn in range(100, 1100, 100):
        await read_side.loader.load(some_batch(lsn))
    await assert_equal_to_batch(read_side)
    watermark = await read_watermark(read_side.clickhouse, read_side.source)
    assert (watermark.batch, watermark.position) == (10, Position(1007))


async def test_definition_created_later_is_filled_from_the_log(read_side: ReadSide) -> None:
    for lsn in range(100, 3100, 100):
        await read_side.loader.load(some_batch(lsn))
    await read_side.deploy(DEFINITIONS)
    await read_side.loader.load(some_batch(3100))
    await assert_equal_to_batch(read_side)


async def test_changed_definition_is_rebuilt_with_all_that_reads_it(read_side: ReadSide) -> None:
    await read_side.deploy(DEFINITIONS)
    for lsn in range(100, 600, 100):
        await read_side.loader.load(some_batch(lsn))
    before = await read_side.content("balances")
    await read_side.deploy(DEFINITIONS.replace("amount > 0", "amount > 50"))
    await assert_equal_to_batch(read_side)
    assert await read_side.content("balances") != before


async def test_cut_off_after_every_step_then_repeated_loads_everything_once(read_side: ReadSide) -> None:
    await read_side.deploy(DEFINITIONS)
    steps: list[str] = []
    read_side.on_step = steps.append
    await read_side.loader.load(some_batch(100))
    assert steps[0] == "planned"
    assert steps[-1] == "watermark_written"

    side = read_side
    for number in range(len(steps)):
        lsn = 200 + 100 * number
        seen: list[str] = []

        def cut(step: str, seen: list[str] = seen, number: int = number) -> None:
            seen.append(step)
            if len(seen) > number:
                raise CutOff(step)

        side.on_step = cut
        with pytest.raises(CutOff):
            await side.loader.load(some_batch(lsn))
        side = side.again()
        await side.start(lambda last: some_batch(last.lsn - 7))
        await assert_equal_to_batch(side)
        assert side.loader.watermark.batch == 2 + number
    log = await side.clickhouse.rows(
        f"SELECT count(), uniqExact(_lsn, _ordinal) FROM `{side.clickhouse.database}`.events"
    )
    assert log[0][0] == log[0][1]


async def test_half_inserted_batch_is_completed_by_content(read_side: ReadSide) -> None:
    """A crash of ClickHouse may keep a part of an insert; recovery adds what is missing, not more."""
    await read_side.deploy(DEFINITIONS)
    await read_side.loader.load(some_batch(100))
    batch = some_batch(200)
    read_side.on_step = lambda step: (_ for _ in ()).throw(CutOff()) if step == "events_inserted" else None
    with pytest.raises(CutOff):
        await read_side.loader.load(batch)
    database = read_side.clickhouse.database
    await read_side.clickhouse.execute(
        f"DELETE FROM `{database}`.events WHERE _batch = 2 AND _ordinal % 2 = 0 SETTINGS lightweight_deletes_sync = 2"
    )
    again = read_side.again()
    await again.start(lambda last: some_batch(last.lsn - 7))
    await assert_equal_to_batch(again)
    (held,) = await again.clickhouse.rows(f"SELECT count() FROM `{database}`.events WHERE _batch = 2")
    assert held[0] == batch.rows


async def test_poison_goes_to_dead_letters_and_everything_else_flows_on(read_side: ReadSide) -> None:
    await read_side.deploy(
        "CREATE STREAM checked AS SELECT account, throwIf(amount = 13) AS fine FROM Deposited;"
        "CREATE TABLE per_account AS SELECT account, COUNT(*) AS times FROM checked GROUP BY account;"
    )
    events: list[tuple[str, dict[str, object]]] = [("Deposited", {"account": "a", "amount": n}) for n in range(40)]
    await read_side.loader.load(make_batch(100, events))
    letters = await read_dead_letters(read_side.clickhouse, read_side.source)
    assert [(letter.target, letter.position) for letter in letters] == [("checked", Position(100, 13))]
    assert b'"amount": 13' in letters[0].raw
    assert await read_side.content("per_account") == [("a", 39)]
    await read_side.loader.load(make_batch(200, events[:5]))
    assert await read_side.content("per_account") == [("a", 44)]


async def test_letter_that_fails_again_after_a_retry_waits_again(read_side: ReadSide) -> None:
    """The second letter is the first one once more, and ClickHouse took it for a repeated insert: the row that fails
    stayed in, and the worker ended on it again and again."""
    clickhouse, source = read_side.clickhouse, read_side.source
    await read_side.deploy("CREATE STREAM checked AS SELECT account, throwIf(amount = 13) AS fine FROM Deposited;")
    await read_side.loader.load(make_batch(100, [("Deposited", {"account": "a", "amount": n}) for n in range(20)]))
    (letter,) = await read_dead_letters(clickhouse, source)
    await write_dead_letters(clickhouse, source, [replace(letter, status=RETRY)])
    stored = (await read_definitions(clickhouse, source))["checked"]
    await write_definition(clickhouse, source, replace(stored, state=WANTED, applied_batch=0))
    await read_side.deployer.carry_out_requests()
    await read_side.keeper.fill_all()
    (again,) = await read_dead_letters(clickhouse, source)
    assert (again.position, again.status) == (letter.position, WAITING)
    assert len(await read_side.content("checked")) == 19


async def test_read_model_that_cannot_advance_fails_alone_with_its_readers(read_side: ReadSide) -> None:
    await read_side.deploy(DEFINITIONS)
    await read_side.clickhouse.execute(f"DROP TABLE `{read_side.clickhouse.database}`.deposits SYNC")
    await read_side.loader.load(some_batch(100))
    states = {model.name: model.stored.state for model in read_side.models}
    assert states == {"deposits": FAILED, "balances": FAILED, "notes": READY}
    assert await read_side.content("notes") == await read_side.batch_content("notes")


async def test_waits_for_the_watermark_and_says_when_it_is_behind(read_side: ReadSide) -> None:
    reader = WatermarkReader(clickhouse=read_side.clickhouse, source=read_side.source)
    await read_side.loader.load(some_batch(100))
    assert (await reader.wait_for(Position(100, 3), timeout_s=5)).batch == 1
    with pytest.raises(Unavailable, match="did not reach 0/12C within"):
        await reader.wait_for(Position(300), timeout_s=0.05)
