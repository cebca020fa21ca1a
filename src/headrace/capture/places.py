"""Where each message stands in the global order: its transaction, and which change of it it is.

The order key is (commit LSN, ordinal within the transaction), never the LSN of a message: those repeat and go back and
forth between transactions (debezium/debezium#7531). The ordinal counts every change to a published table, also those
that nobody will get, so that it is the same in every reading of the log. Pure.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headrace.bus.batch import Definition, Relation
from headrace.capture.framing import Ints
from headrace.capture.pgoutput import (
    BEGIN,
    BEGIN_BYTES,
    BEGIN_FINAL_LSN,
    BEGIN_TIME,
    BEGIN_XID,
    CHANGE_OID,
    CHANGES,
    COMMIT,
    COMMIT_BYTES,
    COMMIT_END_LSN,
    COMMIT_LSN,
    KNOWN,
    RELATION,
    TRUNCATE,
    Messages,
    lsn_text,
    parse_definition,
    parse_truncated,
)
from headrace.errors import Corrupt
from headrace.events.position import ORDINAL_MAX, Position


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction that goes on behind the messages read so far. `time` is its commit, `next_ordinal` comes next."""

    lsn: int
    time: int
    xid: int
    next_ordinal: int


@dataclass(frozen=True, slots=True)
class Placed:
    """Messages with, for each: its kind, the commit LSN, time and number of its transaction, the ordinal of its first
    change, how many changes it makes, and whether it is a change that was not handed out before. `definitions` are the
    Relation messages, by index. No batch may go on over one of `fences`, in order: messages that give another shape to
    a table whose shape was known, that begin to truncate mirrored tables, or that are the first change behind that.
    """

    messages: Messages
    kinds: npt.NDArray[np.uint8]
    lsns: Ints
    times: Ints
    xids: Ints
    ordinals: Ints
    counts: Ints
    fresh: npt.NDArray[np.bool_]
    definitions: dict[int, Definition]
    fences: list[int]

    def __len__(self) -> int:
        return len(self.messages)

    def cut(self, begin: int, end: int) -> Placed:
        return Placed(
            self.messages.cut(begin, end),
            self.kinds[begin:end],
            self.lsns[begin:end],
            self.times[begin:end],
            self.xids[begin:end],
            self.ordinals[begin:end],
            self.counts[begin:end],
            self.fresh[begin:end],
            {i - begin: definition for i, definition in self.definitions.items() if begin <= i < end},
            [i - begin for i in self.fences if begin <= i < end],
        )

    def of_kind(self, kind: int) -> Ints:
        return np.flatnonzero(self.kinds == kind)

    def end_lsns(self, commits: Ints) -> Ints:
        """Where the transactions that end with the messages `commits` end in the log."""
        return self.messages.numbers(commits, COMMIT_END_LSN, 64)

    def last_ordinal(self, index: int) -> int:
        """The ordinal of the last change that message `index` makes; only a Truncate makes several."""
        return int(self.ordinals[index] + self.counts[index]) - 1

    def find(self, last: Position) -> int | None:
        """The message that ends exactly at `last`; a transaction ends with its Commit."""
        if last.ordinal == ORDINAL_MAX:
            commits = self.of_kind(COMMIT)
            found = commits[self.end_lsns(commits) - 1 == last.lsn]
        else:
            here = self.fresh & (self.lsns == last.lsn)
            found = np.flatnonzero(here & (self.ordinals + self.counts - 1 == last.ordinal))
        return int(found[0]) if len(found) else None

    def passes(self, last: Position) -> bool:
        """The messages go on behind `last`, so that it cannot come any more if it is not here."""
        ends = self.end_lsns(self.of_kind(COMMIT)[-1:])
        return bool(self.lsns[-1] > last.lsn) or any(whole(int(end)) > last for end in ends)


def whole(end_lsn: int) -> Position:
    """The position that stands for everything up to the end of a transaction at `end_lsn`, and for nothing behind it.

    `end_lsn` itself may be the commit LSN of the transaction that follows (debezium/debezium#4152).
    """
    return Position(end_lsn - 1)


