"""Definitions to ClickHouse statements: the only module that the rest of the package asks for SQL.

Nothing here runs a statement. Values are server-side parameters: whoever runs a statement made from a `Slice`
passes `Slice.parameters()` with it. `excluding`, where taken, is a subselect of what to leave out (dead letters), or an
empty string: two columns, LSN and ordinal, of positions; one column of `row_of` where the source is not facts.

`columns` are always the (name, type) pairs that `describe_sql` returned.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.streaming_sql import mirrored_sql, names, stream_sql, table_sql
from headrace.streaming_sql.definition import Definition
from headrace.streaming_sql.printer import quoted
from headrace.streaming_sql.selection import (
    from_clause,
    qualified,
    reader,
    row_of,
    row_of_image,
    settings_clause,
    stored_bookkeeping,
)
from headrace.streaming_sql.slice import Slice


def describe_sql(definition: Definition, database: str) -> str:
    """The DESCRIBE that returns name and type of each **stored** column, to hand to `create_sql`; of a table over rows
    that change, of what its columns are made of.

    ClickHouse checks every name and type of the definition on the way, and answers with an error if one is wrong.
    """
    if definition.kind == "stream":
        return f"DESCRIBE ({stream_sql.select(definition, database, None)})"
    if definition.reads == "rows":
        return f"DESCRIBE ({mirrored_sql.describe(definition, database)}{settings_clause()})"
    return f"DESCRIBE ({table_sql.state(definition, database, None)}{settings_clause()})"


def output_sql(definition: Definition, database: str) -> str:
    """The DESCRIBE that returns name and type of each column that readers see; checks the outputs too."""
    return f"DESCRIBE ({batch_sql(definition, database)})"


def create_sql(definition: Definition, database: str, columns: Sequence[tuple[str, str]]) -> list[str]:
    """The statements that create the definition's objects, in this order; running them again changes nothing.

    Raises InvalidSQL for two columns of one name, for a reserved name, and for a column without a type, such as
    `NULL AS x`.
    """
    _check_columns(definition, columns)
    if definition.reads == "rows":
        return mirrored_sql.create(definition, database, columns)
    create = stream_sql.create if definition.kind == "stream" else table_sql.create
    return create(definition, database, columns)


def drop_sql(definition: Definition, database: str) -> list[str]:
    """The statements that drop the definition's objects, in this order; running them again changes nothing."""
    drop = stream_sql.drop if definition.kind == "stream" else table_sql.drop
    return drop(definition, database)


def advance_sql(
    definition: Definition,
    database: str,
    columns: Sequence[tuple[str, str]],
    rows: Slice,
    *,
    verify: bool = False,
    excluding: str = "",
) -> str:
    """The INSERT … SELECT that applies a slice of the source.

    Slices are applied in the order of their batches, each starting where the last one ended. With `verify` only what
    the target lacks of this slice is inserted, so it completes an attempt that ended anywhere, and repeats without
    effect; it must follow that attempt before any later slice. A verified insert ignores deduplication tokens.
    Without `verify` nothing of the slice may be there yet.
    """
    if definition.kind == "stream":
        return stream_sql.advance(definition, database, columns, rows, verify=verify, excluding=excluding)
    if definition.reads == "rows":
        return mirrored_sql.advance(definition, database, columns, rows, verify=verify, excluding=excluding)
    return table_sql.advance(definition, database, rows, verify=verify, excluding=excluding)


def probe_sql(
    definition: Definition,
    database: str,
    columns: Sequence[tuple[str, str]],
    rows: Slice,
    *,
    excluding: str = "",
) -> str:
    """The SELECT of `advance_sql` alone, result thrown away: it fails if a row of the slice cannot be computed."""
    if definition.kind == "stream":
        return stream_sql.probe(definition, database, columns, rows, excluding=excluding)
    if definition.reads == "rows":
        return mirrored_sql.probe(definition, database, columns, rows, excluding=excluding)
    return table_sql.probe(definition, database, rows, excluding=excluding)


def extent_sql(definition: Definition, database: str, rows: Slice) -> str:
    """The SELECT of the least and the greatest `row_of` in a slice; of a source that is not facts."""
    row = row_of(definition)
    conditions = " AND ".join(rows.conditions(reader(definition), row)) or "1"
    return f"SELECT min({row}), max({row}) {from_clause(definition, database, rows)} WHERE {conditions}"


def images_sql(definition: Definition, database: str, rows: Slice) -> str:
    """The SELECT of rows of a slice of a source that is not facts, each with its `row_of` as the text `_row`.

    They are as they stand in the change stream, in commit order; of the current rows, as in the table. Parameter
    `found` holds the hashes of those that are wanted.
    """
    source = names.changes(definition.mirrored) if not rows.current else definition.mirrored
    row = row_of_image("image", content=definition.reads == "rows")
    between = "" if rows.current else "_batch > {after:UInt64} AND _batch <= {upto:UInt64} AND "
    order = "" if rows.current else " ORDER BY _lsn, _ordinal"
    return (
        f"SELECT image.*, toString({row}) AS {quoted(names.ROW)} FROM {qualified(database, source)} AS image "
        f"WHERE {between}{row} IN {{found:Array(UInt64)}}{order}"
    )


def forget_sql(definition: Definition, database: str, columns: Sequence[tuple[str, str]]) -> str:
    """The DELETE of what a table over rows that change keeps of values that are gone; up to batch `upto`."""
    return mirrored_sql.forget(definition, database, columns)


def batch_sql(definition: Definition, database: str, rows: Slice | None = None, *, excluding: str = "") -> str:
    """The definition as one plain query over its source, or a slice: its content must equal this, in any order."""
    select = stream_sql.select if definition.kind == "stream" else table_sql.select
    return select(definition, database, rows, excluding)


def targets(definition: Definition) -> list[str]:
    """The names of the definition's objects; the first is the one that `advance_sql` inserts into."""
    return [definition.name] if definition.kind == "stream" else [names.state(definition.name), definition.name]


def _check_columns(definition: Definition, columns: Sequence[tuple[str, str]]) -> None:
    places = {output.name: output for output in definition.outputs}
    seen: set[str] = set()
    for name, type_ in columns:
        span = places[name].span if name in places else definition.statement.name.span
        problem, hint = "", "Name the columns instead of *, or give one another name with AS."
        if name in seen:
            problem = f'Two columns are called "{name}"'
        elif definition.kind == "stream" and name in {*names.HIDDEN, *dict(stored_bookkeeping(definition))}:
            problem = f'A column may not be called "{name}"'
        elif "Nothing" in type_:
            problem, hint = f'The column "{name}" has no type', "Give it one: CAST(NULL AS Nullable(String))."
        if problem:
            raise definition.statement.script.error(problem, span, hint)
        seen.add(name)
