"""The parts of a SELECT that streams and tables share: where it reads, which rows, under which settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from headrace.streaming_sql import names
from headrace.streaming_sql.definition import Definition
from headrace.streaming_sql.printer import explicit, quoted
from headrace.streaming_sql.slice import Slice, position_of

# A name means the source's column before it means an alias, also in WHERE; a number in GROUP BY is a number.
_SETTINGS: Final = {"prefer_column_name_to_alias": 1, "enable_positional_arguments": 0}
# Verified inserts bring other rows than the attempt they complete, so a token of that attempt must not drop them.
_VERIFY_SETTINGS: Final = {"insert_deduplicate": 0}


def qualified(database: str, table: str) -> str:
    """`database`.`table`."""
    return f"{quoted(database)}.{quoted(table)}"


def reader(definition: Definition) -> str:
    """The name under which the definition's expressions know their source."""
    alias = definition.query.source.alias
    return alias.text if alias else definition.source


def from_clause(definition: Definition, database: str, rows: Slice | None = None) -> str:
    """`FROM …` with the alias that the expressions use.

    What happened in a slice to rows that change stands in their change stream; without a slice they are as they are.
    """
    source = definition.source
    if definition.reads == "rows" and rows is not None and not rows.current:
        source = names.changes(source)
    return f"FROM {qualified(database, source)} AS {quoted(reader(definition))}"


def row_of(definition: Definition) -> str:
    """What tells the rows of the source apart where positions do not, as a UInt64: they come from a change stream.

    Rows that change are known by what they hold, be it in the table or in a change: one that cannot be computed is then
    left out when it comes and when it goes.
    """
    source = quoted(reader(definition))
    if definition.reads == "stream of changes":
        return f"{source}.{quoted(names.ROW)}"
    return row_of_image(source, content=definition.reads == "rows")


def row_of_image(source: str, *, content: bool) -> str:
    """The hash of a row of the change stream called `source`: of its content, or of all of it, position included."""
    bookkeeping = [name for name, _ in names.BOOKKEEPING]
    but = f" EXCEPT ({', '.join(quoted(name) for name in (*bookkeeping, *names.CHANGE))})" if content else ""
    return f"sipHash64(tuple({source}.*{but}))"


def stored_bookkeeping(definition: Definition) -> list[tuple[str, str]]:
    """The hidden columns of the stream that the definition makes, (name, type)."""
    return [*names.BOOKKEEPING, *([] if definition.reads == "facts" else [(names.ROW, "UInt64")])]


def bookkeeping_values(definition: Definition) -> list[str]:
    """What the hidden columns hold, in the order of `stored_bookkeeping`."""
    values = [f"{quoted(reader(definition))}.{quoted(name)}" for name, _ in names.BOOKKEEPING]
    return values if definition.reads == "facts" else [*values, row_of(definition)]


def where_clause(definition: Definition, rows: Slice | None, excluding: str, also: Sequence[str] = ()) -> str:
    """` WHERE …` of the slice, what is not excluded, further conditions and the user's own; or nothing."""
    source = reader(definition)
    row = "" if definition.reads == "facts" else row_of(definition)
    conditions = rows.conditions(source, row) if rows else []
    if excluding:
        conditions.append(f"{row or position_of(source)} NOT IN ({excluding})")
    conditions += also
    if definition.query.where is not None:
        conditions.append(f"({explicit(definition.query.where)})")
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


def settings_clause(*, into_hidden: bool = False, verify: bool = False) -> str:
    """` SETTINGS …` of a SELECT, or of an INSERT … SELECT into hidden columns."""
    settings = dict(_SETTINGS)
    if into_hidden:
        settings["insert_allow_materialized_columns"] = 1
    if verify:
        settings |= _VERIFY_SETTINGS
    return " SETTINGS " + ", ".join(f"{name} = {value}" for name, value in settings.items())
