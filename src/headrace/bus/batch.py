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

    `inserts` holds one Arrow table per relation: its columns in PostgreSQL's order, then `_lsn` uint64 (the commit
    LSN) and `_ordinal` uint32. One batch holds one shape of each table.

    A batch that ends with a whole transaction has `confirm_lsn`, the end of that transaction in the log, which may be
    confirmed to PostgreSQL once the batch is durable, and `last` is `Position(confirm_lsn - 1)`: behind every change of
    that transaction, and before the next one, whose commit LSN may be `confirm_lsn` itself. A batch that ends inside a
    giant transaction has the position of its last change as `last` and 0 as `confirm_lsn`; the next one goes on there.

    `committed_at` is the commit time of the last transaction, `transactions` how many of them end in the batch.
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


@dataclass(frozen=True, slots=True)
class Idle:
    """No change up to `lsn` is left to hand out: the watermark may go to `position`, and then `lsn` be confirmed."""

    lsn: int

    @property
    def position(self) -> Position:
        """Everything before `lsn`; at `lsn` itself the next transaction may commit."""
        return Position(self.lsn - 1)
