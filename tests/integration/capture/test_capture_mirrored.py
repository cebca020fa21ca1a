"""Changes of mirrored tables as PostgreSQL sends them: what is in a row before and after, and where batches end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.capture_side import DEADLINE_S, Database

from headrace.bus.batch import Batch, Relation
from headrace.capture.source import Source
from headrace.events.position import START, Position

LARGE = "string_agg(md5(n::text), '')"  # 20 kB that do not compress to less than a page: stored apart from its row
Row = dict[str, Any]


@pytest.fixture
async def source(database: Database) -> Source:
    """Reads `items` (id, note, body), a mirrored table, beside the log."""
    await database.run("CREATE TABLE items (id int PRIMARY KEY, note text, body text)")
    return await started(database, "items")


async def started(database: Database, *tables: str, **changes: Any) -> Source:
    """A source that reads the log `events` and mirrors `tables`."""
    source = database.source(**changes)
    await source.prepare()
    await database.run(f"ALTER PUBLICATION {database.name} ADD TABLE {', '.join(tables)}")
    await source.start(START)
    return source


async def large(database: Database) -> bytes:
    ((text,),) = await database.run(f"SELECT {LARGE} FROM generate_series(1, 625) n")
    assert len(text) == 20_000
    return bytes(text, "ascii")


async def read_batches(source: Source, changes: int) -> list[Batch]:
    """Batches up to the one that completes so many changes and truncations."""
    batches: list[Batch] = []
    end = time.monotonic() + DEADLINE_S
    while sum(batch.rows + len(batch.truncated) for batch in batches) < changes:
        assert time.monotonic() < end, f"not all of {changes} changes came"
        handed = await source.next_batch(wait_s=1.0)
        if isinstance(handed, Batch):
            assert not handed.undecodable
            batches.append(handed)
    return batches


def rows_of(batches: Sequence[Batch], table: str) -> list[Row]:
    """The changes of one table, in order."""
    rows = []
    for batch in batches:
        if found := batch.changes.get(Relation("public", table)):
            rows += found.rows.to_pylist()
    return sorted(rows, key=lambda row: (row["_lsn"], row["_ordinal"]))


def images(row: Row) -> tuple[str, list[bytes | None], list[bytes | None] | None]:
    """Kind, the new row, and the old one; None: it did not come."""
    new = [value for name, value in row.items() if name.startswith("new_")]
    old = [value for name, value in row.items() if name.startswith("old_")]
    return chr(row["_kind"]), new, old if row["_has_old"] else None


async def test_every_kind_of_change_comes_with_what_postgresql_sent(database: Database, source: Source) -> None:
    body = await large(database)
    await database.run(
        f"INSERT INTO items SELECT 1, 'a', {LARGE} FROM generate_series(1, 625) n;"
        "UPDATE items SET note = 'b'; UPDATE items SET note = NULL, body = 'small';"
        "UPDATE items SET id = 2; DELETE FROM items"
    )

    batches = await read_batches(source, 5)

    rows = rows_of(batches, "items")
    assert [images(row) for row in rows] == [
        ("I", [b"1", b"a", body], None),
        ("U", [b"1", b"b", None], None),
        ("U", [b"1", None, b"small"], None),
        ("U", [b"2", None, b"small"], [b"1"]),
        ("D", [None, None, None], [b"2"]),
    ]
    assert [row["_unchanged"] for row in rows] == [[], [2], [], [], []]
    assert [row["_ordinal"] for row in rows] == [0, 1, 2, 3, 4]
    assert len({(row["_lsn"], row["_xid"], row["_committed_at"]) for row in rows}) == 1
    assert abs(rows[0]["_committed_at"] - datetime.now(UTC)) < timedelta(minutes=1)
    definition = batches[0].changes[Relation("public", "items")].definition
    assert definition.identity == "d"
    assert [(column.name, column.key) for column in definition.columns] == [
        ("id", True),
        ("note", False),
        ("body", False),
    ]


async def test_transactions_are_told_apart_by_their_number(database: Database, source: Source) -> None:
    numbers = [
        (await database.run(f"INSERT INTO items VALUES ({number}) RETURNING pg_current_xact_id()::text::bigint"))[0][0]
        for number in (1, 2)
    ]

    rows = rows_of(await read_batches(source, 2), "items")

    assert [row["_xid"] for row in rows] == [number & 0xFFFFFFFF for number in numbers]


@pytest.mark.parametrize("key", ["PRIMARY KEY", ""])
async def test_a_full_identity_brings_whole_old_rows_and_fills_unchanged_values(database: Database, key: str) -> None:
    await database.run(f"CREATE TABLE items (id int {key}, note text, body text)")
    await database.run("ALTER TABLE items REPLICA IDENTITY FULL")
    source = await started(database, "items")
    body = await large(database)
    await database.run(
        f"INSERT INTO items SELECT 1, NULL, {LARGE} FROM generate_series(1, 625) n;"
        "UPDATE items SET note = 'b'; UPDATE items SET id = 2; DELETE FROM items"
    )

    rows = rows_of(await read_batches(source, 4), "items")

    assert [images(row) for row in rows] == [
        ("I", [b"1", None, body], None),
        ("U", [b"1", b"b", body], [b"1", None, body]),
        ("U", [b"2", b"b", body], [b"1", b"b", body]),
        ("D", [None, None, None], [b"2", b"b", body]),
    ]
    assert not any(row["_unchanged"] for row in rows)


async def test_an_index_as_identity_brings_its_columns(database: Database) -> None:
    await database.run(
        "CREATE TABLE items (id int PRIMARY KEY, a text NOT NULL, b text NOT NULL, note text);"
        "CREATE UNIQUE INDEX by_name ON items (b, a); ALTER TABLE items REPLICA IDENTITY USING INDEX by_name"
    )
    source = await started(database, "items")
    await database.run(
        "INSERT INTO items VALUES (1, 'a', 'b'); UPDATE items SET id = 2; UPDATE items SET b = 'c'; DELETE FROM items"
    )

    batches = await read_batches(source, 4)

    assert [images(row) for row in rows_of(batches, "items")] == [
        ("I", [b"1", b"a", b"b", None], None),
        ("U", [b"2", b"a", b"b", None], None),
        ("U", [b"2", b"a", b"c", None], [b"a", b"b"]),
        ("D", [None, None, None, None], [b"a", b"c"]),
    ]
    definition = batches[0].changes[Relation("public", "items")].definition
    assert (definition.identity, definition.old_columns) == ("i", [1, 2])


async def test_a_table_without_identity_sends_its_inserts(database: Database) -> None:
    await database.run("CREATE TABLE items (id int); ALTER TABLE items REPLICA IDENTITY NOTHING")
    source = await started(database, "items")
    await database.run("INSERT INTO items VALUES (1), (NULL)")

    batches = await read_batches(source, 2)

    assert [images(row) for row in rows_of(batches, "items")] == [("I", [b"1"], None), ("I", [None], None)]
    assert batches[0].changes[Relation("public", "items")].definition.old_columns == []


async def test_truncations_inside_a_transaction_stand_alone(database: Database, source: Source) -> None:
    await database.run("CREATE TABLE parts (id int PRIMARY KEY, item int REFERENCES items)")
    await database.run(f"ALTER PUBLICATION {database.name} ADD TABLE parts")
    await database.append(1)
    await database.run(
        "INSERT INTO items VALUES (1); INSERT INTO parts VALUES (1, 1);"
        "TRUNCATE items, parts; TRUNCATE parts;"
        "INSERT INTO items VALUES (2); INSERT INTO events VALUES ('s', 2, 'Counted', 1, '{}')"
    )
    await database.run("TRUNCATE items CASCADE")
    await database.run("INSERT INTO items VALUES (3)")

    batches = await read_batches(source, 1 + 2 + 3 + 2 + 2 + 1)

    def summary(batch: Batch) -> tuple[int, list[str], bool]:
        return batch.rows, [cut.definition.relation.name for cut in batch.truncated], batch.confirm_lsn > 0

    truncated = [batch for batch in batches if batch.truncated]
    assert [(batch.rows, batch.confirm_lsn > 0) for batch in truncated] == [(0, False), (0, True)]
    assert [sorted(summary(batch)[1]) for batch in truncated] == [["items", "parts", "parts"], ["items", "parts"]]
    assert [cut.position.ordinal for cut in truncated[0].truncated] == [2, 3, 4]
    at = batches.index(truncated[0])
    assert summary(batches[at - 1]) == (2, [], False)
    assert summary(batches[at + 1]) == (2, [], True)
    assert batches[at].first == Position(batches[at - 1].last.lsn, 2)
    assert batches[at].last == Position(batches[at - 1].last.lsn, 4)

    await database.close_sources()
    after = batches[0].last
    for planned in batches[1:]:
        again = await database.started(after, takeover_s=20)
        assert await again.next_batch(last=planned.last, wait_s=20) == planned
        await database.close_sources()
        after = planned.last


async def test_a_truncated_log_is_a_dead_letter_beside_the_mirrored_table(database: Database, source: Source) -> None:
    await database.run("INSERT INTO items VALUES (1); TRUNCATE events, items; INSERT INTO items VALUES (2)")

    batches: list[Batch] = []
    while len(batches) < 3:
        handed = await source.next_batch(wait_s=20)
        assert isinstance(handed, Batch)
        batches.append(handed)

    assert [batch.rows for batch in batches] == [1, 0, 1]
    places = {change.relation.name: change.position.ordinal for change in batches[1].undecodable}
    places |= {cut.definition.relation.name: cut.position.ordinal for cut in batches[1].truncated}
    assert set(places) == {"events", "items"}
    assert sorted(places.values()) == [1, 2]


async def test_a_schema_changed_amid_a_transaction_ends_a_batch_at_every_new_shape(
    database: Database, source: Source
) -> None:
    await database.run(
        "INSERT INTO items VALUES (1, 'a', 'b');"
        "ALTER TABLE items ADD COLUMN price int DEFAULT 7; UPDATE items SET note = 'c';"
        "ALTER TABLE items DROP COLUMN body; ALTER TABLE items REPLICA IDENTITY FULL; UPDATE items SET id = 2;"
        "ALTER TABLE items RENAME COLUMN note TO remark; DELETE FROM items"
    )
    await database.run("INSERT INTO items VALUES (3)")

    batches = await read_batches(source, 5)

    names = [
        [column.name for column in batch.changes[Relation("public", "items")].definition.columns] for batch in batches
    ]
    assert names[:4] == [
        ["id", "note", "body"],
        ["id", "note", "body", "price"],
        ["id", "note", "price"],
        ["id", "remark", "price"],
    ]
    assert [images(row) for row in rows_of(batches, "items")] == [
        ("I", [b"1", b"a", b"b"], None),
        ("U", [b"1", b"c", b"b", b"7"], None),
        ("U", [b"2", b"c", b"7"], [b"1", b"c", b"7"]),
        ("D", [None, None, None], [b"2", b"c", b"7"]),
        ("I", [b"3", None, b"7"], None),
    ]
    assert [batch.confirm_lsn > 0 for batch in batches[:3]] == [False, False, False]


async def test_partitions_come_as_their_root(database: Database) -> None:
    await database.run(
        "CREATE TABLE items (id int PRIMARY KEY, note text) PARTITION BY RANGE (id);"
        "CREATE TABLE items_low PARTITION OF items FOR VALUES FROM (0) TO (10);"
        # Its columns stand in another order.
        "CREATE TABLE items_high (note text, id int NOT NULL);"
        "ALTER TABLE items ATTACH PARTITION items_high FOR VALUES FROM (10) TO (20)"
    )
    source = await started(database, "items")
    await database.run(
        "INSERT INTO items VALUES (1, 'a'), (11, 'b'); UPDATE items SET note = 'c' WHERE id = 11;"
        "UPDATE items SET id = 12 WHERE id = 1; DELETE FROM items WHERE id = 11; TRUNCATE items"
    )

    batches = await read_batches(source, 7)

    assert [images(row) for row in rows_of(batches, "items")] == [
        ("I", [b"1", b"a"], None),
        ("I", [b"11", b"b"], None),
        ("U", [b"11", b"c"], None),
        ("D", [None, None], [b"1"]),
        ("I", [b"12", b"a"], None),
        ("D", [None, None], [b"11"]),
    ]
    assert {relation.name for batch in batches for relation in batch.changes} == {"items"}
    assert [cut.definition.relation.name for cut in batches[-1].truncated] == ["items"]


async def test_a_giant_transaction_with_rolled_back_parts_comes_in_pieces(database: Database) -> None:
    await database.run("CREATE TABLE items (id int PRIMARY KEY, note text, body text)")
    source = await started(database, "items", batch_rows_max=400)
    await database.run(
        "INSERT INTO items SELECT n, 'a' FROM generate_series(1, 1000) n;"
        "SELECT pg_logical_emit_message(true, 'elsewhere', 'hi');"
        "DO $$ BEGIN UPDATE items SET note = 'lost'; RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN "
        "UPDATE items SET note = 'b'; END $$; DELETE FROM items WHERE id <= 500"
    )

    batches = await read_batches(source, 2500)

    assert [batch.rows for batch in batches] == [400] * 6 + [100]
    assert [batch.confirm_lsn > 0 for batch in batches] == [False] * 6 + [True]
    rows = rows_of(batches, "items")
    assert [row["_ordinal"] for row in rows] == list(range(2500))
    assert [chr(row["_kind"]) for row in rows] == ["I"] * 1000 + ["U"] * 1000 + ["D"] * 500
    assert {row["new_1"] for row in rows[1000:2000]} == {b"b"}
