"""The ClickHouse statements of a table: partial aggregates per key, and a view that finishes them.

The state holds one row per key and slice until ClickHouse merges them; the view merges whatever is there, so what
it answers does not depend on when ClickHouse does.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.streaming_sql import ast, names
from headrace.streaming_sql.definition import Definition
from headrace.streaming_sql.grouping import Aggregate, Grouping
from headrace.streaming_sql.printer import explicit, quoted
from headrace.streaming_sql.selection import from_clause, qualified, settings_clause, where_clause
from headrace.streaming_sql.slice import Slice
from headrace.streaming_sql.stream_sql import STORAGE_SETTINGS


def select(definition: Definition, database: str, rows: Slice | None, excluding: str = "") -> str:
    """The table's columns as one plain query over the source."""
    grouping = _grouping(definition)
    items = ", ".join(
        f"{explicit(plain)} AS {quoted(output.name)}"
        for plain, output in zip(grouping.plain, definition.outputs, strict=True)
    )
    return (
        f"SELECT {items} {from_clause(definition, database)}{where_clause(definition, rows, excluding)}"
        f" {_group_by(grouping)}{settings_clause()}"
    )


def state(definition: Definition, database: str, rows: Slice | None, excluding: str = "") -> str:
    """The keys and partial aggregates of a slice of the source."""
    grouping = _grouping(definition)
    items = [f"{explicit(key.expression)} AS {quoted(key.name)}" for key in grouping.keys]
    items += [f"{_partial(each)} AS {quoted(each.column)}" for each in grouping.aggregates]
    where = where_clause(definition, rows, excluding)
    return f"SELECT {', '.join(items)} {from_clause(definition, database)}{where} {_group_by(grouping)}"


def create(definition: Definition, database: str, columns: Sequence[tuple[str, str]]) -> list[str]:
    """The state, then the view."""
    grouping = _grouping(definition)
    target = qualified(database, names.state(definition.name))
    stored = ", ".join(f"{quoted(name)} {type_}" for name, type_ in columns)
    keys = ", ".join(quoted(key.name) for key in grouping.keys)
    return [
        f"CREATE TABLE IF NOT EXISTS {target} ({stored}, {quoted(names.BATCH)} SimpleAggregateFunction(max, UInt64)) "
        f"ENGINE = AggregatingMergeTree ORDER BY ({keys}) {STORAGE_SETTINGS}",
        f"CREATE OR REPLACE VIEW {qualified(database, definition.name)} AS {_finished(definition, database)}",
    ]


def drop(definition: Definition, database: str) -> list[str]:
    """Drops the view, then the state."""
    return [
        f"DROP VIEW IF EXISTS {qualified(database, definition.name)} SYNC",
        f"DROP TABLE IF EXISTS {qualified(database, names.state(definition.name))} SYNC",
    ]


def advance(definition: Definition, database: str, rows: Slice, *, verify: bool, excluding: str) -> str:
    """Inserts the partial aggregates of a slice; with `verify` only of keys that have not got this slice."""
    target = qualified(database, names.state(definition.name))
    grouping = _grouping(definition)
    stored = [*_columns(grouping), names.BATCH]
    computed = ", ".join(f"slice.{quoted(name)}" for name in _columns(grouping))
    return (
        f"INSERT INTO {target} ({', '.join(quoted(name) for name in stored)}) "
        f"SELECT {computed}, {{upto:UInt64}} FROM ({state(definition, database, rows, excluding)}) AS slice"
        + (f" WHERE {_missing(grouping, target)}" if verify else "")
        + settings_clause(verify=verify)
    )


def probe(definition: Definition, database: str, rows: Slice, *, excluding: str) -> str:
    """Computes what `advance` would insert."""
    return state(definition, database, rows, excluding) + settings_clause() + " FORMAT Null"


def _finished(definition: Definition, database: str) -> str:
    """The SELECT of the view. Its columns are qualified, so that no alias can stand for one of them."""
    grouping = _grouping(definition)
    items = ", ".join(
        f"{explicit(merged)} AS {quoted(output.name)}"
        for merged, output in zip(grouping.merged, definition.outputs, strict=True)
    )
    keys = ", ".join(quoted(key.name) for key in grouping.keys)
    inner = ", ".join([keys, *(f"{_merge(each)} AS {quoted(each.column)}" for each in grouping.aggregates)])
    target = qualified(database, names.state(definition.name))
    return f"SELECT {items} FROM (SELECT {inner} FROM {target} AS state GROUP BY {keys}) AS {quoted(names.MERGED)}"


def _missing(grouping: Grouping, target: str) -> str:
    # IN never finds a NULL, but it does find a tuple that holds one: hence each key in a tuple of its own.
    sliced = ", ".join(f"tuple(slice.{quoted(key.name)})" for key in grouping.keys)
    stored = ", ".join(f"tuple({quoted(key.name)})" for key in grouping.keys)
    batch = quoted(names.BATCH)
    return f"tuple({sliced}) NOT IN (SELECT tuple({stored}) FROM {target} WHERE {batch} > {{after:UInt64}})"


def _partial(aggregate: Aggregate) -> str:
    call = aggregate.call
    arguments = "" if call.arguments == (ast.Star(),) else ", ".join(explicit(each) for each in call.arguments)
    return f"{aggregate.function}State{_parameters(call)}({arguments})"


def _merge(aggregate: Aggregate) -> str:
    return f"{aggregate.function}Merge{_parameters(aggregate.call)}(state.{quoted(aggregate.column)})"


def _parameters(call: ast.Call) -> str:
    if call.parameters is None:
        return ""
    return f"({', '.join(explicit(each) for each in call.parameters)})"


def _group_by(grouping: Grouping) -> str:
    return "GROUP BY " + ", ".join(explicit(key.expression) for key in grouping.keys)


def _columns(grouping: Grouping) -> list[str]:
    return [*(key.name for key in grouping.keys), *(each.column for each in grouping.aggregates)]


def _grouping(definition: Definition) -> Grouping:
    assert definition.grouping is not None, "a table's definition has a grouping"
    return definition.grouping
