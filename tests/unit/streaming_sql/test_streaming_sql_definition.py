"""Definitions are checked as far as text allows, and know whether they changed."""

from __future__ import annotations

import pytest

from headrace.errors import InvalidSQL
from headrace.streaming_sql import ast
from headrace.streaming_sql.definition import Definition, define, define_all
from headrace.streaming_sql.generate import create_sql
from headrace.streaming_sql.parser import parse
from headrace.streaming_sql.printer import canonical

AGGREGATES = frozenset({"any", "argMax", "quantile", "uniq", "count", "sum"})


def defined(text: str) -> Definition:
    (statement,) = parse(text)
    assert isinstance(statement, ast.Create)
    return define(statement, AGGREGATES)


def refusal(text: str) -> InvalidSQL:
    with pytest.raises(InvalidSQL) as raised:
        defined(text)
    return raised.value


def test_a_definition_says_what_it_is() -> None:
    definition = defined("CREATE STREAM s AS SELECT *, a.b, a + 1, c AS d FROM e WITH (order_by = 'd, toDate(b)')")
    assert (definition.name, definition.kind, definition.source) == ("s", "stream", "e")
    assert [output.name for output in definition.outputs] == ["", "b", "a + 1", "d"]
    assert [canonical(each) for each in definition.order_by] == ["d", "toDate(b)"]
    assert definition.text == canonical(definition.statement)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("CREATE STREAM s AS SELECT a FROM e", "create or replace stream s as select\n a -- x\n from e emit changes;"),
        ("CREATE STREAM s AS SELECT a FROM e", "CREATE STREAM IF NOT EXISTS `s` AS SELECT (a) FROM e"),
        (
            "CREATE TABLE t AS SELECT COUNT(*) AS n FROM e GROUP BY a",
            "CREATE TABLE t AS SELECT count(*) AS n FROM e GROUP BY a",
        ),
        (
            "CREATE STREAM s AS SELECT a FROM e WITH (order_by = 'a', partition_by = 'b')",
            "CREATE STREAM s WITH (partition_by = 'b', order_by = 'a') AS SELECT a FROM e",
        ),
    ],
)
def test_spelling_does_not_change_the_fingerprint(one: str, other: str) -> None:
    assert defined(one).fingerprint == defined(other).fingerprint


@pytest.mark.parametrize(
    "other",
    [
        "CREATE STREAM s AS SELECT A FROM e",
        "CREATE STREAM s AS SELECT a FROM f",
        "CREATE STREAM s AS SELECT a AS b FROM e",
        "CREATE STREAM s AS SELECT a FROM e WHERE a",
        "CREATE STREAM s AS SELECT a FROM e WITH (order_by = 'a')",
    ],
)
def test_meaning_changes_the_fingerprint(other: str) -> None:
    assert defined("CREATE STREAM s AS SELECT a FROM e").fingerprint != defined(other).fingerprint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "CREATE STREAM `a b` AS SELECT a FROM e",
            'The name "a b" may hold only a-z, A-Z, 0-9 and _, and begins with a letter',
        ),
        (
            "CREATE STREAM _s AS SELECT a FROM e",
            'The name "_s" may hold only a-z, A-Z, 0-9 and _, and begins with a letter',
        ),
        (
            "CREATE STREAM a__b AS SELECT a FROM e",
            'The name "a__b" may not hold a double underscore, which marks generated tables',
        ),
        ("CREATE STREAM s AS SELECT a FROM s", 'The stream "s" reads from itself'),
        ("CREATE STREAM s AS SELECT a, b AS a FROM e", 'Two columns are called "a"'),
        ("CREATE STREAM s AS SELECT *, * FROM e", "* is written twice"),
        ("CREATE STREAM s AS SELECT _lsn FROM e", 'A column may not be called "_lsn"'),
        ("CREATE STREAM s AS SELECT a AS _batch FROM e", 'A column may not be called "_batch"'),
        ("CREATE TABLE t AS SELECT * FROM e GROUP BY a", "A table's columns are named one by one"),
        ("CREATE STREAM s AS SELECT a FROM e WITH (orderby = 'a')", 'Unknown property "orderby"'),
        (
            "CREATE STREAM s AS SELECT a FROM e WITH (order_by = 'a', order_by = 'b')",
            'The property "order_by" is given twice',
        ),
        (
            "CREATE STREAM s AS SELECT a FROM e WITH (order_by = 'a DESC')",
            'order_by is not a list of expressions: Expected "," or the end, found "DESC"',
        ),
        ("CREATE TABLE t AS SELECT a FROM e GROUP BY a WITH (order_by = 'a')", "A table has no properties"),
        ("CREATE STREAM s AS SELECT COUNT(*) AS n FROM e", "COUNT() aggregates, and a stream keeps single rows"),
        (
            "CREATE STREAM s AS SELECT f(uniqIf(a, b)) AS n FROM e",
            "uniqIf() aggregates, and a stream keeps single rows",
        ),
        (
            "CREATE STREAM s AS SELECT a FROM e WHERE sum(a) > 1",
            "SUM() aggregates, and WHERE looks at one row at a time",
        ),
        (
            "CREATE STREAM s AS SELECT now() AS a FROM e",
            "now() gives another value each time, so the read model could not be rebuilt",
        ),
        (
            "CREATE STREAM s AS SELECT arrayJoin(a) AS b FROM e",
            "arrayJoin() is not supported: it makes several rows of one change",
        ),
        (
            "CREATE TABLE t AS SELECT a, uniqState(b) AS u FROM e GROUP BY a",
            "uniqState() handles partial aggregates, which a table keeps by itself",
        ),
        (
            "CREATE TABLE t AS SELECT a, SUM(COUNT(*)) AS n FROM e GROUP BY a",
            "COUNT() stands inside SUM(), and both aggregate",
        ),
        ("CREATE TABLE t AS SELECT COUNT(*) AS n FROM e GROUP BY n", "COUNT() aggregates, and cannot be a key"),
        ("CREATE TABLE t AS SELECT a FROM e GROUP BY 2", "GROUP BY 2 names no column"),
        ("CREATE TABLE t AS SELECT a, b FROM e GROUP BY a", '"b" is neither in GROUP BY nor inside an aggregate'),
        (
            "CREATE TABLE t AS SELECT a, b + 1 AS b FROM e GROUP BY a",
            '"b" is neither in GROUP BY nor inside an aggregate',
        ),
        (
            "CREATE TABLE t AS SELECT a, x AS y, y AS x FROM e GROUP BY a",
            '"x" is neither in GROUP BY nor inside an aggregate',
        ),
        (
            "CREATE TABLE t AS SELECT a, f(e.b) AS c FROM e GROUP BY a",
            '"b" is neither in GROUP BY nor inside an aggregate',
        ),
        (
            "CREATE TABLE t AS SELECT a, arrayMap(x -> SUM(x), a) AS c FROM e GROUP BY a",
            "SUM() aggregates a parameter of the lambda around it",
        ),
    ],
)
def test_what_cannot_be_defined_is_named(text: str, message: str) -> None:
    assert refusal(text).message == message


