"""The generated statements, word for word; what they do is tested on a real ClickHouse."""

from __future__ import annotations

import pytest

from headrace.streaming_sql import ast
from headrace.streaming_sql.definition import Definition, define
from headrace.streaming_sql.dependencies import order
from headrace.streaming_sql.generate import advance_sql, batch_sql, create_sql, drop_sql, probe_sql, targets
from headrace.streaming_sql.parser import parse
from headrace.streaming_sql.slice import Slice


def defined(text: str) -> Definition:
    (statement,) = parse(text)
    assert isinstance(statement, ast.Create)
    return define(statement)


STREAM = defined(
    "CREATE STREAM s AS SELECT a, b + 1 AS c FROM e AS x WHERE a > 1 OR b WITH (partition_by = 'toYYYYMM(a)')"
)
STREAM_COLUMNS = [("a", "Date"), ("c", "UInt64")]
TABLE = defined("CREATE TABLE t AS SELECT SUM(b) / 2 AS half, f(a) AS k FROM e GROUP BY k")
TABLE_COLUMNS = [("k", "Date"), ("_agg_1", "AggregateFunction(sum, UInt64)")]
SETTINGS = "SETTINGS prefer_column_name_to_alias = 1, enable_positional_arguments = 0"


def test_a_stream_is_created() -> None:
    assert create_sql(STREAM, "d", STREAM_COLUMNS) == [
        "CREATE TABLE IF NOT EXISTS `d`.`s` (`a` Date, `c` UInt64, `_lsn` UInt64 MATERIALIZED 0, "
        "`_ordinal` UInt32 MATERIALIZED 0, `_batch` UInt64 MATERIALIZED 0, "
        "INDEX `_batch_range` `_batch` TYPE minmax GRANULARITY 1) ENGINE = MergeTree PARTITION BY (toYYYYMM(`a`)) "
        "ORDER BY (`_lsn`, `_ordinal`) SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, "
        "fsync_part_directory = 1, allow_nullable_key = 1"
    ]
    assert drop_sql(STREAM, "d") == ["DROP TABLE IF EXISTS `d`.`s` SYNC"]
    assert targets(STREAM) == ["s"]


def test_a_stream_is_advanced() -> None:
    assert advance_sql(STREAM, "d", STREAM_COLUMNS, Slice(1, 2), verify=True, excluding="SELECT 1, 2") == (
        "INSERT INTO `d`.`s` (`a`, `c`, `_lsn`, `_ordinal`, `_batch`) SELECT `a` AS `a`, `b` + 1 AS `c`, "
        "`x`.`_lsn`, `x`.`_ordinal`, `x`.`_batch` FROM `d`.`e` AS `x` "
        "WHERE `x`.`_batch` > {after:UInt64} AND `x`.`_batch` <= {upto:UInt64} "
        "AND (`x`.`_lsn`, `x`.`_ordinal`) NOT IN (SELECT 1, 2) AND (`x`.`_lsn`, `x`.`_ordinal`) NOT IN "
        "(SELECT `_lsn`, `_ordinal` FROM `d`.`s` WHERE `_batch` > {after:UInt64}) AND ((`a` > 1) OR `b`) "
        f"{SETTINGS}, insert_allow_materialized_columns = 1, insert_deduplicate = 0"
    )


def test_a_table_is_created() -> None:
    state, view = create_sql(TABLE, "d", TABLE_COLUMNS)
    assert state.startswith(
        "CREATE TABLE IF NOT EXISTS `d`.`t__state` (`k` Date, `_agg_1` AggregateFunction(sum, UInt64), "
        "`_batch` SimpleAggregateFunction(max, UInt64)) ENGINE = AggregatingMergeTree ORDER BY (`k`) SETTINGS "
    )
    assert view == (
        "CREATE OR REPLACE VIEW `d`.`t` AS SELECT `_merged`.`_agg_1` / 2 AS `half`, `_merged`.`k` AS `k` "
        "FROM (SELECT `k`, sumMerge(state.`_agg_1`) AS `_agg_1` FROM `d`.`t__state` AS state GROUP BY `k`) AS `_merged`"
    )
    assert drop_sql(TABLE, "d") == ["DROP VIEW IF EXISTS `d`.`t` SYNC", "DROP TABLE IF EXISTS `d`.`t__state` SYNC"]
    assert targets(TABLE) == ["t__state", "t"]


def test_a_table_is_advanced() -> None:
    insert = advance_sql(TABLE, "d", TABLE_COLUMNS, Slice(1, 2), verify=True)
    assert insert == (
        "INSERT INTO `d`.`t__state` (`k`, `_agg_1`, `_batch`) SELECT slice.`k`, slice.`_agg_1`, {upto:UInt64} FROM "
        "(SELECT f(`a`) AS `k`, sumState(`b`) AS `_agg_1` FROM `d`.`e` AS `e` WHERE `e`.`_batch` > {after:UInt64} "
        "AND `e`.`_batch` <= {upto:UInt64} GROUP BY f(`a`)) AS slice WHERE tuple(tuple(slice.`k`)) NOT IN "
        "(SELECT tuple(tuple(`k`)) FROM `d`.`t__state` WHERE `_batch` > {after:UInt64}) "
        f"{SETTINGS}, insert_deduplicate = 0"
    )


