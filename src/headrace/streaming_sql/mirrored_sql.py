"""The ClickHouse statements of a table over rows that change: signed sums per key, and a view that finishes them.

A row of the state tells of rows that came and went in one slice, per key and, where values must be kept, per entry of
the multiset. ClickHouse merges them by adding up. Keys and entries without a row left are not in the view.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.streaming_sql import names
from headrace.streaming_sql.definition import Definition
from headrace.streaming_sql.grouping import Grouping
from headrace.streaming_sql.printer import explicit, quoted
from headrace.streaming_sql.retraction import COPY, Retraction, described, retraction
from headrace.streaming_sql.selection import from_clause, qualified, reader, settings_clause, where_clause
from headrace.streaming_sql.slice import Slice
from headrace.streaming_sql.stream_sql import STORAGE_SETTINGS

_ENTRIES = "_entries"


def describe(definition: Definition, database: str) -> str:
    """A SELECT whose columns are the keys, what the aggregates read, and what they give."""
    grouping = _grouping(definition)
    items = [f"{explicit(key.expression)} AS {quoted(key.name)}" for key in grouping.keys] + described(definition)
    keys = ", ".join(explicit(key.expression) for key in grouping.keys)
    where = where_clause(definition, None, "")
    return f"SELECT {', '.join(items)} {from_clause(definition, database)}{where} GROUP BY {keys}"


def create(definition: Definition, database: str, columns: Sequence[tuple[str, str]]) -> list[str]:
    """The state, then the view. `columns` are those that `describe` gives."""
    kept = retraction(definition, columns)
    types = dict(columns)
    keys = [key.name for key in _grouping(definition).keys]
    stored = [(name, types[name]) for name in keys] + kept.columns()
    parts = [f"{quoted(name)} {type_}" for name, type_ in stored]
    parts.append(f"{quoted(names.BATCH)} SimpleAggregateFunction(max, UInt64)")
    order = ", ".join(quoted(name) for name in _identity(definition, kept))
    return [
        f"CREATE TABLE IF NOT EXISTS {_state(definition, database)} ({', '.join(parts)}) "
        f"ENGINE = AggregatingMergeTree ORDER BY ({order}) {STORAGE_SETTINGS}",
        f"CREATE OR REPLACE VIEW {qualified(database, definition.name)} AS {_finished(definition, database, kept)}",
    ]


def advance(
    definition: Definition,
    database: str,
    columns: Sequence[tuple[str, str]],
    rows: Slice,
    *,
    verify: bool,
    excluding: str,
) -> str:
    """Inserts the signed sums of a slice; with `verify` only those that the state has not got of this slice."""
    kept = retraction(definition, columns)
    target = _state(definition, database)
    stored = [*(key.name for key in _grouping(definition).keys), *(name for name, _ in kept.columns())]
    computed = ", ".join(f"slice.{quoted(name)}" for name in stored)
    return (
        f"INSERT INTO {target} ({', '.join(quoted(name) for name in (*stored, names.BATCH))}) "
        f"SELECT {computed}, {{upto:UInt64}} FROM ({_sums(definition, database, kept, rows, excluding)}) AS slice"
        + (f" WHERE {_missing(_identity(definition, kept), target, rows)}" if verify else "")
        + settings_clause(verify=verify)
    )


def probe(
    definition: Definition, database: str, columns: Sequence[tuple[str, str]], rows: Slice, *, excluding: str
) -> str:
    """Computes what `advance` would insert."""
    kept = retraction(definition, columns)
    return _sums(definition, database, kept, rows, excluding) + settings_clause() + " FORMAT Null"


def forget(definition: Definition, database: str, columns: Sequence[tuple[str, str]]) -> str:
    """Deletes rows of the state, up to batch `upto`, that add nothing any more: what they told of is gone."""
    numbers = [name for name, _ in retraction(definition, columns).numbers()]
    nothing = " AND ".join(f"{quoted(name)} = 0" for name in numbers)
    return f"DELETE FROM {_state(definition, database)} WHERE {nothing} AND {quoted(names.BATCH)} <= {{upto:UInt64}}"


def _sums(definition: Definition, database: str, kept: Retraction, rows: Slice, excluding: str) -> str:
    grouping = _grouping(definition)
    weight = "1" if rows.current else f"{quoted(reader(definition))}.{quoted(names.SIGN)}"
    items = [f"{explicit(key.expression)} AS {quoted(key.name)}" for key in grouping.keys] + kept.values(weight)
    group = [explicit(key.expression) for key in grouping.keys] + ([kept.entry()] if kept.arguments else [])
    where = where_clause(definition, rows, excluding)
    source = from_clause(definition, database, rows)
    return f"SELECT {', '.join(items)} {source}{where} GROUP BY {', '.join(group)}"


def _finished(definition: Definition, database: str, kept: Retraction) -> str:
    """The SELECT of the view. Its columns are qualified, so that no alias can stand for one of them."""
    grouping = _grouping(definition)
    items = ", ".join(
        f"{explicit(merged)} AS {quoted(output.name)}"
        for merged, output in zip(grouping.merged, definition.outputs, strict=True)
    )
    keys = ", ".join(quoted(key.name) for key in grouping.keys)
    there = f"HAVING sum(state.{quoted(names.ROWS)}) > 0"
    source, having = f"{_state(definition, database)} AS state", f" {there}"
    if kept.arguments:
        source, having = f"({_entries(definition, database, kept)} {there}) AS {_ENTRIES}", ""
        if kept.repeats:
            source += f" ARRAY JOIN range(toUInt64({_ENTRIES}.{quoted(names.ROWS)})) AS {quoted(COPY)}"
    reading = _ENTRIES if kept.arguments else "state"
    answers = [f"{kept.answer(each, reading)} AS {quoted(each.aggregate.column)}" for each in kept.kept]
    inner = f"SELECT {', '.join([keys, *answers])} FROM {source} GROUP BY {keys}{having}"
    return f"SELECT {items} FROM ({inner}) AS {quoted(names.MERGED)}"


def _entries(definition: Definition, database: str, kept: Retraction) -> str:
    """The multiset, its equal entries put together."""
    keys = [quoted(key.name) for key in _grouping(definition).keys]
    # The cast takes the aggregation off the type, which ClickHouse would hand on to readers.
    items = [f"CAST(any(state.{quoted(name)}) AS {type_}) AS {quoted(name)}" for name, type_, _ in kept.arguments]
    items += [f"sum(state.{quoted(name)}) AS {quoted(name)}" for name, _ in kept.numbers()]
    group = ", ".join([*keys, quoted(names.ENTRY)])
    return f"SELECT {', '.join([*keys, *items])} FROM {_state(definition, database)} AS state GROUP BY {group}"


def _missing(identity: Sequence[str], target: str, rows: Slice) -> str:
    # IN never finds a NULL, but it does find a tuple that holds one: hence each key in a tuple of its own.
    sliced = ", ".join(f"tuple(slice.{quoted(name)})" for name in identity)
    stored = ", ".join(f"tuple({quoted(name)})" for name in identity)
    # The current rows go into an empty state: all that it holds is of them.
    since = "" if rows.current else f" WHERE {quoted(names.BATCH)} > {{after:UInt64}}"
    return f"tuple({sliced}) NOT IN (SELECT tuple({stored}) FROM {target}{since})"


def _identity(definition: Definition, kept: Retraction) -> list[str]:
    """The columns that tell the rows of one slice apart."""
    return [*(key.name for key in _grouping(definition).keys), *([names.ENTRY] if kept.arguments else [])]


def _state(definition: Definition, database: str) -> str:
    return qualified(database, names.state(definition.name))


def _grouping(definition: Definition) -> Grouping:
    assert definition.grouping is not None, "a table's definition has a grouping"
    return definition.grouping
