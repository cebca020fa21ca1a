"""Which rows of a source a statement reads: those of a range of batches, or of positions within it.

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
    included; they serve to find the row that fails.
    """

    after: int
    upto: int
    first: tuple[int, int] | None = None
    last: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.after <= self.upto:
            raise ValueError(f"a slice goes upwards from a batch ≥ 0, not from {self.after} to {self.upto}")

    def parameters(self) -> dict[str, int]:
        """The values of the parameters that `conditions` names."""
        values = {"after": self.after, "upto": self.upto}
        for bound, position in (("first", self.first), ("last", self.last)):
            if position is not None:
                values[f"{bound}_lsn"], values[f"{bound}_ordinal"] = position
        return values

    def conditions(self, source: str) -> list[str]:
        """The conditions, to be joined by AND, on the bookkeeping columns of the source called `source`."""
        batch = f"{quoted(source)}.{quoted(names.BATCH)}"
        found = [f"{batch} > {{after:UInt64}}", f"{batch} <= {{upto:UInt64}}"]
        for bound, operator, position in (("first", ">=", self.first), ("last", "<=", self.last)):
            if position is not None:
                value = f"({{{bound}_lsn:UInt64}}, {{{bound}_ordinal:UInt32}})"
                found.append(f"{position_of(source)} {operator} {value}")
        return found


def position_of(source: str) -> str:
    """The position of a row of the source called `source`, as a pair."""
    return f"({quoted(source)}.{quoted(names.LSN)}, {quoted(source)}.{quoted(names.ORDINAL)})"
