"""Tokens to statements.

What stands here is the shape of statements only; expressions have their own module, and what a statement means is
asked later. A statement that comes out of here is bounded in size and depth, so that everything behind may recurse.
"""

from __future__ import annotations

import re
from typing import Final

from headrace.streaming_sql import ast, unsupported
from headrace.streaming_sql.cursor import Cursor
from headrace.streaming_sql.expressions import expression
from headrace.streaming_sql.script import Script, Span

STATEMENT_CHARS_MAX: Final = 100_000
_ESCAPE: Final = re.compile(r"\\(.)|''", re.DOTALL)


def parse(text: str, file: str = "") -> tuple[ast.Statement, ...]:
    """The statements of `text`, which are separated by semicolons; none if it holds only spaces and comments.

    `file` is only shown in errors. Raises InvalidSQL, and nothing else, whatever the text: with line, column and
    an excerpt, at the first place that cannot be read. Statements are limited to 100,000 characters and 100 levels.
    """
    cursor = Cursor(Script(text, file))
    statements: list[ast.Statement] = []
    while True:
        while cursor.take_symbol(";"):
            pass
        if cursor.at_end():
            return tuple(statements)
        statement = _statement(cursor)
        if not cursor.at_end() and not cursor.at_symbol(";"):
            raise _unexpected(cursor, statement)
        _check(cursor.script, statement)
        statements.append(statement)


def parse_expressions(text: str) -> tuple[ast.Expression, ...]:
    """The expressions of a list like `user_id, toDate(at)`; one at least. Raises InvalidSQL as `parse` does."""
    cursor = Cursor(Script(text))
    found = [expression(cursor)]
    while cursor.take_symbol(","):
        found.append(expression(cursor))
    if not cursor.at_end():
        raise cursor.fail(['","', "the end"])
    for each in found:
        _check(cursor.script, each)
    return tuple(found)


def _statement(cursor: Cursor) -> ast.Statement:
    start = cursor.token.span
    if cursor.take("CREATE"):
        return _create(cursor, start)
    if cursor.take("DROP"):
        kind = _kind(cursor)
        if_exists = _condition(cursor, "EXISTS")
        name = cursor.name(f"the name of a {kind}")
        return ast.Drop(kind, name, if_exists, span=start.to(name.span), script=cursor.script)
    if cursor.take("SHOW"):
        for what in ("streams", "tables", "events"):
            if cursor.take(what.upper()):
                return ast.Show(what, span=start.to(cursor.last_span), script=cursor.script)
        raise cursor.fail(["STREAMS", "TABLES", "EVENTS"])
    if cursor.take("DESCRIBE"):
        name = cursor.name("the name of a stream, table or event")
        return ast.Describe(name, span=start.to(name.span), script=cursor.script)
    unsupported.refuse_statement(cursor)
    raise cursor.fail(["CREATE", "DROP", "SHOW", "DESCRIBE"])


def _create(cursor: Cursor, start: Span) -> ast.Create:
    or_replace = cursor.take("OR", "REPLACE")
    kind = _kind(cursor)
    if_not_exists = _condition(cursor, "NOT", "EXISTS")
    if or_replace and if_not_exists:
        message = "OR REPLACE and IF NOT EXISTS exclude each other"
        raise cursor.script.error(message, cursor.last_span, "Keep the one you mean.")
    name = cursor.name(f"the name of a {kind}")
    if cursor.at_symbol("("):
        hint = "Columns come from the SELECT: CREATE STREAM … AS SELECT … FROM …"
        raise cursor.script.error("A definition declares no columns", cursor.token.span, hint)
    # ksqlDB puts WITH before AS; both places are read, and printed as one.
    properties = _properties(cursor)
    cursor.expect("AS")
    query = _select(cursor)
    properties = _tail(cursor, properties)
    if kind == "stream" and query.group_by:
        hint = f"Write CREATE TABLE {name.text}: state per key is a table."
        raise cursor.script.error("A stream cannot group", query.group_by[0].span, hint)
    if kind == "table" and not query.group_by:
        hint = "Group by the columns that are the table's key, or write CREATE STREAM."
        raise cursor.script.error("A table needs GROUP BY", name.span, hint)
    span = start.to(cursor.last_span)
    return ast.Create(kind, name, query, properties, or_replace, if_not_exists, span=span, script=cursor.script)


def _kind(cursor: Cursor) -> ast.Kind:
    if cursor.take("STREAM"):
        return "stream"
    if cursor.take("TABLE"):
        return "table"
    raise cursor.fail(["STREAM", "TABLE"])


def _condition(cursor: Cursor, *keywords: str) -> bool:
    """Read `IF` and the keywords. A stream may be called `if`, so the word alone decides nothing."""
    if not cursor.at("IF", keywords[0]):
        return False
    cursor.advance()
    cursor.expect(*keywords)
    return True


# ── SELECT ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _select(cursor: Cursor) -> ast.Select:
    start = cursor.token.span
    if cursor.at("WITH"):
        raise unsupported.subquery(cursor)
    cursor.expect("SELECT")
    if cursor.at("DISTINCT"):
        hint = "Write CREATE TABLE … GROUP BY the columns."
        raise cursor.script.error("SELECT DISTINCT is not supported", cursor.token.span, hint)
    items = [_item(cursor)]
    while cursor.take_symbol(","):
        items.append(_item(cursor))
    if not cursor.take("FROM"):
        raise cursor.fail(['","', "AS", "FROM"])
    source = _source(cursor)
    where = expression(cursor) if cursor.take("WHERE") else None
    unsupported.refuse_clause(cursor)
    group_by = _group_by(cursor) if cursor.take("GROUP") else ()
    unsupported.refuse_clause(cursor)
    return ast.Select(tuple(items), source, where, group_by, span=start.to(cursor.last_span))


