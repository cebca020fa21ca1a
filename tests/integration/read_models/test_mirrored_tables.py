"""Read models over a mirrored table, which is made by hand: waiting, filling, following, and rows that fail."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from support.mirrored_orders import MirroredOrders
from support.read_side import ReadSide, make_batch

from headrace.bus.batch import Batch, Definition, Relation, Truncated
from headrace.errors import InvalidSQL, Unavailable
from headrace.events.position import Position
from headrace.read_models.advance import Advance
from headrace.read_models.model import ReadModel
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.dead_letters import read_dead_letters
from headrace.warehouse.definitions import FILLING, READY, WANTED, StoredDefinition, read_definitions, write_definition
from headrace.warehouse.watermark import Watermark

DEFINITIONS = """
CREATE TABLE regions AS
  SELECT region, COUNT(*) AS n, SUM(amount) AS total, AVG(qty) AS mean FROM orders GROUP BY region;
CREATE TABLE dearest AS SELECT note, MAX(amount) AS most, SUM(price) AS price FROM orders GROUP BY note;
CREATE STREAM raised AS SELECT id, qty, _sign AS sign FROM orders_changes WHERE qty > 0;
CREATE TABLE raises AS SELECT id, COUNT(*) AS n, SUM(sign) AS there FROM raised GROUP BY id;
CREATE TABLE deposits AS SELECT account, SUM(amount) AS total FROM Deposited GROUP BY account;
"""
NAMES = ("regions", "dearest", "raised", "raises", "deposits")
ORDERS = Definition(1, Relation("public", "orders"), "d", ())
Changes = Sequence[tuple[Any, ...]] | str


class Mirror:
    """The one table, which the test makes ready, and changes between two batches."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self.orders = MirroredOrders(clickhouse.database)
        self.ready = False
        self._clickhouse = clickhouse

    def names(self) -> list[str]:
        return ["orders"]

    def is_ready(self, name: str) -> bool:
        return self.ready and name == "orders"

    async def make(self) -> None:
        for sql in self.orders.create_sql():
            await self._clickhouse.execute(sql)

    async def change(self, changes: Changes, batch: int) -> None:
        """Apply changes as those of `batch`."""
        self.orders.batch = batch - 1
        for sql in self.orders.apply_sql(changes):
            await self._clickhouse.execute(sql)


@pytest.fixture
def mirror(clickhouse: ClickHouse) -> Mirror:
    return Mirror(clickhouse)


@pytest.fixture
async def read_side(clickhouse: ClickHouse, mirror: Mirror) -> ReadSide:
    side = ReadSide(clickhouse, f"source_{uuid4().hex[:12]}", mirrored=mirror)
    await side.start()
    return side


def row(
    qty: int, *, region: str = "north", note: str = "x", amount: str = "1.25", price: str = "0.5"
) -> tuple[str, ...]:
    return (f"'{region}'", str(qty), "7", f"'{amount}'", "'1'", price, f"'{note}'", "[]")


def change_batch(batch: int) -> Batch:
    """A batch that changes mirrored tables alone."""
    place = Position(batch * 100, 0)
    return Batch(
        first=place,
        last=Position(batch * 100 + 7),
        confirm_lsn=batch * 100 + 8,
        committed_at=datetime.now(UTC),
        transactions=1,
        inserts={},
        truncated=[Truncated(ORDERS, place)],
    )


async def load(side: ReadSide, mirror: Mirror, changes: Changes) -> None:
    batch = side.loader.watermark.batch + 1
    await mirror.change(changes, batch)
    await side.loader.load(change_batch(batch))


async def states(side: ReadSide) -> dict[str, str]:
    return {name: stored.state for name, stored in (await read_definitions(side.clickhouse, side.source)).items()}


async def assert_equal(side: ReadSide) -> None:
    assert set((await states(side)).values()) == {READY}
    for name in NAMES:
        assert await side.content(name) == await side.batch_content(name), name


PUT: Changes = [("put", key, row(key, region="south" if key % 2 else "north", note="xy"[key % 2])) for key in range(9)]
MORE: tuple[Changes, ...] = (
    [("put", 1, row(50, note="y", price="nan")), ("put", 1, row(60)), ("delete", 2), ("rekey", 3, 30)],
    "truncate",
    [("put", 4, row(-4)), ("put", 5, row(5, amount="99999999.99"))],
)


