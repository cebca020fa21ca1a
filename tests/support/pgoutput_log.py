"""Logs as pgoutput sends them, written in plain Python from PostgreSQL's documentation: the oracle of decoding."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from headrace.bus.batch import Batch, Relation
from headrace.capture.assembly import Assembler
from headrace.capture.buffer import Buffer
from headrace.events.position import START, Position

NO_LIMIT = 1 << 40
UNCHANGED, BINARY = object(), object()


@dataclass(frozen=True)
class Table:
    """`keys` says how many of the columns, from the first on, are marked as key; None: all."""

    oid: int
    name: str
    columns: tuple[tuple[str, int], ...]
    identity: str = "d"
    keys: int | None = None

    @property
    def relation(self) -> Relation:
        return Relation("public", self.name)


@dataclass(frozen=True)
class Change:
    """`row` is the new one, None for a row of NULLs or none; `old` the old one or, unless `whole`, its key. A Truncate
    may empty tables beside the first: `others`.
    """

    table: Table
    kind: str = "I"
    row: tuple[Any, ...] | None = None
    old: tuple[Any, ...] | None = None
    whole: bool = False
    others: tuple[Table, ...] = ()


@dataclass(frozen=True)
class Transaction:
    changes: tuple[Change, ...]
    lsn: int = 0
    end_lsn: int = 0


@dataclass
class Log:
    """Transactions with their places in the log; LSNs as tight as they can be: one ends where the next begins."""

    transactions: list[Transaction] = field(default_factory=list)

    def rows(self, after: Position = START) -> list[tuple[Relation, Position, tuple[Any, ...] | None]]:
        return [(c.table.relation, p, c.row) for c, p in self.changes() if c.kind == "I" and p > after]

    def changes(self) -> Iterator[tuple[Change, Position]]:
        for transaction in self.transactions:
            ordinal = 0
            for change in transaction.changes:
                yield change, Position(transaction.lsn, ordinal)
                ordinal += 1 + len(change.others)

    def messages(self, start_lsn: int = 0) -> list[bytes]:
        """As a server sends them that starts at `start_lsn`: whole transactions, tables before their first use."""
        messages: list[bytes] = []
        described: dict[int, Table] = {}
        for transaction in self.transactions:
            if transaction.lsn < start_lsn:
                continue
            messages.append(
                b"B" + struct.pack(">QqI", transaction.lsn, transaction.lsn * 1000, transaction.lsn & 0xFFFFFFFF)
            )
            messages.append(b"O" + struct.pack(">Q", 1) + b"elsewhere\0")
            for change in transaction.changes:
                for table in (change.table, *change.others):
                    if described.get(table.oid) != table:
                        messages += [encode_type(), encode_table(table)]
                        described[table.oid] = table
                messages.append(encode_change(change))
                messages.append(b"M" + struct.pack(">BQ", 1, 5) + b"prefix\0" + struct.pack(">I", 2) + b"hi")
            messages.append(
                b"C" + struct.pack(">BQQq", 0, transaction.lsn, transaction.end_lsn, transaction.lsn * 1000)
            )
        return messages


def encode_type() -> bytes:
    return b"Y" + struct.pack(">I", 99_999) + b"public\0mood\0"


def encode_table(table: Table) -> bytes:
    keys = len(table.columns) if table.keys is None else table.keys
    columns = [
        struct.pack(">B", index < keys) + name.encode() + b"\0" + struct.pack(">Ii", oid, -1)
        for index, (name, oid) in enumerate(table.columns)
    ]
    head = b"R" + struct.pack(">I", table.oid) + b"public\0" + table.name.encode() + b"\0" + table.identity.encode()
    return head + struct.pack(">H", len(columns)) + b"".join(columns)


def encode_change(change: Change) -> bytes:
    if change.kind == "T":
        oids = [table.oid for table in (change.table, *change.others)]
        return b"T" + struct.pack(f">IB{len(oids)}I", len(oids), 0, *oids)
    nulls = (None,) * len(change.table.columns)
    head = change.kind.encode() + struct.pack(">I", change.table.oid)
    if change.kind == "D":
        return head + encode_tuple(b"O" if change.whole or change.old is None else b"K", change.old or nulls)
    old = b"" if change.old is None else encode_tuple(b"O" if change.whole else b"K", change.old)
    return head + old + encode_tuple(b"N", change.row or nulls)


def encode_tuple(marker: bytes, row: tuple[Any, ...]) -> bytes:
    return marker + struct.pack(">H", len(row)) + b"".join(map(encode_value, row))


def encode_value(value: Any) -> bytes:
    if value is None:
        return b"n"
    if value is UNCHANGED:
        return b"u"
    if value is BINARY:
        return b"b" + struct.pack(">I", 2) + b"\0\1"
    if isinstance(value, bool):
        value = "t" if value else "f"
    if isinstance(value, bytes):
        value = "\\x" + value.hex()
    text = str(value).encode()
    return b"t" + struct.pack(">I", len(text)) + text


def wire(messages: Sequence[bytes]) -> bytes:
    parts = []
    for message in messages:
        body = b"w" + struct.pack(">QQq", 1, 2, 3) + message
        parts.append(b"d" + struct.pack(">I", len(body) + 4) + body)
    return b"".join(parts)


def assemble(
    raw: bytes,
    split: int,
    *,
    after: Position = START,
    rows_max: int = NO_LIMIT,
    bytes_max: int = NO_LIMIT,
    last: Position | None = None,
    append_only: Collection[Relation] = (),
) -> list[Batch]:
    """Receive `raw` in pieces of `split` bytes, asking for a batch after each."""
    buffer = Buffer(bytes_max=1 << 20)
    assembler = Assembler(after=after, rows_max=rows_max, bytes_max=bytes_max, append_only=append_only)
    batches = []
    for begin in range(0, len(raw), split):
        put(buffer, raw[begin : begin + split])
        for messages in buffer.take().messages:
            assembler.feed(messages)
        while batch := assembler.next(last=last):
            batches.append(batch)
            if last is not None:
                return batches
        buffer.keep(assembler.buffers())
    return batches


def put(buffer: Buffer, piece: bytes) -> None:
    while piece:
        space = buffer.space()
        assert space is not None
        count = min(len(space), len(piece))
        space[:count] = piece[:count]
        assert not buffer.received(count)
        piece = piece[count:]
