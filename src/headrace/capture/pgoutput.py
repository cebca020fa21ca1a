"""The messages of PostgreSQL's `pgoutput` plugin, protocol version 1: kinds, fixed places, and the rare ones whole.

https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html. Rows are not read here, one by one,
but by `tuples`, all at once. Pure: bytes in, values out, and nothing but Corrupt for bytes that are no message.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NoReturn, SupportsIndex

import numpy as np

from headrace.bus.batch import Column, Definition, Relation
from headrace.capture.framing import Bytes, Ints, big_endian
from headrace.errors import Corrupt
from headrace.events.position import Position

BEGIN, COMMIT, ORIGIN, RELATION, TYPE, MESSAGE = (ord(kind) for kind in "BCORYM")
INSERT, UPDATE, DELETE, TRUNCATE = (ord(kind) for kind in "IUDT")
KNOWN = np.isin(np.arange(256), [BEGIN, COMMIT, ORIGIN, RELATION, TYPE, MESSAGE, INSERT, UPDATE, DELETE, TRUNCATE])
CHANGES = np.isin(np.arange(256), [INSERT, UPDATE, DELETE, TRUNCATE])

BEGIN_BYTES = 1 + 8 + 8 + 4
BEGIN_FINAL_LSN, BEGIN_TIME, BEGIN_XID = 1, 9, 17
COMMIT_BYTES = 1 + 1 + 8 + 8 + 8
COMMIT_LSN, COMMIT_END_LSN = 2, 10
CHANGE_OID = 1
CHANGE_TUPLE = 5  # of an Insert, Update or Delete: the first of its tuples
NEW, OLD, OLD_KEY = (ord(marker) for marker in "NOK")

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_COLUMNS_MAX = 1600  # MaxTupleAttributeNumber is 1664, of a table 1600


@dataclass(frozen=True, slots=True)
class Messages:
    """`pgoutput` messages inside `data`, in the order received: message i is `data[starts[i]:ends[i]]`, never empty."""

    data: Bytes
    starts: Ints
    ends: Ints

    def __len__(self) -> int:
        return len(self.starts)

    def raw(self, index: SupportsIndex) -> bytes:
        return self.data[self.starts[index] : self.ends[index]].tobytes()

    def select(self, which: Ints) -> Messages:
        return Messages(self.data, self.starts[which], self.ends[which])

    def cut(self, begin: int, end: int) -> Messages:
        return Messages(self.data, self.starts[begin:end], self.ends[begin:end])

    def numbers(self, which: Ints, offset: int, bits: int) -> Ints:
        """The unsigned number at `offset` of each of the messages `which`; the caller has checked that it fits in."""
        numbers: Ints = big_endian(self.data, bits)[self.starts[which] + offset].astype(np.int64)
        return numbers

    def sent_at(self, index: int) -> int:
        """When the server sent a message that was received with its head: microseconds since 2000."""
        at = int(self.starts[index])
        return int.from_bytes(self.data[at - 8 : at].tobytes(), "big")


def parse_definition(raw: bytes) -> Definition:
    """Read a Relation message: the shape of a table's rows from here on. Raises Corrupt."""
    reader = _Reader(raw)
    oid = reader.number(4)
    relation = Relation(reader.text() or "pg_catalog", reader.text())
    identity = chr(reader.number(1))
    columns = []
    for _ in range(min(reader.number(2), _COLUMNS_MAX)):
        key = bool(reader.number(1) & 1)
        columns.append(Column(reader.text(), reader.number(4), reader.number(4, signed=True), key))
    reader.finish()
    return Definition(oid, relation, identity, tuple(columns))


def parse_truncated(raw: bytes) -> list[int]:
    """The oids of the relations that a Truncate message empties. Raises Corrupt."""
    reader = _Reader(raw)
    count = reader.number(4)
    reader.number(1)  # CASCADE and RESTART IDENTITY change nothing for a reader
    if count * 4 != reader.left:
        reader.fail()
    return [reader.number(4) for _ in range(count)]


def moment(microseconds: int) -> datetime:
    """PostgreSQL's time stamp: microseconds since 2000. Raises Corrupt beyond the year 9999."""
    try:
        return EPOCH + timedelta(microseconds=microseconds)
    except OverflowError as error:
        raise Corrupt("A transaction has an impossible commit time.", f"{microseconds} µs after 2000.") from error


def lsn_text(lsn: int) -> str:
    """As PostgreSQL writes it: 0/16B3748."""
    return str(Position(lsn))


class _Reader:
    """Reads one rare message from left to right; every step checks that there is enough left."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._at = 1

    @property
    def left(self) -> int:
        return len(self._raw) - self._at

    def number(self, width: int, *, signed: bool = False) -> int:
        if self.left < width:
            self.fail()
        self._at += width
        return int.from_bytes(self._raw[self._at - width : self._at], "big", signed=signed)

    def text(self) -> str:
        end = self._raw.find(b"\0", self._at)
        if end < 0:
            self.fail()
        raw, self._at = self._raw[self._at : end], end + 1
        try:
            return raw.decode()
        except UnicodeDecodeError:
            self.fail()

    def finish(self) -> None:
        if self.left:
            self.fail()

    def fail(self) -> NoReturn:
        raise Corrupt(
            "A message of the replication stream has not the form that its kind demands.",
            f"Kind {chr(self._raw[0])!r}, {len(self._raw)} bytes, wrong at byte {self._at}.",
            "Report this with the PostgreSQL version.",
        )