async def test_what_reads_a_table_waits_until_it_is_copied_and_follows_it_then(
    read_side: ReadSide, mirror: Mirror
) -> None:
    await read_side.deploy(DEFINITIONS)
    await read_side.loader.load(make_batch(100, [("Deposited", {"account": "a", "amount": 5})]))
    assert await states(read_side) == {**dict.fromkeys(NAMES, FILLING), "deposits": READY}
    await mirror.make()
    await mirror.change(PUT, 1)
    mirror.ready = True
    await read_side.keeper.fill_all()
    await assert_equal(read_side)
    assert len(await read_side.content("regions")) == 2
    for changes in MORE:
        await load(read_side, mirror, changes)
        await assert_equal(read_side)
        await read_side.keeper.forget()
        await assert_equal(read_side)


async def test_a_table_that_is_defined_later_is_filled_from_the_rows_that_there_are(
    read_side: ReadSide, mirror: Mirror
) -> None:
    await mirror.make()
    mirror.ready = True
    await load(read_side, mirror, PUT)
    for number in range(25):
        await load(read_side, mirror, [("put", number % 3, row(number))])
    await read_side.deploy(DEFINITIONS)
    await assert_equal(read_side)
    await load(read_side, mirror, MORE[0])
    await assert_equal(read_side)


async def test_a_table_that_was_copied_anew_has_its_readers_filled_anew(read_side: ReadSide, mirror: Mirror) -> None:
    await mirror.make()
    mirror.ready = True
    await read_side.deploy(DEFINITIONS)
    await load(read_side, mirror, PUT)
    mirror.orders = MirroredOrders(read_side.clickhouse.database)
    await mirror.make()
    async with read_side.loader.lock:
        await mirror.change([("put", 70, row(70))], read_side.loader.watermark.batch)
        await read_side.deployer.refill(["orders"])
    assert (await states(read_side)) == {**dict.fromkeys(NAMES, FILLING), "deposits": READY}
    await load(read_side, mirror, [("put", 71, row(71))])
    await read_side.keeper.fill_all()
    await assert_equal(read_side)
    again = read_side.again()  # what was asked for and not done is done after a kill
    await again.start()
    await again.deployer.refill(["orders"])
    again = again.again()
    await again.start()
    await again.keeper.fill_all()
    await assert_equal(again)


class CutOff(Exception):
    """Stands for a kill between two steps: nothing after it runs."""


async def test_a_batch_cut_off_after_every_step_is_applied_once(read_side: ReadSide, mirror: Mirror) -> None:
    await mirror.make()
    mirror.ready = True
    await read_side.deploy(DEFINITIONS)
    await load(read_side, mirror, PUT)
    steps: list[str] = []
    read_side.on_step = steps.append
    await load(read_side, mirror, [("put", 1, row(1))])
    assert steps[-1] == "watermark_written"
    side = read_side
    for number in range(len(steps)):
        seen: list[str] = []

        def cut(step: str, seen: list[str] = seen, number: int = number) -> None:
            seen.append(step)
            if len(seen) > number:
                raise CutOff(step)

        side.on_step = cut
        batch = side.loader.watermark.batch + 1
        with pytest.raises(CutOff):
            await load(side, mirror, [("put", number, row(100 + number)), ("delete", number + 4), ("rekey", 8, 80)])
        side = side.again()
        await side.start(lambda last, batch=batch: change_batch(batch))  # type: ignore[misc]
        await assert_equal(side)


