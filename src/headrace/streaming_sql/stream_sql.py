"""The ClickHouse statements of a stream: one MergeTree table whose rows remember the position they came from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from headrace.streaming_sql import ast, names
from headrace.streaming_sql.definition import Definition
from headrace.streaming_sql.printer import explicit, quoted
from headrace.streaming_sql.selection import (
    bookkeeping_values,
    from_clause,
    qualified,
    reader,
    settings_clause,
    stored_bookkeeping,
    where_clause,
)
from headrace.streaming_sql.slice import Slice

# Acknowledged inserts survive power loss, and a repeated insert with the same token is dropped.
STORAGE_SETTINGS: Final = (
    "SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, "
    "fsync_part_directory = 1, allow_nullable_key = 1"
)


def select(definition: Definition, database: str, rows: Slice | None, excluding: str = "") -> str:
    """The stream's columns as one plain query."""
    items = ", ".join(_item(definition, output.expression, output.name) for output in definition.outputs)
    return _select(definition, database, items, where_clause(definition, rows, excluding)) + settings_clause()


def create(definition: Definition, database: str, columns: Sequence[tuple[str, str]]) -> list[str]:
    """The table. Bookkeeping columns are MATERIALIZED because `SELECT *` does not show such columns."""
    parts = [f"{quoted(name)} {type_}" for name, type_ in columns]
    parts += [f"{quoted(name)} {type_} MATERIALIZED 0" for name, type_ in stored_bookkeeping(definition)]
    parts.append(f"INDEX {quoted(names.BATCH + '_range')} {quoted(names.BATCH)} TYPE minmax GRANULARITY 1")
    order = [explicit(each) for each in definition.order_by] or [quoted(names.LSN), quoted(names.ORDINAL)]
    partition = [explicit(each) for each in definition.partition_by]
    partition_clause = f"PARTITION BY ({', '.join(partition)}) " if partition else ""
    return [
        f"CREATE TABLE IF NOT EXISTS {qualified(database, definition.name)} ({', '.join(parts)}) ENGINE = MergeTree "
        f"{partition_clause}ORDER BY ({', '.join(order)}) {STORAGE_SETTINGS}"
    ]


def drop(definition: Definition, database: str) -> list[str]:
    """Drops the table."""
    return [f"DROP TABLE IF EXISTS {qualified(database, definition.name)} SYNC"]


def advance(
    definition: Definition,
    database: str,
    columns: Sequence[tuple[str, str]],
    rows: Slice,
    *,
    verify: bool,
    excluding: str,
) -> str:
    """Inserts the rows of a slice; with `verify` only those that the table does not hold."""
    target = qualified(database, definition.name)
    bookkeeping = [name for name, _ in stored_bookkeeping(definition)]
    stored = [name for name, _ in columns] + bookkeeping
    known = [name for name in bookkeeping if name != names.BATCH]
    held = [value for name, value in zip(bookkeeping, bookkeeping_values(definition), strict=True) if name in known]
    missing = (
        f"({', '.join(held)}) NOT IN (SELECT {', '.join(quoted(name) for name in known)} "
        f"FROM {target} WHERE {quoted(names.BATCH)} > {{after:UInt64}})"
    )
    return (
        f"INSERT INTO {target} ({', '.join(quoted(name) for name in stored)}) "
        + _rows(definition, database, columns, where_clause(definition, rows, excluding, [missing] if verify else []))
        + settings_clause(into_hidden=True, verify=verify)
    )


def probe(
    definition: Definition, database: str, columns: Sequence[tuple[str, str]], rows: Slice, *, excluding: str
) -> str:
    """Computes what `advance` would insert."""
    where = where_clause(definition, rows, excluding)
    return _rows(definition, database, columns, where) + settings_clause() + " FORMAT Null"


def _rows(definition: Definition, database: str, columns: Sequence[tuple[str, str]], where: str) -> str:
    """The SELECT of the stored columns, bookkeeping last."""
    items = [_item(definition, value, name) for name, value in _named(definition, columns)]
    items += bookkeeping_values(definition)
    return _select(definition, database, ", ".join(items), where)


def _named(definition: Definition, columns: Sequence[tuple[str, str]]) -> list[tuple[str, ast.Expression]]:
    """Each stored column with its expression.

    A `*` stands for the columns that it meant when the table was created: a source may have more by now.
    """
    outputs = definition.outputs
    star = next((place for place, output in enumerate(outputs) if isinstance(output.expression, ast.Star)), None)
    if star is None:
        return [(output.name, output.expression) for output in outputs]
    after = len(outputs) - star - 1
    meant = [name for name, _ in columns][star : len(columns) - after]
    return [
        *((output.name, output.expression) for output in outputs[:star]),
        *((name, ast.Identifier((reader(definition), name))) for name in meant),
        *((output.name, output.expression) for output in outputs[star + 1 :]),
    ]


def _item(definition: Definition, value: ast.Expression, name: str) -> str:
    if isinstance(value, ast.Star):
        extra = names.CHANGE if definition.reads == "changes" else ()
        hidden = ", ".join(quoted(each) for each in (*names.HIDDEN, *extra))
        return f"{quoted(value.qualifier or reader(definition))}.* EXCEPT ({hidden})"
    return f"{explicit(value)} AS {quoted(name)}"


def _select(definition: Definition, database: str, items: str, where: str) -> str:
    return f"SELECT {items} {from_clause(definition, database)}{where}"
