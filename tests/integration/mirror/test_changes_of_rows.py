"""A mirrored table against a model of it: images, left-out values, changes of keys, repeats after a cut-off load; and a
copy of it whose pages are read while all that happens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random

import msgspec
import pyarrow as pa
import pytest

from headrace.bus.batch import Changes, Column, Definition, Relation
from headrace.errors import InvalidSQL
from headrace.events.position import Position
from headrace.mirror import doubt, shape
from headrace.mirror.column_type import SETTINGS, SourceType
from headrace.mirror.doubt import Doubt
from headrace.mirror.table import Table
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.feeding import in_pieces
from headrace.warehouse.mirrors import COPYING, READY, StoredMirror
from headrace.warehouse.plan import Plan
from headrace.warehouse.schema import create_schema

MOMENT = datetime(2026, 3, 1, tzinfo=UTC)
SHAPE = shape.Shape(
    (
        shape.Column("a", 1, 20, -1, SourceType("int8"), True),
        shape.Column("b", 2, 25, -1, SourceType("text"), True),
        shape.Column("doc", 3, 25, -1, SourceType("text"), False),
        shape.Column("n", 4, 23, -1, SourceType("int4"), False),
    ),
    ("a", "b"),
)
DEFINITION = Definition(
    1,
    Relation("public", "t"),
    "d",
    (Column("a", 20, -1, True), Column("b", 25, -1, True), Column("doc", 25, -1, False), Column("n", 23, -1, False)),
)
Key = tuple[int, str]
Row = tuple[int, str, str | None, int | None]


@dataclass
class Model:
    """What the table holds, the changes of the batch under way, and the images that they make."""

    random: Random
    rows: dict[Key, Row] = field(default_factory=dict)
    numbers: int = 6
    lsn: int = 1000
    batch: int = 0
    changes: list[dict[str, object]] = field(default_factory=list)
    images: list[tuple[object, ...]] = field(default_factory=list)

    def step(self) -> None:
        self.lsn += self.random.choice([0, 10])
        self.ordinal = len(self.changes)
        choose = self.random.choice
        known = list(self.rows)
        action = choose(["insert", "update", "update", "move", "delete", "reinsert"]) if known else "insert"
        if action == "insert":
            key = self.new_key()
            if key not in self.rows:
                self.insert(key)
            return
        key = choose(known)
        if action == "delete":
            self.delete(key)
        elif action == "reinsert":
            self.delete(key)
            self.lsn += 10
            self.insert(key)
        else:
            new = self.new_key() if action == "move" else key
            if new == key or new not in self.rows:
                self.update(key, new)

    def new_key(self) -> Key:
        return (self.random.randrange(self.numbers), self.random.choice(["x", "y"]))

    def values(self) -> tuple[str | None, int | None]:
        return (self.random.choice([None, "", "doc\t\n", f"doc {self.lsn}"]), self.random.choice([None, self.lsn]))

    def insert(self, key: Key) -> None:
        row = self.rows[key] = (*key, *self.values())
        self.note("I", new=row, old=None, unchanged=[])
        self.image("insert", 1, row)

    def delete(self, key: Key) -> None:
        row = self.rows.pop(key)
        self.note("D", new=None, old=key, unchanged=[])
        self.image("delete", -1, row)

    def update(self, key: Key, new_key: Key, *, leaves_out: bool | None = None) -> None:
        before = self.rows.pop(key)
        doc, n = self.values()
        unchanged = self.random.choice([[], [2]]) if leaves_out is None else [2] * leaves_out
        after = self.rows[new_key] = (*new_key, before[2] if unchanged else doc, n)
        moved = key != new_key
        self.note("U", new=after, old=key if moved else None, unchanged=unchanged)
        self.image("delete" if moved else "update_before", -1, before)
        self.image("insert" if moved else "update_after", 1, after)

    def note(self, kind: str, *, new: Row | None, old: Key | None, unchanged: list[int]) -> None:
        self.changes.append(
            {
                "_kind": ord(kind),
                "_lsn": self.lsn,
                "_ordinal": len(self.changes),
                "_unchanged": unchanged,
                "new": [
                    None if value is None or i in unchanged else str(value) for i, value in enumerate(new or [None] * 4)
                ],
                "_has_old": old is not None,
                "old": [None if old is None else str(value) for value in (old or (0, ""))],
            }
        )

    def image(self, operation: str, sign: int, row: Row) -> None:
        change = self.changes[-1]
        self.images.append((change["_lsn"], change["_ordinal"], operation, sign, *row))

    def take(self) -> Changes:
        """The batch that is complete."""
        rows, self.changes = self.changes, []
        self.random.shuffle(rows)
        columns: dict[str, pa.Array] = {
            "_kind": pa.array([row["_kind"] for row in rows], pa.uint8()),
            "_lsn": pa.array([row["_lsn"] for row in rows], pa.uint64()),
            "_ordinal": pa.array([row["_ordinal"] for row in rows], pa.uint32()),
            "_xid": pa.array([7] * len(rows), pa.uint32()),
            "_committed_at": pa.array([MOMENT] * len(rows), pa.timestamp("us", "UTC")),
            "_unchanged": pa.array([row["_unchanged"] for row in rows], pa.list_(pa.uint16())),
            "_has_old": pa.array([row["_has_old"] for row in rows]),
        }
        for place in range(4):
            columns[f"new_{place}"] = pa.array([row["new"][place] for row in rows], pa.string()).cast(pa.binary())  # type: ignore[index]
        for place in range(2):
            columns[f"old_{place}"] = pa.array([row["old"][place] for row in rows], pa.string()).cast(pa.binary())  # type: ignore[index]
        self.batch += 1
        return Changes(DEFINITION, pa.table(columns))


SLOTS = 60
FLOOR_LSN = 1000


@dataclass
class StoredModel(Model):
    """A model whose rows stand in slots, as in PostgreSQL: each update puts its row into another one."""

    slots: dict[Key, int] = field(default_factory=dict)

    def place(self, key: Key) -> None:
        self.slots[key] = self.random.choice(sorted(set(range(SLOTS)) - set(self.slots.values())))

    def insert(self, key: Key) -> None:
        super().insert(key)
        self.place(key)

    def delete(self, key: Key) -> None:
        super().delete(key)
        del self.slots[key]

    def update(self, key: Key, new_key: Key, *, leaves_out: bool | None = None) -> None:
        super().update(key, new_key, leaves_out=leaves_out)
        del self.slots[key]
        self.place(new_key)

    def steps(self, count: int) -> None:
        for _ in range(count):
            self.step()
        self.lsn += 100

    def read(self, begin: int, end: int) -> bytes:
        """What COPY gives of the rows that stand in these slots now."""
        return copied([self.rows[key] for key, slot in self.slots.items() if begin <= slot < end])

    def read_by_key(self, keys: Sequence[Sequence[object]]) -> bytes:
        wanted = {(int(str(a)), str(b)) for a, b in keys}
        return copied([row for key, row in self.rows.items() if key in wanted])


def copied(rows: Sequence[Row]) -> bytes:
    def text(value: object) -> str:
        return "\\N" if value is None else str(value).replace("\t", "\\t").replace("\n", "\\n")

    return "".join("\t".join(map(text, row)) + "\n" for row in rows).encode()


@pytest.fixture
async def table(clickhouse: ClickHouse) -> Table:
    await create_schema(clickhouse)
    stored = StoredMirror("t", "public", "t", 1, READY, SHAPE.to_json(), stem="t_1")
    made = Table(clickhouse=clickhouse, source=clickhouse.database, stored=stored)
    await made.make()
    await made.publish()
    return made


def plan(model: Model) -> Plan:
    return Plan("s", model.batch, Position(1, 0), Position(2, 0), MOMENT)


async def stage(table: Table, model: Model) -> None:
    if model.changes:
        changes = model.take()
        model.lsn += 100
        await table.load(plan(model), changes, verify=False)


async def catch_up(table: Table, model: Model) -> None:
    while table.stored.applied_batch < model.batch:
        await table.catch_up(await table.slice_end(model.batch))


async def in_doubt(doubted: Doubt) -> list[tuple[str, ...]]:
    return [key async for keys in doubted.found() for key in keys]


async def held(clickhouse: ClickHouse) -> Sequence[Sequence[object]]:
    return await clickhouse.rows("SELECT a, b, doc, n FROM t ORDER BY a, b")


async def images(clickhouse: ClickHouse) -> Sequence[Sequence[object]]:
    return await clickhouse.rows(
        "SELECT _lsn, _ordinal, _operation, _sign, a, b, doc, n FROM t_changes ORDER BY _batch, _lsn, _ordinal, _sign"
    )


def in_order(rows: Sequence[tuple[object, ...]]) -> list[tuple[object, ...]]:
    return sorted(rows, key=lambda row: (row[0], row[1], row[3]))


@pytest.mark.parametrize("seed", range(6))
async def test_rows_and_images_are_those_of_the_model(clickhouse: ClickHouse, table: Table, seed: int) -> None:
    model = Model(Random(seed))
    for _ in range(8):
        for _ in range(model.random.randrange(1, 25)):
            model.step()
        model.lsn += 100
        if not model.changes:
            continue
        before = len(model.images)
        changes = model.take()
        await table.load(plan(model), changes, verify=False)
        if model.random.random() < 0.4:  # cut off in the middle, then repeated
            await table.load(plan(model), changes, verify=True)
        assert await held(clickhouse) == sorted(model.rows.values())
        assert before <= len(model.images)
    assert list(await images(clickhouse)) == in_order(model.images)


@pytest.mark.parametrize(("numbers", "keys_max"), [(6, doubt.KEYS_MAX), (20, doubt.KEYS_MAX), (6, 2)])
@pytest.mark.parametrize("seed", range(12))
async def test_a_copy_whose_rows_move_while_it_is_read_is_complete_at_the_end(
    clickhouse: ClickHouse, table: Table, monkeypatch: pytest.MonkeyPatch, seed: int, numbers: int, keys_max: int
) -> None:
    """A row is read under both its keys, or in no slot; it is changed before, between and after; large values are left
    out of its changes. With few numbers, rows take over the keys of others.
    """
    monkeypatch.setattr(doubt, "KEYS_MAX", keys_max)
    await table.save(state=COPYING, floor_lsn=FLOOR_LSN)
    model = StoredModel(Random(seed), numbers=numbers)
    for number in range(numbers):  # before there is anything to tell of
        model.insert((number, "x"))
    model.take()
    model.batch, model.lsn = 0, FLOOR_LSN + 10

    for begin in range(0, SLOTS, 6):
        model.steps(model.random.randrange(5))
        if model.random.random() < 0.5:
            await stage(table, model)
        copy = in_pieces(model.read(begin, begin + 6))
        await clickhouse.insert_select(table.objects.copy(FLOOR_LSN), copy, settings=SETTINGS)
    doubted, again = Doubt(clickhouse, table), True
    while again:
        await stage(table, model)
        await catch_up(table, model)
        again = False
        async for keys in doubted.found():
            again = True
            model.steps(model.random.randrange(3))
            floor_lsn = model.lsn
            model.lsn += 10
            model.steps(model.random.randrange(3))  # seen already, and told later
            await table.put_copied(keys, model.read_by_key(keys), floor_lsn)
            model.steps(model.random.randrange(3))
    assert await held(clickhouse) == sorted(model.rows.values())
    model.steps(5)
    await stage(table, model)
    await catch_up(table, model)
    assert await held(clickhouse) == sorted(model.rows.values())


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_row_that_took_over_the_key_of_a_copied_one_is_read_again(
    clickhouse: ClickHouse, table: Table, at_once: bool
) -> None:
    """Its large value was left out, and there is no other row to take it from but one that was deleted since."""
    await table.save(state=COPYING, floor_lsn=FLOOR_LSN)
    model = Model(Random(1))
    model.insert((1, "x"))
    model.insert((2, "x"))
    model.take()
    model.batch, model.lsn = 0, FLOOR_LSN + 10
    copy = in_pieces(copied([model.rows[2, "x"]]))
    await clickhouse.insert_select(table.objects.copy(FLOOR_LSN), copy, settings=SETTINGS)
    model.delete((2, "x"))
    if not at_once:
        await stage(table, model)
    model.update((1, "x"), (2, "x"), leaves_out=True)
    await stage(table, model)
    await catch_up(table, model)
    doubted = Doubt(clickhouse, table)
    assert await in_doubt(doubted) == [("2", "x")]
    await table.put_copied([("2", "x")], copied(list(model.rows.values())), model.lsn)
    assert await held(clickhouse) == sorted(model.rows.values())
    assert await in_doubt(doubted) == []


async def test_after_rows_were_read_again_only_those_are_in_doubt_that_moved_away_from_their_keys(
    clickhouse: ClickHouse, table: Table
) -> None:
    """Else no copy of a table whose keys change all the time would ever end."""
    await table.save(state=COPYING, floor_lsn=FLOOR_LSN)
    model = Model(Random(1))
    for number in range(3):
        model.insert((number, "x"))
    await stage(table, model)
    model.update((0, "x"), (0, "y"), leaves_out=True)
    await stage(table, model)
    doubted = Doubt(clickhouse, table)
    await catch_up(table, model)
    assert await in_doubt(doubted) == [("0", "y")]
    for old, new in (((0, "y"), (3, "x")), ((1, "x"), (1, "y")), ((3, "x"), (3, "y"))):
        model.update(old, new, leaves_out=True)
        await stage(table, model)
    await catch_up(table, model)
    assert sorted(await in_doubt(doubted)) == [("3", "x"), ("3", "y")]


async def test_a_table_stays_what_it_is_while_what_it_becomes_cannot_be_made(table: Table) -> None:
    """Else the next changes would look for tables that are not there, and the table would be given up."""
    impossible = msgspec.structs.replace(SHAPE, partition_by="no_such_column").to_json()
    with pytest.raises(InvalidSQL, match="no_such_column"):
        await table.become(generation=2, shape=impossible)
    assert table.stored.generation == 1


@pytest.mark.parametrize("state", [READY, COPYING])
async def test_rows_without_a_key_count_once_however_often_a_batch_is_repeated(
    clickhouse: ClickHouse, state: str
) -> None:
    await create_schema(clickhouse)
    shape = msgspec.structs.replace(SHAPE, key=())
    stored = StoredMirror("t", "public", "t", 1, state, shape.to_json(), stem="t_1", snapshot="5:5:")
    table = Table(clickhouse=clickhouse, source=clickhouse.database, stored=stored)
    await table.make()
    await table.publish()
    model = Model(Random(1))
    for key in ((1, "x"), (2, "x"), (2, "y")):
        model.insert(key)
    changes = model.take()
    for repeated in (False, True, True):
        await table.load(plan(model), changes, verify=repeated)
        if state == COPYING:
            await table.save(applied_batch=0)
            await table.catch_up(model.batch)
        assert await held(clickhouse) == sorted(model.rows.values())
        assert list(await images(clickhouse)) == in_order(model.images)
