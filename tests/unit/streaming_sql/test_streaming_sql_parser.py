"""Statements and expressions are read as written, and refused where they are wrong."""

from __future__ import annotations

import pytest

from headrace.errors import InvalidSQL
from headrace.streaming_sql import ast
from headrace.streaming_sql.parser import parse
from headrace.streaming_sql.printer import canonical


def one(text: str) -> ast.Statement:
    (statement,) = parse(text)
    return statement


def value(text: str) -> ast.Expression:
    statement = one(f"CREATE STREAM s AS SELECT {text} FROM e")
    assert isinstance(statement, ast.Create)
    return statement.query.items[0].expression


def refusal(text: str) -> InvalidSQL:
    with pytest.raises(InvalidSQL) as raised:
        parse(text)
    return raised.value


# ── statements ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("create stream s as select a from e", "CREATE STREAM s AS SELECT a FROM e"),
        ("CREATE OR REPLACE STREAM s AS SELECT * FROM e;", "CREATE OR REPLACE STREAM s AS SELECT * FROM e"),
        ("CREATE STREAM IF NOT EXISTS s AS SELECT x.* FROM e AS x", None),
        ("CREATE TABLE t AS SELECT a, COUNT(*) AS n FROM e WHERE a > 0 GROUP BY a EMIT CHANGES", None),
        ("CREATE STREAM s AS SELECT a FROM e WITH (order_by = 'a', partition_by = 'b')", None),
        (
            "CREATE STREAM s WITH (order_by='it''s') AS SELECT a FROM e EMIT CHANGES",
            "CREATE STREAM s AS SELECT a FROM e WITH (order_by = 'it''s')",
        ),
        ("CREATE STREAM s AS SELECT a FROM e EMIT CHANGES WITH (order_by='a')", None),
        ("DROP STREAM IF EXISTS s", "DROP STREAM IF EXISTS s"),
        ("drop table if", "DROP TABLE if"),
        ("show events", "SHOW EVENTS"),
        ("describe `s`", "DESCRIBE s"),
    ],
)
def test_statements_are_read_and_printed(written: str, text: str | None) -> None:
    statement = one(written)
    printed = canonical(statement)
    assert text is None or printed == text
    assert one(printed) == statement


def test_a_script_holds_several_statements_and_comments() -> None:
    script = "-- first\nSHOW STREAMS;; /* ; ' */ SHOW TABLES ;\n"
    assert [canonical(each) for each in parse(script)] == ["SHOW STREAMS", "SHOW TABLES"]
    assert parse(" \n-- nothing") == ()


def test_nodes_know_where_they_stood() -> None:
    text = "CREATE STREAM s AS\n  SELECT a + b AS c FROM e"
    statement = one(text)
    assert isinstance(statement, ast.Create)
    item = statement.query.items[0]
    assert text[item.span.start : item.span.end] == "a + b AS c"
    assert text[item.expression.span.start : item.expression.span.end] == "a + b"
    assert text[statement.query.source.span.start :] == "e"


# ── expressions ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("1+2*3", "1 + 2 * 3"),
        ("(1+2)*3", "(1 + 2) * 3"),
        ("a-(b-c)", "a - (b - c)"),
        ("(a-b)-c", "a - b - c"),
        ("not a == b and c <> d", "NOT a = b AND c != d"),
        ("(a or b) and c", "(a OR b) AND c"),
        ("(a and b) or c", "a AND b OR c"),
        ("- - a", "-(-a)"),
        ("-1", "-1"),
        ("a is not null", "a IS NOT NULL"),
        ("a not in (1,2)", "a NOT IN (1, 2)"),
        ("(a,b) in ((1,2))", "(a, b) IN ((1, 2))"),
        ("a not between 1 and 2 and b", "a NOT BETWEEN 1 AND 2 AND b"),
        ("a ilike '%x'", "a ILIKE '%x'"),
        ("case when a then 1 else 2 end", "CASE WHEN a THEN 1 ELSE 2 END"),
        ("case a when 1 then 'x' end", "CASE a WHEN 1 THEN 'x' END"),
        ("cast(a as Array(Nullable(DateTime64(3,'UTC'))))", "CAST(a AS Array(Nullable(DateTime64(3, 'UTC'))))"),
        ("cast(a, 'String')", "CAST(a, 'String')"),
        ("a::Enum8('x'=-1)::String", "a::Enum8('x' = -1)::String"),
        ("interval 5 days", "INTERVAL 5 DAY"),
        ("interval '5 day'", "INTERVAL '5 day'"),
        ("interval (n+1) hour", "INTERVAL (n + 1) HOUR"),
        ("extract(day from at)", "EXTRACT(DAY FROM at)"),
        ("extract(a, 'x+')", "extract(a, 'x+')"),
        ("date '2024-01-31'", "DATE '2024-01-31'"),
        ("arrayMap((x,y)->x+y, a, b)", "arrayMap((x, y) -> x + y, a, b)"),
        ("quantile(0.9)(x)", "quantile(0.9)(x)"),
        ("count(*)", "COUNT(*)"),
        ("Count(distinct a, b)", "COUNT(DISTINCT a, b)"),
        ("sumIf(a, b)", "sumIf(a, b)"),
        ("t.1.2", "t.1.2"),
        ("m['k'][1].name", "m['k'][1].name"),
        ("a.b.c", "a.b.c"),
        ('"a b".`c`', "`a b`.c"),
        ("[1, [2]]", "[1, [2]]"),
        ("(1,)", "(1,)"),
        ("0x1F + 1e3 + 1_000", "0x1F + 1e3 + 1_000"),
        (r"'it''s' || '\\'", r"'it''s' || '\\'"),
        ("null is distinct from TRUE", "NULL IS DISTINCT FROM TRUE"),
        ("mod(a, 2) mod 3", "mod(a, 2) MOD 3"),
    ],
)
def test_expressions_are_read_and_printed(written: str, text: str) -> None:
    expression = value(written)
    assert canonical(expression) == text
    assert value(text) == expression