async def test_a_filling_that_was_cut_off_begins_anew(
    read_side: ReadSide, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows are in, its state is not written; meanwhile the table changes."""
    await mirror.make()
    mirror.ready = True
    await load(read_side, mirror, PUT)
    fill_current = Advance.fill_current

    async def cut(advance: Advance, model: ReadModel, watermark: Watermark) -> None:
        await fill_current(advance, model, watermark)
        raise Unavailable("gone")

    monkeypatch.setattr(Advance, "fill_current", cut)
    with pytest.raises(Unavailable):
        await read_side.deploy(DEFINITIONS)
    monkeypatch.undo()
    await load(read_side, mirror, MORE[0])
    await read_side.keeper.fill_all()
    await assert_equal(read_side)


async def test_rows_that_cannot_be_computed_are_left_out_when_they_come_and_when_they_go(
    read_side: ReadSide, mirror: Mirror
) -> None:
    await mirror.make()
    mirror.ready = True
    await load(read_side, mirror, [*PUT, ("put", 13, row(13)), ("put", 14, row(13, region="south"))])
    select = "AS SELECT region, COUNT(*) AS n, SUM(qty + throwIf(qty = 13)) AS s{} FROM orders GROUP BY region"
    await read_side.deploy(
        f"CREATE TABLE checked {select.format('')}; CREATE TABLE c2 {select.format(', MAX(amount) AS m')};"
    )
    letters = await read_dead_letters(read_side.clickhouse, read_side.source)
    found = sorted((letter.target, json.loads(letter.raw)["id"], letter.batch) for letter in letters)
    assert found == [("c2", 13, 1), ("c2", 14, 1), ("checked", 13, 1), ("checked", 14, 1)]
    assert "throwIf" in letters[0].reason

    async def assert_without() -> None:
        database = read_side.clickhouse.database
        sql = f"SELECT region, count(), sum(qty) FROM `{database}`.orders WHERE qty != 13 GROUP BY region ORDER BY ALL"
        wanted = [tuple(each) for each in await read_side.clickhouse.rows(sql)]
        assert await read_side.content("checked") == wanted
        assert [each[:3] for each in await read_side.content("c2")] == wanted

    await assert_without()
    for changes in (
        [("put", 1, row(13)), ("put", 2, row(2, region="south"))],
        [("put", 1, row(13, region="east")), ("put", 13, row(14)), ("rekey", 14, 15)],
        "truncate",
        [("put", 1, row(13)), ("put", 2, row(3))],
    ):
        await load(read_side, mirror, changes)
        await assert_without()
    again = read_side.again()
    await again.start()
    await load(again, mirror, [("put", 1, row(1)), ("delete", 2)])
    await assert_without()
    assert set((await states(read_side)).values()) == {READY}


async def test_one_row_of_a_change_can_be_set_aside_alone(read_side: ReadSide, mirror: Mirror) -> None:
    await mirror.make()
    mirror.ready = True
    await read_side.deploy(
        "CREATE STREAM checked AS SELECT id, qty, _sign AS sign, throwIf(qty = 13) AS fine FROM orders_changes;"
        "CREATE STREAM twice AS SELECT id, throwIf(qty = 7) AS fine FROM checked;"
        "CREATE TABLE per_id AS SELECT id, COUNT(*) AS n FROM checked GROUP BY id;"
    )
    await load(read_side, mirror, [("put", 1, row(5)), ("put", 1, row(13)), ("put", 1, row(7)), ("put", 2, row(13))])
    await load(read_side, mirror, "truncate")
    letters = await read_dead_letters(read_side.clickhouse, read_side.source)
    raw = [(each.target, each.position, json.loads(each.raw)["_operation"]) for each in letters]
    assert raw == [
        ("checked", Position(100, 1), "update_after"),
        ("checked", Position(100, 2), "update_before"),
        ("twice", Position(100, 2), "update_after"),
        ("checked", Position(100, 3), "insert"),
        ("checked", Position(200, 0), "delete"),
        ("twice", Position(200, 0), "delete"),
    ]
    content = [each[:3] for each in await read_side.content("checked")]
    assert content == [(1, 5, -1), (1, 5, 1), (1, 7, -1), (1, 7, 1)]
    assert await read_side.content("twice") == [(1, 0), (1, 0)]
    assert await read_side.content("per_id") == [(1, 4)]


async def test_a_definition_that_is_asked_for_is_checked_against_the_mirrored_table(
    read_side: ReadSide, mirror: Mirror
) -> None:
    await mirror.make()
    mirror.ready = True
    for name, statement in (
        ("bad", "CREATE STREAM bad AS SELECT id FROM orders"),
        ("good", "CREATE TABLE good AS SELECT note, MIN(id) AS first FROM orders GROUP BY note"),
    ):
        await write_definition(read_side.clickhouse, read_side.source, StoredDefinition(name, statement, "", WANTED))
    await read_side.deployer.carry_out_requests()
    await read_side.keeper.fill_all()
    stored = await read_definitions(read_side.clickhouse, read_side.source)
    assert "FROM orders_changes" in stored["bad"].problem
    assert stored["good"].state == READY
    await load(read_side, mirror, PUT)
    assert await read_side.content("good") == await read_side.batch_content("good")
    with pytest.raises(InvalidSQL, match="the name of a mirrored table"):
        await read_side.deploy("CREATE STREAM orders AS SELECT account FROM Deposited;")
