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

    @property
    def full_name(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class Column:
    """A column as it was when the change was made. `key`: part of the replica identity."""

    name: str
    oid: int
    typmod: int
    key: bool


@dataclass(frozen=True, slots=True)
class Definition:
    """The shape of a table's rows when they were changed.

    `oid` is the table's in PostgreSQL. `identity` is its replica identity: d (primary key), n (nothing), f (full) or i
    (an index); under f every column is `key`.
    """

    oid: int
    relation: Relation
    identity: str
    columns: tuple[Column, ...]

    @property
    def old_columns(self) -> list[int]:
        """Which columns an old image holds: the key, all of them under f, none under n."""
        if self.identity == "f":
            return list(range(len(self.columns)))
        return [i for i, column in enumerate(self.columns) if column.key and self.identity in ("d", "i")]


@dataclass(frozen=True, slots=True)
class Changes:
    """Inserts, updates and deletes of one mirrored table. The columns of `rows`, one row per change in no order:

    - `_kind` uint8: `I`, `U` or `D`, as a character code;
    - `_lsn` uint64 (the commit LSN), `_ordinal` uint32: the position;
    - `_xid` uint32, `_committed_at` timestamp[us, UTC]: of the transaction;
    - `_unchanged` list<uint16>: the columns, by index, whose value PostgreSQL left out because it is the old one, and
      did not send with the old row either;
    - `new_<index>` binary, for each column: the text that PostgreSQL sent; null where the value is NULL or unchanged,
      and in a delete;
    - `_has_old` bool: the change came with its old row, or with the old row's key;
    - `old_<index>` binary, for each of `definition.old_columns`: that row's text; null without one.

    Personal columns hold what stands for their values; those that are left out are not in `definition`. `withheld` says
    why there is no value at all: nobody could tell which of them are personal.
    """

    definition: Definition
    rows: pa.Table
    withheld: str = ""


@dataclass(frozen=True, slots=True)
class Truncated:
    """A mirrored table lost all its rows."""

    definition: Definition
    position: Position


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

    `inserts` holds one Arrow table per append-only log: its columns in PostgreSQL's order, then `_lsn` uint64 (the
    commit LSN) and `_ordinal` uint32. `changes` holds what happened to mirrored tables, and `truncated` their
    truncations, in order. One batch holds one shape of each table, and truncations stand alone: a batch with one holds
    no other change.

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
    changes: dict[Relation, Changes] = field(default_factory=dict)
    truncated: list[Truncated] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Of all tables together: inserts of logs, and changes of mirrored tables but their truncations."""
        changes = (changes.rows for changes in self.changes.values())
        return sum(table.num_rows for table in (*self.inserts.values(), *changes))


@dataclass(frozen=True, slots=True)
class Idle:
    """No change up to `lsn` is left to hand out: the watermark may go to `position`, and then `lsn` be confirmed."""

    lsn: int

    @property
    def position(self) -> Position:
        """Everything before `lsn`; at `lsn` itself the next transaction may commit."""
        return Position(self.lsn - 1)