SOFT = """
    date timestamp type stream streams table key window interval extract cast emit changes order limit by if count sum
    day create partition properties values left join
"""


@pytest.mark.parametrize("word", SOFT.split())
def test_soft_keywords_name_columns(word: str) -> None:
    assert value(f"{word} + e.{word}") == ast.Binary("+", ast.Identifier((word,)), ast.Identifier(("e", word)))
    assert value(f"{word} AND {word}") == ast.Chain("AND", (ast.Identifier((word,)),) * 2)
    one(f"CREATE TABLE {word} AS SELECT {word} AS {word} FROM {word} WHERE {word} > 1 GROUP BY {word}")


def test_long_conditions_are_not_deep() -> None:
    operands = [f"a = {number}" for number in range(2000)]
    assert isinstance(value(" OR ".join(operands)), ast.Chain)


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_error_points_at_its_place() -> None:
    error = refusal("CREATE STREAM s AS\n  SELECT a,, b\n  FROM e")
    assert (error.line, error.column) == (2, 12)
    assert error.message == 'Expected an expression, found ","'
    assert error.detail == "line 2, column 12\n  2 |   SELECT a,, b\n    |            ^"


def test_an_error_names_the_file() -> None:
    with pytest.raises(InvalidSQL) as raised:
        parse("CREATE", "streams/views.sql")
    assert raised.value.detail.startswith("streams/views.sql, line 1, column 7\n")


def test_a_misspelt_keyword_is_recognised() -> None:
    assert refusal("CREATE STREAM s AS SELECT a FROM e WHRE a").hint == 'Did you mean "WHERE"?'
    assert refusal("CREATE STRAEM s").hint == 'Did you mean "STREAM"?'


