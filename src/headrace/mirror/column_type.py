"""Which ClickHouse type a column of a mirrored table gets, and the SQL that takes its values there exactly.

Values come as PostgreSQL writes them (`SESSION` of `headrace.capture.column_types`), as Nullable(String), and become
values inside ClickHouse: one expression for a column, whether a change or the first copy brought it. Nothing here may
change a value to make it fit: what a type cannot hold exactly must say so. Pure: text in, text out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Expression = Callable[[str], str]
"""From an SQL expression to another."""

SETTINGS = {"precise_float_parsing": 1}
"""What ClickHouse must be told with every statement that has a `value` in it: older servers read floats roughly."""


@dataclass(frozen=True, slots=True)
class SourceType:
    """The type of a PostgreSQL column as its catalog says it, domains resolved.

    `name` is the name in pg_type, without the underscore of arrays' names for `element`; `kind` is base, enum,
    composite, range, multirange or array; `typmod` is atttypmod, −1: none. An array's typmod is that of its elements.
    """

    name: str
    kind: str = "base"
    typmod: int = -1
    element: SourceType | None = None


@dataclass(frozen=True, slots=True)
class ColumnType:
    """What a column becomes. The four expressions never raise an error, whatever the value.

    `clickhouse`: the type without Nullable; `declaration` gives it with.
    `nullable_allowed`: false for arrays, which ClickHouse cannot make Nullable.
    `value`: ClickHouse, from a Nullable(String) to the type, Nullable unless an array. NULL, or an empty array, when
        the text is NULL or does not fit.
    `fits`: ClickHouse, from a Nullable(String) to 1 or 0: whether the type holds the value exactly. 1 for NULL.
    `source_text`: PostgreSQL, from a quoted column to a text that is the same for the same value, or NULL; for a
        session with the settings `SESSION`.
    `mirror_text`: ClickHouse, from a column of this type to that same text, as Nullable(String).
    `note`: for people: what is lost, or why it is text.
    """

    clickhouse: str
    nullable_allowed: bool
    value: Expression
    fits: Expression
    source_text: Expression
    mirror_text: Expression
    note: str

    def declaration(self, *, nullable: bool) -> str:
        """The type of the column as CREATE TABLE has it. `nullable` is ignored where a type cannot be."""
        if not nullable or not self.nullable_allowed:
            return self.clickhouse
        if self.clickhouse.startswith("LowCardinality("):
            return f"LowCardinality(Nullable({self.clickhouse.removeprefix('LowCardinality(')})"
        return f"Nullable({self.clickhouse})"
