"""Any tree survives its own text, and no text gets anything out of the parser but statements or InvalidSQL."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import InvalidSQL
from headrace.streaming_sql import ast
from headrace.streaming_sql.definition import define
from headrace.streaming_sql.parser import parse
from headrace.streaming_sql.printer import canonical, explicit
from headrace.streaming_sql.script import Script, Span

_WORDS = """
    a b t user_id date type stream table key window interval inf nan null true case cast extract end from where group
    order limit with emit all Timestamp NOT if mod
"""
WORDS = _WORDS.split()
FUNCTIONS = ["f", "toDate", "COUNT", "SUM", "date", "interval_", "mod", "like", "extract", "timestamp", "sumIf"]
UNITS = ["SECOND", "DAY", "MONTH", "YEAR"]
TYPES = ["String", "Decimal(38, 20)", "Enum8('a' = -1, 'b, )' = 2)", "Tuple(a UInt8, `b c` Array(Nullable(String)))"]
BINARY = [
    "=",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "LIKE",
    "NOT LIKE",
    "ILIKE",
    "NOT ILIKE",
    "+",
    "-",
    "*",
    "/",
    "%",
    "DIV",
    "MOD",
]
BINARY += ["IS DISTINCT FROM", "IS NOT DISTINCT FROM"]

names = st.one_of(st.sampled_from(WORDS), st.text("ab_`\"\\ '.;é", min_size=1, max_size=5))
strings = st.sampled_from(["''", "'x'", "'it''s'", r"'\'\d\\'", "'-- no comment'", "';'", "'é'"])
numbers = st.sampled_from(["0", "1", "42", "1.5", "1.", "1e3", "0xFF", "-1", "-2.5"])
leaves = st.one_of(
    st.builds(ast.Literal, st.just("number"), numbers),
    st.builds(ast.Literal, st.just("string"), strings),
    st.builds(ast.Literal, st.just("constant"), st.sampled_from(["NULL", "TRUE", "FALSE", "inf", "nan"])),
    st.builds(ast.DateLiteral, st.sampled_from(["DATE", "TIMESTAMP"]), strings),
    st.builds(ast.Interval, st.builds(ast.Literal, st.just("string"), strings), st.just("")),
    st.builds(ast.Identifier, st.lists(names, min_size=1, max_size=3).map(tuple)),
    st.just(ast.Call("COUNT", (ast.Star(),))),
)


def several(each: st.SearchStrategy[Any], least: int = 0) -> st.SearchStrategy[Any]:
    return st.lists(each, min_size=least, max_size=3).map(tuple)


def compound(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    lists = st.one_of(st.builds(ast.Tuple, several(inner, 1)), st.builds(ast.Array, several(inner)))
    calls = st.builds(ast.Call, st.sampled_from(FUNCTIONS), several(inner), st.none() | several(inner))
    return st.one_of(
        lists,
        calls,
        st.builds(ast.Call, st.just("COUNT"), several(inner, 1), st.none(), st.just(True)),
        st.builds(ast.Unary, st.just("NOT"), inner),
        st.builds(ast.Unary, st.just("-"), inner),
        st.builds(ast.Binary, st.sampled_from(BINARY), inner, inner),
        st.builds(ast.Chain, st.sampled_from(["AND", "OR", "||"]), several(inner, 2)),
        st.builds(ast.IsNull, inner, st.booleans()),
        st.builds(ast.In, inner, st.one_of(lists, calls), st.booleans()),
        st.builds(ast.Between, inner, inner, inner, st.booleans()),
        st.builds(ast.Case, st.none() | inner, several(st.builds(ast.When, inner, inner), 1), st.none() | inner),
        st.builds(ast.Cast, inner, st.sampled_from(TYPES), st.booleans()),
        st.builds(ast.Extract, st.sampled_from(UNITS), inner),
        st.builds(ast.Interval, inner, st.sampled_from(UNITS)),
        st.builds(ast.Lambda, several(names, 1), inner),
        st.builds(ast.Subscript, inner, inner),
        st.builds(ast.Element, inner, st.one_of(names, st.sampled_from(["1", "12"]))),
    )


expressions = st.recursive(leaves, compound, max_leaves=12)
written_names = st.builds(ast.Name, names)
items = st.one_of(
    st.builds(ast.Item, expressions, st.none() | written_names),
    st.builds(ast.Item, st.builds(ast.Star, st.one_of(st.just(""), names))),
)
sources = st.builds(ast.Source, written_names, st.none() | written_names)


kinds: st.SearchStrategy[ast.Kind] = st.sampled_from(["stream", "table"])


@st.composite
def creates(draw: st.DrawFn) -> ast.Create:
    kind = draw(kinds)
    group_by = draw(several(expressions, 1)) if kind == "table" else ()
    query = ast.Select(draw(several(items, 1)), draw(sources), draw(st.none() | expressions), group_by)
    properties = draw(several(st.builds(ast.Property, written_names, st.text("ab'\\ ", max_size=5))))
    form = draw(st.sampled_from([(False, False), (True, False), (False, True)]))
    return ast.Create(kind, draw(written_names), query, properties, *form)


statements = st.one_of(
    creates(),
    st.builds(ast.Drop, kinds, written_names, st.booleans()),
    st.builds(ast.Show, st.sampled_from(["streams", "tables", "events"])),
    st.builds(ast.Describe, written_names),
)


@given(statements)
def test_parsing_what_was_printed_gives_the_same_statement(statement: ast.Statement) -> None:
    assert parse(canonical(statement)) == (statement,)


@given(st.lists(statements, max_size=3))
def test_a_script_of_printed_statements_gives_them_all(script: list[ast.Statement]) -> None:
    assert parse(" ;; -- between\n".join(canonical(each) for each in script)) == tuple(script)


@given(expressions)
def test_the_text_for_clickhouse_parses_to_the_same_expression(expression: ast.Expression) -> None:
    (statement,) = parse(f"CREATE STREAM s AS SELECT {explicit(expression)} FROM t")
    assert isinstance(statement, ast.Create)
    assert statement.query.items[0].expression == expression


@given(creates(), st.randoms())
def test_spelling_and_spacing_do_not_change_the_fingerprint(statement: ast.Create, randomness: Any) -> None:
    text = canonical(statement)
    respaced = re.sub(r"(?<=[,(]) ?", lambda _: randomness.choice([" ", "\n\t", " /* ; */ ", ""]), text)
    if "'" in text or "`" in text:
        respaced = text.replace(" FROM ", "\n  from /* ' */ ") if text.count(" FROM ") == 1 else text
    try:
        first = define(_one(text))
    except InvalidSQL:
        return
    assert define(_one(respaced + "\nEMIT CHANGES -- end")).fingerprint == first.fingerprint


def _one(text: str) -> ast.Create:
    (statement,) = parse(text)
    assert isinstance(statement, ast.Create)
    return statement


_PIECES = """
    CREATE STREAM TABLE
    AS SELECT FROM WHERE GROUP BY WITH EMIT CHANGES AND OR NOT IN IS NULL LIKE BETWEEN CASE WHEN THEN
    ELSE END
    CAST INTERVAL DAY DATE EXTRACT DISTINCT COUNT SUM a b f ( ( ) ) [ ] , . ; * + - / % = == != <> < <= -> :: ||
    1 1.5
    1e3 'x' `q` "q" 'open /*open -- { } ? $ 0x zz é order_by = OVER FILTER JOIN HAVING DROP SHOW DESCRIBE IF EXISTS