CREATE = "CREATE STREAM s AS SELECT "


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SELECT a FROM s", "A query is not a definition"),
        ("INSERT INTO s SELECT a FROM e", "INSERT is not supported"),
        ("UPDATE s", 'Expected CREATE, DROP, SHOW or DESCRIBE, found "UPDATE"'),
        ("SHOW QUERIES", 'Expected STREAMS, TABLES or EVENTS, found "QUERIES"'),
        ("CREATE STREAM s (a INT)", "A definition declares no columns"),
        (
            "CREATE OR REPLACE STREAM IF NOT EXISTS s AS SELECT a FROM e",
            "OR REPLACE and IF NOT EXISTS exclude each other",
        ),
        ("CREATE TABLE t AS SELECT a FROM e", "A table needs GROUP BY"),
        (CREATE + "a FROM e GROUP BY a", "A stream cannot group"),
        (CREATE + "DISTINCT a FROM e", "SELECT DISTINCT is not supported"),
        (CREATE + "a FROM e JOIN f ON a = b", "A definition reads one source; joins are not supported"),
        (CREATE + "a FROM e, f", "A definition reads one source; joins are not supported"),
        (CREATE + "a FROM (SELECT 1)", "Subqueries are not supported in a definition"),
        (CREATE + "a FROM e WHERE a IN (SELECT 1)", "Subqueries are not supported in a definition"),
        (CREATE + "a FROM numbers(5)", "Table functions are not supported"),
        (CREATE + "a FROM db.e", "A source has no qualifier"),
        (CREATE + "a FROM e WINDOW TUMBLING (SIZE 1 HOUR)", "Windows are not supported"),
        (CREATE + "a FROM e PARTITION BY a", "PARTITION BY is not supported"),
        (CREATE + "a FROM e ORDER BY a", "ORDER BY is not supported in a definition"),
        (CREATE + "a FROM e LIMIT 5", "LIMIT is not supported in a definition"),
        (CREATE + "a FROM e EMIT FINAL", "EMIT FINAL is not supported"),
        ("CREATE TABLE t AS SELECT a FROM e GROUP BY a HAVING a > 1", "HAVING is not supported in a definition"),
        ("CREATE TABLE t AS SELECT a FROM e GROUP BY ALL", "GROUP BY ALL is not supported"),
        ("CREATE TABLE t AS SELECT a FROM e GROUP BY a WITH TOTALS", "WITH TOTALS is not supported"),
        (CREATE + "a FROM e WITH (order_by = 'a') WITH (order_by = 'b')", "WITH is written twice"),
        (CREATE + "a FROM e WITH (order_by = a)", 'Expected a string in single quotes, found "a"'),
        (CREATE + "a b FROM e", 'Expected ",", AS or FROM, found "b"'),
        (CREATE + "a AS select FROM e", 'Expected a name, found "select"'),
        (CREATE + "a FROM e; b", 'Expected CREATE, DROP, SHOW or DESCRIBE, found "b"'),
        (
            CREATE + "rank() OVER () FROM e",
            "Window functions (OVER) are not supported: they need rows of other batches",
        ),
        (CREATE + "COUNT(*) FILTER (WHERE a) FROM e", "FILTER (WHERE …) is not supported"),
        (CREATE + "SUM(DISTINCT a) FROM e", "DISTINCT is supported in COUNT, not in SUM"),
        (CREATE + "a + * FROM e", "* stands for a value only in COUNT(*)"),
        (CREATE + "f(*) FROM e", "* stands for a value only in COUNT(*)"),
        (CREATE + "* AS a FROM e", "* stands for a value only in COUNT(*)"),
        (CREATE + "a IN b FROM e", "IN takes a list of values"),
        (CREATE + "a + 1 -> 2 FROM e", "Before -> stand only the parameters of a lambda"),
        (CREATE + "a ? b : c FROM e", "The operator ? : is not supported"),
        (CREATE + "{a:String} FROM e", "A definition takes no parameters"),
        (CREATE + "'a FROM e", "This string is never closed"),
        (CREATE + "`a FROM e", "This quoted name is never closed"),
        (CREATE + "/* a FROM e", "This comment is never closed"),
        (CREATE + "1a FROM e", "A number runs into a name"),
        (CREATE + "`` FROM e", "A quoted name is empty"),
        (CREATE + "é FROM e", "Unexpected character é"),
        (CREATE + "'\0' FROM e", "Unexpected character U+0000"),
        (CREATE + "`f`(a) FROM e", "The name of a function is not quoted"),
        (CREATE + "a NOT b FROM e", 'Expected IN, BETWEEN, LIKE or ILIKE, found "b"'),
        (CREATE + "a IS 1 FROM e", 'Expected NULL, NOT NULL or DISTINCT FROM, found "1"'),
        (CREATE + "CASE END FROM e", 'Expected an expression, found "END"'),
        (CREATE + "CASE a END FROM e", 'Expected WHEN, found "END"'),
        (CREATE + "a::Decimal(3 FROM e", 'Expected "," or ")", found the end of the statement'),
        (CREATE + "INTERVAL 5 PARSECS FROM e", None),
    ],
)
def test_what_is_not_supported_is_named(text: str, message: str | None) -> None:
    error = refusal(text)
    assert message is None or error.message == message


DEEP = {
    "parentheses": "(" * 5000,
    "operators": "1+" * 5000 + "1",
    "NOT": "NOT " * 5000 + "a",
    "minus": "- " * 5000 + "a",
    "subscripts": "a" + "[1]" * 5000,
    "calls": "f(" * 5000,
    "intervals": "interval " * 5000,
    "CASE": "CASE " * 5000,
    "lambdas": "x -> " * 5000,
    "arrays": "[" * 5000,
    "casts": "a" + "::String" * 5000,
    "IS NULL": "a" + " IS NULL" * 5000,
}


@pytest.mark.parametrize("deep", DEEP.values(), ids=DEEP.keys())
def test_nesting_is_bounded(deep: str) -> None:
    assert (
        refusal(f"CREATE STREAM s AS SELECT {deep} FROM e").message
        == "The expression is nested more than 100 levels deep"
    )


def test_sizes_are_bounded() -> None:
    assert "100,000 characters" in refusal(f"CREATE STREAM s AS SELECT '{'a' * 100_000}' FROM e").message
    assert "1,000,000" in refusal("-" * 1_000_001).message
