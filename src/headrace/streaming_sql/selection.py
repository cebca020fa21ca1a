"""The parts of a SELECT that streams and tables share: where it reads, which rows, under which settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

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


def from_clause(definition: Definition, database: str) -> str:
    """`FROM …` with the alias that the expressions use."""
    return f"FROM {qualified(database, definition.source)} AS {quoted(reader(definition))}"


def where_clause(definition: Definition, rows: Slice | None, excluding: str, also: Sequence[str] = ()) -> str:
    """` WHERE …` of the slice, the positions not excluded, further conditions and the user's own; or nothing."""
    source = reader(definition)
    conditions = rows.conditions(source) if rows else []
    if excluding:
        conditions.append(f"{position_of(source)} NOT IN ({excluding})")
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
