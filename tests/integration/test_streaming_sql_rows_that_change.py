"""Tables over rows that change, and streams of the changes, against a real ClickHouse: each equals its plain SELECT."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.direct_clickhouse import Clickhouse, Columns
from support.mirrored_orders import BATCHES, MirroredOrders

from headrace.errors import InvalidSQL
from headrace.streaming_sql.definition import Definition
from headrace.streaming_sql.generate import batch_sql, forget_sql, output_sql
from headrace.streaming_sql.slice import Slice

TABLES = (
    "CREATE TABLE numbers AS SELECT region, COUNT(*) AS n, COUNT(qty) AS q, SUM(qty) AS s, AVG(qty) AS a,"
    " SUM(big) AS b, AVG(big) AS ab, SUM(amount) AS m, AVG(amount) AS am, SUM(total) AS t, AVG(total) AS at"
    " FROM orders GROUP BY region",
    "CREATE TABLE extremes AS SELECT region, MIN(price) AS least, MAX(price) AS most, MIN(amount) AS cheap,"
    " MAX(tags) AS tags, COUNT(*) AS n, SUM(qty) AS s, uniqExact(note) AS notes FROM orders GROUP BY region",
    "CREATE TABLE floats AS SELECT note, SUM(price) AS s, AVG(price) AS a, COUNT(price) AS n, SUM(amount) AS m"
    " FROM orders GROUP BY note",
    "CREATE TABLE conditions AS SELECT region, countIf(qty > 0) AS n, sumIf(amount, qty > 0) AS m,"
    " avgIf(qty, price > 0.5) AS q, sumIf(big, qty > 0) AS b, avgIf(big, qty > 100) AS ab, sumIf(price, qty > 0) AS p,"
    " avgIf(price, qty > 0) AS ap, minIf(price, qty > 0) AS least, maxIf(big, note = 'x') AS most"
    " FROM orders AS o GROUP BY region",
    "CREATE TABLE repeated AS SELECT region, quantileExact(0.5)(qty) AS median, arraySort(groupArray(qty)) AS all,"
    " COUNT(*) AS n, SUM(amount) AS m, AVG(qty) AS q, SUM(price) AS p, AVG(price) AS ap,"
    " argMax(id, (amount, id)) AS top, COUNT(DISTINCT note, tags) AS d, sumOrNullIf(qty, big > 100) AS s,"
    " sumMap([note], [big]) AS by FROM orders GROUP BY region",
    "CREATE TABLE filtered AS SELECT tags, note, SUM(amount) / COUNT(*) AS mean, upper(note) AS loud,"
    " MAX(id) + 1 AS next FROM orders WHERE qty >= 0 OR note = 'y' GROUP BY tags, note",
    "CREATE TABLE keys AS SELECT region, o.note FROM orders AS o GROUP BY region, o.note",
    "CREATE TABLE regions_changed AS SELECT region, COUNT(*) AS n, SUM(qty) AS s FROM orders_changes GROUP BY region",
)
STREAMS = (
    "CREATE STREAM s_all AS SELECT *, _operation AS operation, _sign AS sign FROM orders_changes",
    "CREATE STREAM s_new AS SELECT id, qty + 1 AS more FROM orders_changes AS c WHERE _operation = 'update_after'"
    " WITH (order_by = 'id')",
    "CREATE STREAM s_of_s AS SELECT * FROM s_all WHERE qty > 0",
    "CREATE TABLE t_of_s AS SELECT operation, COUNT(*) AS n, SUM(sign) AS s FROM s_all GROUP BY operation",
)


@pytest.fixture(scope="module")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clickhouse]:
    started = Clickhouse(tmp_path_factory.mktemp("chdb"))
    started.run("CREATE DATABASE d")
    yield started
    started.session.close()


def made(clickhouse: Clickhouse, texts: Sequence[str]) -> list[tuple[Definition, Columns]]:
    return [(each, clickhouse.create(each)) for each in clickhouse.define_over("orders", *texts)]


def rows_of(clickhouse: Clickhouse, sql: str) -> list[list[Any]]:
    shown = f"SELECT * FROM ({sql}) ORDER BY ALL SETTINGS output_format_json_quote_denormals = 1"
    return [list(row.values()) for row in clickhouse.rows(shown)]


def close(found: Any, wanted: Any) -> bool:
    if isinstance(found, list) and isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(close, found, wanted))
    if isinstance(found, float) or isinstance(wanted, float):
        return found is not None and wanted is not None and math.isclose(float(found), float(wanted), rel_tol=1e-9)
    return found == wanted or {str(found), str(wanted)} == {"nan", "-nan"}


def assert_equal(clickhouse: Clickhouse, definition: Definition) -> None:
    found = rows_of(clickhouse, f"SELECT * FROM d.`{definition.name}`")
    wanted = rows_of(clickhouse, batch_sql(definition, "d"))
    assert close(found, wanted), (definition.name, found, wanted)


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=BATCHES, filled_after=st.integers(0, 2), draw=st.data())
def test_read_models_equal_their_select_after_every_batch(
    clickhouse: Clickhouse, batches: list[Any], filled_after: int, draw: st.DataObject
) -> None:
    """Tables are filled from the rows that there are, streams from the changes. Any insert may be cut off."""
    orders = MirroredOrders("d")
    for sql in orders.create_sql():
        clickhouse.run(sql)
    for changes in batches[:filled_after]:
        for sql in orders.apply_sql(changes):
            clickhouse.run(sql)
    models = made(clickhouse, (*TABLES, *STREAMS))
    shares = st.sampled_from((None, None, None, 0, 2))
    for definition, columns in models:
        rows = Slice(0, orders.batch, current=definition.reads == "rows")
        apply(clickhouse, definition, columns, rows, draw.draw(shares))
        assert_equal(clickhouse, definition)
    for changes in batches[filled_after:]:
        after = orders.batch
        for sql in orders.apply_sql(changes):
            clickhouse.run(sql)
        for definition, columns in models:
            apply(clickhouse, definition, columns, Slice(after, orders.batch), draw.draw(shares))
            assert_equal(clickhouse, definition)
        if draw.draw(st.booleans()):
            forget(clickhouse, models, orders.batch)


def apply(clickhouse: Clickhouse, definition: Definition, columns: Columns, rows: Slice, share: int | None) -> None:
    if share is not None:
        clickhouse.advance_in_part(definition, columns, rows, share)
    clickhouse.advance(definition, columns, rows, verify=share is not None)


def forget(clickhouse: Clickhouse, models: Sequence[tuple[Definition, Columns]], upto: int) -> None:
    for definition, columns in models:
        if definition.reads == "rows":
            clickhouse.run(f"OPTIMIZE TABLE d.{definition.name}__state FINAL")
            clickhouse.run(forget_sql(definition, "d", columns), upto=upto)
            assert_equal(clickhouse, definition)


def test_what_is_gone_leaves_nothing_behind(clickhouse: Clickhouse) -> None:
    orders = MirroredOrders("d")
    for sql in orders.create_sql():
        clickhouse.run(sql)
    models = made(clickhouse, TABLES[:-1])
    row = ("'north'", "3", "7", "'0.01'", "'1.0001'", "1e300", "'x'", "['a']")
    for changes in ([("put", key, row) for key in range(5)], [("put", 1, ("NULL", *row[1:]))], "truncate"):
        after = orders.batch
        for sql in orders.apply_sql(changes):
            clickhouse.run(sql)
        for definition, columns in models:
            clickhouse.advance(definition, columns, Slice(after, orders.batch))
    forget(clickhouse, models, orders.batch)
    for definition, _ in models:
        assert clickhouse.content(definition) == []
        assert clickhouse.stored(f"{definition.name}__state") == 0


def test_columns_are_those_of_the_select(clickhouse: Clickhouse) -> None:
    for sql in MirroredOrders("d").create_sql():
        clickhouse.run(sql)
    for definition, _ in made(clickhouse, (*TABLES, *STREAMS)):
        expected = [(row["name"], row["type"]) for row in clickhouse.rows(output_sql(definition, "d"))]
        described = clickhouse.rows(f"DESCRIBE (SELECT * FROM d.{definition.name})")
        assert [(row["name"], row["type"]) for row in described] == expected


@pytest.mark.parametrize(
    ("text", "problem", "hint"),
    [
        ("CREATE STREAM s AS SELECT id FROM orders", "change, and a stream keeps", "FROM orders_changes"),
        ("CREATE TABLE t AS SELECT id, any(qty) AS q FROM orders GROUP BY id", "depends on the order", "argMax"),
        ("CREATE TABLE t AS SELECT id, last_value(qty) AS q FROM orders GROUP BY id", "depends on the order", "argMax"),
        ("CREATE TABLE t AS SELECT id, anyIf(qty, 1) AS q FROM orders GROUP BY id", "depends on the order", "argMax"),
        ("CREATE TABLE orders_changes AS SELECT id FROM orders GROUP BY id", "the change stream of", "another name"),
        ("CREATE TABLE t AS SELECT id FROM orderz GROUP BY id", "There is no", 'mean "orders"'),
    ],
)
def test_what_cannot_be_kept_is_refused_with_its_place(
    clickhouse: Clickhouse, text: str, problem: str, hint: str
) -> None:
    with pytest.raises(InvalidSQL) as refused:
        clickhouse.define_over("orders", text)
    assert problem in refused.value.message
    assert hint in refused.value.hint
    assert refused.value.detail.startswith("line 1, column")
