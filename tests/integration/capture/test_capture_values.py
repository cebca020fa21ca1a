"""Values arrive as PostgreSQL itself reads them; what a column cannot hold is set aside, alone."""

from __future__ import annotations

import pytest
from support.capture_side import Database

from headrace.bus.batch import Batch, Relation
from headrace.capture.source import Source
from headrace.errors import InvalidConfiguration

VALUES = {
    "bigint": ["0", "-9223372036854775808", "9223372036854775807", None],
    "integer": ["0", "-2147483648", "2147483647", None],
    "smallint": ["-32768", "32767", None],
    "boolean": ["true", "false", None],
    "double precision": ["0", "-0", "1e-300", "0.1", "NaN", "Infinity", "-Infinity", None],
    "real": ["0.1", "3.4e38", "1e-45", None],
    "text": ["", "d", "\\N", "naïve 💧 ₂", "line\nline\t", "x" * 100_000, None],
    "varchar(10)": ["", "ten chars!", None],
    "bytea": ["\\x", "\\x00ff", "\\x5c78", None],
    "timestamptz": ["2026-11-22 01:25:19.123456+02", "0001-01-01 00:00:00+00", "9999-12-31 23:59:59.999999+00", None],
    "timestamp": ["2026-11-22 01:25:19.1", "1600-02-29 12:00:00", None],
    "date": ["2026-02-28", "0001-01-01", "9999-12-31", None],
}
TEXTS = {
    "jsonb": ['{"b": [1, null, "ä"], "a": 1.50}', "null", '""', None],
    "json": ['{"b" : 1 }', None],
    "uuid": ["0189f7ea-ae2c-7809-8aeb-b819cf5e9e7f", None],
    "numeric": ["123456789012345678901234567890.123", "NaN", None],
    "text[]": ['{a,"b c",NULL}', None],
    "interval": ["1 year 2 days 03:04:05", None],
    "mood": ["happy", None],
}


async def next_batch(source: Source) -> Batch:
    handed = None
    while not isinstance(handed, Batch):
        handed = await source.next_batch(wait_s=20)
        assert handed is not None, "nothing came"
    return handed


async def test_values_of_every_type_equal_what_postgresql_selects(database: Database) -> None:
    await database.run("CREATE TYPE mood AS ENUM ('happy', 'sad')")
    types = [*VALUES, *TEXTS]
    columns = ", ".join(f'"{name}" {name}' for name in types)
    await database.run(f"CREATE TABLE everything (id int, {columns})")
    source = await database.started(tables=["public.everything"])
    rows = max(map(len, [*VALUES.values(), *TEXTS.values()]))
    all_values = VALUES | TEXTS
    cells = [[values[row % len(values)] for values in all_values.values()] for row in range(rows)]
    places = ", ".join(f"%s::{name}" for name in types)
    for number, row in enumerate(cells):
        await database.run(f"INSERT INTO everything VALUES ({number}, {places})", *row)

    found: list[dict[str, object]] = []
    while len(found) < rows:
        batch = await next_batch(source)
        assert not batch.undecodable
        found += batch.inserts[Relation("public", "everything")].to_pylist()

    # A real is read as the double that it is exactly, as Arrow gives it.
    typed = ", ".join('"real"::float8' if name == "real" else f'"{name}"' for name in VALUES)
    texts = ", ".join(f'"{name}"::text' for name in TEXTS)
    expected = await database.run(f"SELECT {typed}, {texts} FROM everything ORDER BY id")
    for got, want in zip(found, expected, strict=True):
        for name, value in zip(all_values, want, strict=True):
            same = repr(got[name]) == repr(value) if isinstance(value, float) else got[name] == value
            assert same, f"{name}: {got[name]!r}, not {value!r}"


async def test_values_that_do_not_fit_are_set_aside_with_their_row_only(database: Database) -> None:
    await database.run("CREATE TABLE moments (id int, at timestamptz, day date)")
    source = await database.started(tables=["public.moments"])
    await database.run(
        "INSERT INTO moments VALUES (1, 'infinity', '2026-01-01'), (2, '2026-01-01Z', '2026-01-01'), "
        "(3, '2026-01-01Z', '0044-03-15 BC'), (4, NULL, NULL), (5, '12026-01-01Z', '-infinity')"
    )

    batch = await next_batch(source)

    assert batch.inserts[Relation("public", "moments")].column("id").to_pylist() == [2, 4]
    assert [(u.position.ordinal, u.reason.split()[1]) for u in batch.undecodable] == [(0, "at"), (2, "day"), (4, "at")]
    assert all(u.relation.name == "moments" and u.raw.startswith(b"I") for u in batch.undecodable)
    assert not any("infinity" in u.reason for u in batch.undecodable)


async def test_updates_deletes_and_truncates_are_set_aside_and_the_rest_flows_on(database: Database) -> None:
    await database.run("ALTER TABLE events REPLICA IDENTITY FULL")
    await database.run("CREATE TABLE other (id int)")
    source = await database.started(tables=["public.events", "public.other"])
    await database.run(
        "INSERT INTO events VALUES ('s', 1, 'Counted', 1, '{}'), ('s', 2, 'Counted', 1, '{}');"
        "UPDATE events SET version = 3 WHERE version = 2; DELETE FROM events WHERE version = 1;"
        "TRUNCATE events, other; INSERT INTO other VALUES (7)"
    )

    batch = await next_batch(source)

    assert batch.inserts[Relation("public", "events")].column("_ordinal").to_pylist() == [0, 1]
    assert batch.inserts[Relation("public", "other")].column("_ordinal").to_pylist() == [6]
    assert [(u.position.ordinal, chr(u.raw[0])) for u in batch.undecodable] == [(2, "U"), (3, "D"), (4, "T"), (5, "T")]
    assert {u.relation.name for u in batch.undecodable if u.raw[:1] == b"T"} == {"events", "other"}


async def test_a_table_changed_inside_a_transaction_ends_a_batch_there(database: Database) -> None:
    source = await database.started()
    await database.run(
        "INSERT INTO events VALUES ('s', 1, 'Counted', 1, '{}');"
        "ALTER TABLE events ADD COLUMN note text; ALTER TABLE events ALTER COLUMN schema_version TYPE bigint;"
        "INSERT INTO events VALUES ('s', 2, 'Counted', 1, '{}', now(), 'new')"
    )

    before, after = await next_batch(source), await next_batch(source)

    assert "note" not in before.inserts[Relation("public", "events")].column_names
    assert after.inserts[Relation("public", "events")].column("note").to_pylist() == ["new"]
    assert before.confirm_lsn == 0 < after.confirm_lsn


async def test_a_table_that_does_not_exist_is_named(database: Database) -> None:
    with pytest.raises(InvalidConfiguration, match="does not exist") as caught:
        await database.started(tables=["public.missing"])
    assert "public.missing" in caught.value.detail