def _item(cursor: Cursor) -> ast.Item:
    start = cursor.token.span
    value = expression(cursor)
    alias = cursor.name("a name") if cursor.take("AS") else None
    return ast.Item(value, alias, span=start.to(cursor.last_span))


def _source(cursor: Cursor) -> ast.Source:
    start = cursor.token.span
    if cursor.at_symbol("("):
        raise unsupported.subquery(cursor)
    name = cursor.name("the name of an event or stream")
    if cursor.at_symbol("."):
        hint = "Events and streams are named without a database."
        raise cursor.script.error("A source has no qualifier", start.to(cursor.token.span), hint)
    if cursor.at_symbol("("):
        hint = "Read from an event or a stream."
        raise cursor.script.error("Table functions are not supported", start.to(cursor.token.span), hint)
    alias = cursor.name("a name") if cursor.take("AS") else None
    unsupported.refuse_clause(cursor)
    if cursor.at_symbol(","):
        message, hint = "A definition reads one source; joins are not supported", "Write one definition per source."
        raise cursor.script.error(message, cursor.token.span, hint)
    return ast.Source(name, alias, span=start.to(cursor.last_span))


def _group_by(cursor: Cursor) -> tuple[ast.Expression, ...]:
    cursor.expect("BY")
    for words in (("ALL",), ("ROLLUP",), ("CUBE",), ("GROUPING", "SETS")):
        following = cursor.ahead(len(words))
        if cursor.at(*words) and (words != ("ALL",) or following.kind == "end" or following.text == ";"):
            message = f"GROUP BY {' '.join(words)} is not supported"
            raise cursor.script.error(message, cursor.token.span, "Name the columns of the key.")
    found = [expression(cursor)]
    while cursor.take_symbol(","):
        found.append(expression(cursor))
    if cursor.at("WITH") and cursor.ahead(1).keyword in ("TOTALS", "ROLLUP", "CUBE"):
        raise cursor.script.error(f"WITH {cursor.ahead(1).keyword} is not supported", cursor.token.span)
    return tuple(found)


# ── what follows the SELECT ──────────────────────────────────────────────────────────────────────────────────────


def _tail(cursor: Cursor, properties: tuple[ast.Property, ...]) -> tuple[ast.Property, ...]:
    """WITH and EMIT, in either order. EMIT CHANGES says what always holds, so it leaves no trace."""
    emits = False
    while cursor.at("WITH") or (cursor.at("EMIT") and not emits):
        if cursor.at("WITH"):
            if properties:
                raise cursor.script.error("WITH is written twice", cursor.token.span, "Join the two lists.")
            properties = _properties(cursor)
            continue
        cursor.advance()
        if cursor.at("FINAL"):
            hint = "Write EMIT CHANGES, or leave EMIT out."
            raise cursor.script.error("EMIT FINAL is not supported", cursor.token.span, hint)
        cursor.expect("CHANGES")
        emits = True
    return properties


def _properties(cursor: Cursor) -> tuple[ast.Property, ...]:
    if not cursor.take("WITH"):
        return ()
    cursor.expect_symbol("(")
    found = [_property(cursor)]
    while cursor.take_symbol(","):
        found.append(_property(cursor))
    if not cursor.take_symbol(")"):
        raise cursor.fail(['","', '")"'])
    return tuple(found)


def _property(cursor: Cursor) -> ast.Property:
    name = cursor.name("the name of a property")
    cursor.expect_symbol("=")
    value = cursor.string("a string in single quotes")
    text = _ESCAPE.sub(lambda match: match[1] or "'", value.text[1:-1])
    return ast.Property(name, text, span=name.span.to(value.span))


# ── after a statement ────────────────────────────────────────────────────────────────────────────────────────────


def _unexpected(cursor: Cursor, statement: ast.Statement) -> Exception:
    expected = ["the end", '";"']
    if isinstance(statement, ast.Create):
        query = statement.query
        expected = ["WITH", "EMIT CHANGES", '";"']
        if not query.group_by:
            expected = ["GROUP BY", *expected]
            if query.where is None:
                expected = ["WHERE", *expected]
    hint = ""
    if cursor.token.kind == "string":
        hint = 'Strings stand in single quotes, names in "double" ones.'
    return cursor.fail(expected, hint)


def _check(script: Script, node: ast.Node) -> None:
    """Bound size and depth, and refuse a * that stands for a value. Before this, nothing may recurse over the node."""
    if node.span.end - node.span.start > STATEMENT_CHARS_MAX:
        message = f"The statement has more than {STATEMENT_CHARS_MAX:,} characters"
        raise script.error(message, Span(node.span.start, node.span.start + 1), "Split it over several definitions.")
    for each, depth in ast.walk(node):
        if depth > ast.DEPTH_MAX:
            message = f"The expression is nested more than {ast.DEPTH_MAX} levels deep"
            raise script.error(message, each.span, "Split it over several streams.")
        for child in ast.children(each):
            if isinstance(child, ast.Star) and not _may_hold_star(each):
                raise script.error("* stands for a value only in COUNT(*)", child.span, "Name the columns.")


def _may_hold_star(node: ast.Node) -> bool:
    if isinstance(node, ast.Item):
        return node.alias is None
    return (
        isinstance(node, ast.Call)
        and node.name == "COUNT"
        and not node.distinct
        and node.parameters is None
        and len(node.arguments) == 1
    )