"""
pieces = st.sampled_from(_PIECES.split())


@given(st.one_of(st.text(), st.lists(pieces, max_size=30).map(" ".join), st.lists(pieces, max_size=30).map("".join)))
def test_no_text_raises_anything_but_invalid_sql(text: str) -> None:
    for prefix in ("", "CREATE STREAM s AS SELECT ", "CREATE TABLE t AS SELECT a FROM e GROUP BY "):
        error = _refusal(prefix + text)
        if error is not None:
            line = (prefix + text).split("\n")[error.line - 1]
            assert 1 <= error.column <= len(line) + 1


def _refusal(text: str) -> InvalidSQL | None:
    try:
        for statement in parse(text):
            if isinstance(statement, ast.Create):
                define(statement, frozenset({"any"}))
    except InvalidSQL as error:
        return error
    return None


@given(st.binary())
def test_no_bytes_raise_anything_but_invalid_sql(data: bytes) -> None:
    try:
        parse(data.decode(errors="surrogateescape"))
    except InvalidSQL as error:
        str(error).encode()


@given(st.text(), st.integers(0, 20), st.integers(0, 20))
def test_an_error_can_point_anywhere(text: str, start: int, length: int) -> None:
    start = min(start, len(text))
    error = Script(text).error("wrong", Span(start, start + length))
    assert error.detail.count("\n") == 2
