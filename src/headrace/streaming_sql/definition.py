"""A CREATE statement, checked as far as can be without ClickHouse, with what generation and change detection need.

Whether columns exist and types fit is not known here: ClickHouse is asked, with the statements of `generate`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Final, Literal

from headrace.errors import InvalidSQL
from headrace.streaming_sql import ast, functions, names
from headrace.streaming_sql.grouping import Grouping, Output, split
from headrace.streaming_sql.parser import parse_expressions
from headrace.streaming_sql.printer import canonical
from headrace.streaming_sql.script import did_you_mean

Reads = Literal["facts", "changes", "stream of changes", "rows"]
STREAM_PROPERTIES: Final = ("order_by", "partition_by")


@dataclass(frozen=True)
class Definition:
    """One stream or table.

    `text` is the canonical statement and `fingerprint` its SHA-256: neither changes with the spelling, spacing or
    comments of the file, with OR REPLACE, IF NOT EXISTS or EMIT CHANGES. `outputs` are the columns in the order of
    the SELECT list; a `*` is an output without a name. `order_by` and `partition_by` are empty where not given, and
    for tables. `grouping` is None for streams. `mirrored` is the mirrored table whose changes arrive here, directly or
    through streams, and empty where events do; only the other definitions tell, so `dependencies.order` fills it in.
    """

    name: str
    kind: ast.Kind
    source: str
    query: ast.Select
    outputs: tuple[Output, ...]
    order_by: tuple[ast.Expression, ...]
    partition_by: tuple[ast.Expression, ...]
    grouping: Grouping | None
    text: str
    fingerprint: str
    statement: ast.Create = field(repr=False, compare=False)
    mirrored: str = ""

    @property
    def reads(self) -> Reads:
        """What its source is: facts, a change stream, a stream made of one, or a mirrored table's current rows."""
        if not self.mirrored:
            return "facts"
        if self.source == self.mirrored:
            return "rows"
        return "changes" if self.source == names.changes(self.mirrored) else "stream of changes"

    def error(self, message: str, node: ast.Node | None = None, hint: str = "") -> InvalidSQL:
        """The error to raise for `node` of this definition, or for its name."""
        return self.statement.script.error(message, (node or self.statement.name).span, hint)


def define(statement: ast.Create, aggregate_functions: frozenset[str] = frozenset()) -> Definition:
    """The definition that a CREATE statement makes.

    `aggregate_functions` are ClickHouse's, as `SELECT name FROM system.functions WHERE is_aggregate` lists them;
    COUNT, SUM, AVG, MIN, MAX and ClickHouse's suffixes (sumIf, avgOrNull) are known without. Raises InvalidSQL for a
    name that cannot be used, an unknown property, two columns of one name, a call that a rebuild could not repeat, an
    aggregate outside a table's SELECT list, and a column that does not follow from the keys.
    """
    _check_name(statement)
    query, script = statement.query, statement.script
    functions.check(script, query, aggregate_functions)
    _check_aggregates(statement, aggregate_functions)
    outputs = _outputs(statement)
    order_by, partition_by = _properties(statement)
    grouping = split(script, query, outputs, aggregate_functions) if statement.kind == "table" else None
    properties = tuple(sorted(statement.properties, key=lambda each: each.name.text))
    text = canonical(replace(statement, properties=properties, or_replace=False, if_not_exists=False))
    return Definition(
        name=statement.name.text,
        kind=statement.kind,
        source=query.source.name.text,
        query=query,
        outputs=outputs,
        order_by=order_by,
        partition_by=partition_by,
        grouping=grouping,
        text=text,
        fingerprint=sha256(text.encode()).hexdigest(),
        statement=statement,
    )


def define_all(
    statements: Sequence[ast.Statement], aggregate_functions: frozenset[str] = frozenset()
) -> list[Definition]:
    """The definitions of a project's files, in the order given. Raises InvalidSQL for a statement other than CREATE."""
    for statement in statements:
        if not isinstance(statement, ast.Create):
            hint = "Run it with `headrace sql`."
            raise statement.script.error("A definition file holds CREATE statements only", statement.span, hint)
    return [define(each, aggregate_functions) for each in statements if isinstance(each, ast.Create)]


def _check_name(statement: ast.Create) -> None:
    name, source = statement.name, statement.query.source.name
    if problem := names.problem(name.text):
        raise statement.script.error(f'The name "{name.text}" {problem}', name.span)
    if name.text == source.text:
        message = f'The {statement.kind} "{name.text}" reads from itself'
        raise statement.script.error(message, source.span, "Give it a name of its own.")


def _check_aggregates(statement: ast.Create, aggregate_functions: frozenset[str]) -> None:
    query, script = statement.query, statement.script
    if query.where is not None:
        for call in functions.aggregates_in(query.where, aggregate_functions):
            message = f"{call.name}() aggregates, and WHERE looks at one row at a time"
            raise script.error(message, call.span, "Filter the aggregates in the query that reads the table.")
    if statement.kind == "stream":
        for call in functions.aggregates_in(query, aggregate_functions):
            hint = f"Write CREATE TABLE {statement.name.text} AS SELECT … GROUP BY …"
            raise script.error(f"{call.name}() aggregates, and a stream keeps single rows", call.span, hint)


def _outputs(statement: ast.Create) -> tuple[Output, ...]:
    found: dict[str, Output] = {}
    for item in statement.query.items:
        output = Output(_output_name(item), item.expression, item.span)
        problem, hint = "", "Give it another name with AS."
        if output.name in found:
            problem = f'Two columns are called "{output.name}"' if output.name else "* is written twice"
        elif output.name in names.HIDDEN:
            problem = f'A column may not be called "{output.name}"'
            hint = f"Write {output.name} AS {output.name.removeprefix('_')}."
        elif isinstance(item.expression, ast.Star) and statement.kind == "table":
            problem, hint = "A table's columns are named one by one", "Name the keys, and the aggregates."
        if problem:
            raise statement.script.error(problem, (item.alias or item).span, hint)
        found[output.name] = output
    return tuple(found.values())


def _output_name(item: ast.Item) -> str:
    if item.alias is not None:
        return item.alias.text
    if isinstance(item.expression, ast.Star):
        return ""
    if isinstance(item.expression, ast.Identifier):
        return item.expression.parts[-1]
    return canonical(item.expression)


def _properties(statement: ast.Create) -> tuple[tuple[ast.Expression, ...], tuple[ast.Expression, ...]]:
    parsed: dict[str, tuple[ast.Expression, ...]] = {}
    for each in statement.properties:
        _check_property(statement, each, parsed)
        try:
            parsed[each.name.text] = parse_expressions(each.value)
        except InvalidSQL as error:
            message = f"{each.name.text} is not a list of expressions: {error.message}"
            raise statement.script.error(message, each.span, error.hint) from error
    return parsed.get("order_by", ()), parsed.get("partition_by", ())


def _check_property(statement: ast.Create, each: ast.Property, given: dict[str, tuple[ast.Expression, ...]]) -> None:
    name = each.name.text
    if name in given:
        raise statement.script.error(f'The property "{name}" is given twice', each.span)
    if statement.kind == "table":
        message, hint = "A table has no properties", "It is stored in the order of its keys: GROUP BY a, b."
        raise statement.script.error(message, each.span, hint)
    if name not in STREAM_PROPERTIES:
        known = f"A stream's properties are {' and '.join(STREAM_PROPERTIES)}."
        hint = f"{did_you_mean(name, STREAM_PROPERTIES)} {known}".strip()
        raise statement.script.error(f'Unknown property "{name}"', each.name.span, hint)