def test_a_misspelt_aggregate_is_recognised() -> None:
    error = refusal("CREATE TABLE t AS SELECT a, argmax(b, c) AS d FROM e GROUP BY a")
    assert error.hint.endswith('argmax() does not aggregate. Did you mean "argMax"?')


def test_unknown_properties_list_the_known_ones() -> None:
    error = refusal("CREATE STREAM s AS SELECT a FROM e WITH (order = 'a')")
    assert error.hint == 'Did you mean "order_by"? A stream\'s properties are order_by and partition_by.'


def test_equal_aggregates_are_stored_once() -> None:
    grouping = defined(
        "CREATE TABLE t AS SELECT SUM(a) / count(*) AS x, sum(a) AS y, y + COUNT(*) AS z, k FROM e GROUP BY k"
    ).grouping
    assert grouping is not None
    assert [canonical(each.call) for each in grouping.aggregates] == ["SUM(a)", "COUNT(*)"]
    assert [canonical(each) for each in grouping.merged] == [
        "_merged._agg_1 / _merged._agg_2",
        "_merged._agg_1",
        "_merged._agg_1 + _merged._agg_2",
        "_merged.k",
    ]
    assert [canonical(each) for each in grouping.plain] == ["SUM(a) / COUNT(*)", "SUM(a)", "SUM(a) + COUNT(*)", "k"]


@pytest.mark.parametrize(
    ("select", "keys"),
    [
        ("a FROM e GROUP BY a", [("a", "a")]),
        ("a AS b FROM e GROUP BY a", [("b", "a")]),
        ("f(a) AS b FROM e GROUP BY b", [("b", "f(a)")]),
        ("f(a) AS b FROM e GROUP BY f(a)", [("b", "f(a)")]),
        ("f(a) AS b, a FROM e GROUP BY 2, 1", [("a", "a"), ("b", "f(a)")]),
        ("1 AS x FROM e GROUP BY f(a), e.b", [("_key_1", "f(a)"), ("b", "b")]),
        ("a FROM e GROUP BY a, a", [("a", "a")]),
        ("a FROM e GROUP BY a, e.a, _batch", [("a", "a"), ("_key_3", "_batch")]),
        ("f(a) AS b FROM e GROUP BY b, e.b", [("b", "f(a)"), ("_key_2", "e.b")]),
    ],
)
def test_keys_are_columns_aliases_positions_or_expressions(select: str, keys: list[tuple[str, str]]) -> None:
    grouping = defined(f"CREATE TABLE t AS SELECT {select}").grouping
    assert grouping is not None
    assert [(key.name, canonical(key.expression)) for key in grouping.keys] == keys


def test_a_definition_file_holds_definitions_only() -> None:
    with pytest.raises(InvalidSQL, match="CREATE statements only"):
        define_all(parse("SHOW STREAMS"))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ([("a", "UInt8"), ("a", "String")], 'Two columns are called "a"'),
        ([("_version", "UInt8")], 'A column may not be called "_version"'),
        ([("b", "Nullable(Nothing)")], 'The column "b" has no type'),
    ],
)
def test_columns_that_clickhouse_describes_are_checked(columns: list[tuple[str, str]], message: str) -> None:
    with pytest.raises(InvalidSQL) as raised:
        create_sql(defined("CREATE STREAM s AS SELECT *, NULL AS b FROM e"), "d", columns)
    assert raised.value.message == message