def test_a_narrower_slice_bounds_positions() -> None:
    rows = Slice(1, 2, first=(10, 0), last=(20, 3))
    probe = probe_sql(TABLE, "d", TABLE_COLUMNS, rows)
    assert "(`e`.`_lsn`, `e`.`_ordinal`) >= ({first_lsn:UInt64}, {first_ordinal:UInt32})" in probe
    assert "(`e`.`_lsn`, `e`.`_ordinal`) <= ({last_lsn:UInt64}, {last_ordinal:UInt32})" in probe
    assert probe.endswith("FORMAT Null")
    assert rows.parameters() == {
        "after": 1, "upto": 2, "first_lsn": 10, "first_ordinal": 0, "last_lsn": 20, "last_ordinal": 3
    }  # fmt: skip


def test_the_batch_query_is_the_plain_select() -> None:
    assert batch_sql(TABLE, "d") == (
        f"SELECT SUM(`b`) / 2 AS `half`, f(`a`) AS `k` FROM `d`.`e` AS `e` GROUP BY f(`a`) {SETTINGS}"
    )


def test_a_slice_goes_upwards() -> None:
    with pytest.raises(ValueError, match="from 3 to 2"):
        Slice(3, 2)


ROWS, CHANGES, OF_CHANGES = order(
    [
        defined("CREATE TABLE t AS SELECT SUM(b) AS s, MAX(c) AS m, a FROM orders WHERE b > 0 GROUP BY a"),
        defined("CREATE STREAM c AS SELECT *, _sign AS sign FROM orders_changes"),
        defined("CREATE STREAM d AS SELECT sign FROM c"),
    ],
    [],
    ["orders"],
)
ROWS_COLUMNS = [
    ("a", "Date"),
    ("_agg_arg_1", "Nullable(Int8)"),
    ("_agg_arg_2", "Float64"),
    ("_agg_1", "Nullable(Int64)"),
    ("_agg_2", "Float64"),
]


def test_what_definitions_read_follows_from_the_mirrored_table() -> None:
    assert [each.reads for each in (ROWS, CHANGES, OF_CHANGES)] == ["rows", "changes", "stream of changes"]
    assert [each.mirrored for each in (ROWS, CHANGES, OF_CHANGES)] == ["orders"] * 3
    assert (STREAM.reads, STREAM.mirrored) == ("facts", "")


def test_a_table_over_rows_that_change_keeps_signed_sums_and_a_multiset() -> None:
    state, view = create_sql(ROWS, "d", ROWS_COLUMNS)
    assert state.startswith(
        "CREATE TABLE IF NOT EXISTS `d`.`t__state` (`a` Date, `_agg_entry` FixedString(16), "
        "`_agg_arg_2` SimpleAggregateFunction(any, Float64), `_agg_rows` SimpleAggregateFunction(sum, Int64), "
        "`_agg_count_1` SimpleAggregateFunction(sum, Int64), `_agg_sum_1` SimpleAggregateFunction(sum, Int256), "
        "`_batch` SimpleAggregateFunction(max, UInt64)) ENGINE = AggregatingMergeTree ORDER BY (`a`, `_agg_entry`) "
    )
    assert "GROUP BY `a`, `_agg_entry` HAVING sum(state.`_agg_rows`) > 0) AS _entries GROUP BY `a`" in view
    assert "if(sum(_entries.`_agg_count_1`) = 0, NULL, CAST(sum(_entries.`_agg_sum_1`) AS Int64)) AS `_agg_1`" in view


def test_rows_that_change_are_read_from_their_changes_with_their_signs() -> None:
    insert = advance_sql(ROWS, "d", ROWS_COLUMNS, Slice(1, 2), verify=True, excluding="SELECT 1")
    assert "sum(`orders`.`_sign`) AS `_agg_rows`" in insert
    assert "sum(ifNull(toInt256(`b`), 0) * if(isNotNull(`b`), `orders`.`_sign`, 0)) AS `_agg_sum_1`" in insert
    assert "FROM `d`.`orders_changes` AS `orders` WHERE `orders`.`_batch` > {after:UInt64}" in insert
    assert "sipHash64(tuple(`orders`.* EXCEPT (`_lsn`, " in insert
    assert "NOT IN (SELECT tuple(tuple(`a`), tuple(`_agg_entry`)) FROM `d`.`t__state` WHERE `_batch` > " in insert
    filling = advance_sql(ROWS, "d", ROWS_COLUMNS, Slice(0, 2, current=True))
    assert "sum(1) AS `_agg_rows`" in filling
    assert "FROM `d`.`orders` AS `orders` WHERE (`b` > 0) GROUP BY" in filling


def test_streams_of_changes_tell_the_rows_of_a_position_apart() -> None:
    first = advance_sql(CHANGES, "d", [("a", "Date"), ("sign", "Int8")], Slice(1, 2), verify=True)
    row = "sipHash64(tuple(`orders_changes`.*))"
    assert first.startswith("INSERT INTO `d`.`c` (`a`, `sign`, `_lsn`, `_ordinal`, `_batch`, `_row`) SELECT ")
    assert (
        f"(`orders_changes`.`_lsn`, `orders_changes`.`_ordinal`, {row}) NOT IN (SELECT `_lsn`, `_ordinal`, `_row`"
        in first
    )
    second = advance_sql(OF_CHANGES, "d", [("sign", "Int8")], Slice(1, 2), verify=True)
    assert "(`c`.`_lsn`, `c`.`_ordinal`, `c`.`_row`) NOT IN (SELECT `_lsn`, `_ordinal`, `_row` FROM `d`.`d`" in second
