"""Which rows of a source a statement reads: those of a range of batches, or some of them, or all that there are.

Values travel as ClickHouse's server-side parameters, never as text of the statement.
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.streaming_sql import names
from headrace.streaming_sql.printer import quoted


@dataclass(frozen=True)
class Slice:
    """The rows of the batches after `after` up to and including `upto`.

    `first` and `last`, each a pair of LSN and ordinal, narrow this to the positions from one to the other, both
    included; they serve to find the row that fails. Where several rows have one position, `first_row` and `last_row` do
    that: bounds of what `selection.row_of` makes of a row.

    With `current`, these are the rows that a mirrored table has after batch `upto`, however they came.
    """

    after: int
    upto: int
    first: tuple[int, int] | None = None
    last: tuple[int, int] | None = None
    first_row: int | None = None
    last_row: int | None = None
    current: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.after <= self.upto:
            raise ValueError(f"a slice goes upwards from a batch ≥ 0, not from {self.after} to {self.upto}")

    def parameters(self) -> dict[str, int]:
        """The values of the parameters that `conditions` names."""
        values = {"after": self.after, "upto": self.upto}
        for bound, position in (("first", self.first), ("last", self.last)):
            if position is not None:
                values[f"{bound}_lsn"], values[f"{bound}_ordinal"] = position
        if self.first_row is not None and self.last_row is not None:
            values |= {"first_row": self.first_row, "last_row": self.last_row}
        return values

    def conditions(self, source: str, row: str = "") -> list[str]:
        """The conditions, to be joined by AND, on the bookkeeping columns of the source called `source`.

        `row` is the expression that tells its rows apart where positions do not.
        """
        batch = f"{quoted(source)}.{quoted(names.BATCH)}"
        found = [] if self.current else [f"{batch} > {{after:UInt64}}", f"{batch} <= {{upto:UInt64}}"]
        if self.first_row is not None and self.last_row is not None:
            found.append(f"{row} BETWEEN {{first_row:UInt64}} AND {{last_row:UInt64}}")
        for bound, operator, position in (("first", ">=", self.first), ("last", "<=", self.last)):
            if position is not None:
                value = f"({{{bound}_lsn:UInt64}}, {{{bound}_ordinal:UInt32}})"
                found.append(f"{position_of(source)} {operator} {value}")
        return found


def position_of(source: str) -> str:
    """The position of a row of the source called `source`, as a pair."""
    return f"({quoted(source)}.{quoted(names.LSN)}, {quoted(source)}.{quoted(names.ORDINAL)})"
