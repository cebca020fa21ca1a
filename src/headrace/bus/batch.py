"""Batch: consecutive changes, loaded as one step. The shape that capture hands to the read models."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import pyarrow as pa

from headrace.events.position import Position


@dataclass(frozen=True, slots=True)
class Relation:
    """A PostgreSQL table as the write-ahead log described it when the change was made."""

    schema: str
    name: str


@dataclass(frozen=True, slots=True)
class Undecodable:
    """A change that cannot become a row, with its raw bytes: a dead letter in the making."""

    relation: Relation
    position: Position
    reason: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """Changes from `first` to `last`, both included, in commit order.

    `inserts` holds one Arrow table per relation: its columns in PostgreSQL's order, then `_lsn` uint64 and
    `_ordinal` uint32. `last` is a whole-transaction position unless the batch ends inside a giant transaction, which
    then goes on in the next batch. `confirm_lsn` is what may be confirmed to PostgreSQL once the batch is durable;
    0 while the batch ends inside a transaction. `committed_at` is the commit time of the last transaction.
    """

    first: Position
    last: Position
    confirm_lsn: int
    committed_at: datetime
    transactions: int
    inserts: dict[Relation, pa.Table]
    undecodable: list[Undecodable] = field(default_factory=list)

    @property
    def rows(self) -> int:
        return sum(table.num_rows for table in self.inserts.values())