class Placer:
    """Places messages as they come in; carries the open transaction and the known tables from one call to the next.

    `append_only` are the tables that are logs; every other one is mirrored.
    """

    def __init__(self, *, append_only: Collection[Relation]) -> None:
        self._append_only = frozenset(append_only)
        self._open: Transaction | None = None
        self._last_lsn = 0
        self._shapes: dict[int, Definition] = {}
        self._truncating = False  # the last change was a Truncate of a mirrored table

    @property
    def in_transaction(self) -> bool:
        return self._open is not None

    def restart(self) -> None:
        """A new connection: the server begins at the start of a transaction, and describes its tables again."""
        self._open = None
        self._last_lsn = 0

    def place(self, messages: Messages, *, after: Position) -> Placed:
        """Changes up to and including `after` are known and not fresh. Raises Corrupt for what cannot follow."""
        kinds = messages.data[messages.starts]
        self._check_kinds(kinds)
        begins, commits = np.flatnonzero(kinds == BEGIN), np.flatnonzero(kinds == COMMIT)
        _check_lengths(messages, begins, BEGIN_BYTES)
        _check_lengths(messages, commits, COMMIT_BYTES)
        carried = self._open or Transaction(0, 0, 0, 0)
        transaction = np.cumsum(kinds == BEGIN)  # 0: the carried one
        lsns = np.append(carried.lsn, messages.numbers(begins, BEGIN_FINAL_LSN, 64))
        times = np.append(carried.time, messages.numbers(begins, BEGIN_TIME, 64))[transaction]
        xids = np.append(carried.xid, messages.numbers(begins, BEGIN_XID, 32))[transaction]
        self._check_order(messages, kinds, transaction, lsns, commits)
        truncates = {int(i): parse_truncated(messages.raw(i)) for i in np.flatnonzero(kinds == TRUNCATE)}
        counts = _count_changes(messages, kinds, truncates)
        before = np.cumsum(counts) - counts
        first = np.append(-carried.next_ordinal, before[begins])
        ordinals = before - first[transaction]
        placed_lsns = lsns[transaction]
        known = (placed_lsns < after.lsn) | ((placed_lsns == after.lsn) & (ordinals <= after.ordinal))
        definitions = {int(i): parse_definition(messages.raw(i)) for i in np.flatnonzero(kinds == RELATION)}
        fences = self._find_fences(kinds, definitions, truncates)
        self._carry(placed_lsns, times, xids, ordinals + counts, open_=len(begins) - len(commits))
        return Placed(
            messages,
            kinds,
            placed_lsns,
            times,
            xids,
            ordinals,
            counts,
            CHANGES[kinds] & ~known,
            definitions,
            fences,
        )

    def _check_kinds(self, kinds: npt.NDArray[np.uint8]) -> None:
        known = KNOWN[kinds]
        if not known.all():
            raise Corrupt(
                f"The replication stream holds a message of an unknown kind: 0x{kinds[np.argmin(known)]:02x}.",
                f"It came after the transaction at {lsn_text(self._last_lsn)}.",
                "Report this with the PostgreSQL version; nothing was confirmed behind it.",
            )

    def _check_order(
        self, messages: Messages, kinds: npt.NDArray[np.uint8], transaction: Ints, lsns: Ints, commits: Ints
    ) -> None:
        """Begin and Commit alternate, changes stand between them, commits are in log order and name their Begin."""
        depth = int(self.in_transaction) + transaction - np.cumsum(kinds == COMMIT)
        nested = ((depth < 0) | (depth > 1)).any()
        outside = (CHANGES[kinds] & (depth != 1)).any()
        rising = np.append(self._last_lsn, lsns[1:])
        backwards = (np.diff(rising) <= 0).any()
        if (
            nested
            or outside
            or backwards
            or (messages.numbers(commits, COMMIT_LSN, 64) != lsns[transaction[commits]]).any()
        ):
            raise Corrupt(
                "The replication stream is out of order.",
                f"After the transaction at {lsn_text(self._last_lsn)}: "
                f"nested {bool(nested)}, change outside {bool(outside)}, backwards {bool(backwards)}.",
                "Report this with the PostgreSQL version; nothing was confirmed behind it.",
            )
        self._last_lsn = int(rising[-1])

    def _find_fences(
        self, kinds: npt.NDArray[np.uint8], definitions: dict[int, Definition], truncates: dict[int, list[int]]
    ) -> list[int]:
        fences = []
        mirrored = np.zeros(len(kinds), np.bool_)
        for index in sorted([*definitions, *truncates]):
            if index in truncates:
                mirrored[index] = any(self._is_mirrored(oid) for oid in truncates[index])
            elif self._define(definitions[index]):
                fences.append(index)
        if truncates or self._truncating:
            changes = np.flatnonzero(CHANGES[kinds])
            alone = np.append(self._truncating, mirrored[changes])
            fences = sorted({*fences, *changes[alone[1:] != alone[:-1]].tolist()})
            self._truncating = bool(alone[-1])
        return fences

    def _is_mirrored(self, oid: int) -> bool:
        return oid not in self._shapes or self._shapes[oid].relation not in self._append_only

    def _define(self, new: Definition) -> bool:
        """Whether a table that was known has another shape from here on."""
        rivals = [d for d in self._shapes.values() if d.oid == new.oid or d.relation == new.relation]
        for rival in rivals:
            del self._shapes[rival.oid]
        self._shapes[new.oid] = new
        return any(rival != new for rival in rivals)

    def _carry(self, lsns: Ints, times: Ints, xids: Ints, next_ordinals: Ints, *, open_: int) -> None:
        if int(self.in_transaction) + open_ == 0:
            self._open = None
        elif len(lsns):
            self._open = Transaction(int(lsns[-1]), int(times[-1]), int(xids[-1]), int(next_ordinals[-1]))
            if self._open.next_ordinal >= ORDINAL_MAX:
                raise Corrupt("A transaction has more changes than can be numbered.", f"More than {ORDINAL_MAX}.")


def _count_changes(messages: Messages, kinds: npt.NDArray[np.uint8], truncates: dict[int, list[int]]) -> Ints:
    counts = CHANGES[kinds].astype(np.int64)
    for index, oids in truncates.items():
        counts[index] = len(oids)
    changed = np.flatnonzero(CHANGES[kinds])
    if (messages.ends[changed] - messages.starts[changed] < CHANGE_OID + 4).any():
        raise Corrupt("A change in the replication stream ends before it names its table.")
    return counts


def _check_lengths(messages: Messages, which: Ints, length: int) -> None:
    if (messages.ends[which] - messages.starts[which] != length).any():
        raise Corrupt(f"A Begin or Commit of the replication stream is not {length} bytes long.")
