"""Cutting the stream of messages into batches: whole transactions while they fit, numbered pieces of a giant one.

A batch also ends where a table gets another shape, so that it holds one shape of each table and whoever loads it can
change the target in between; and right before and behind truncations of mirrored tables, which stand alone. The same
log, cut with the same bounds, gives the same batch: that is what makes a crash repeatable. Pure: it neither reads nor
waits, and it holds what it was fed until a batch took it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from headrace.bus.batch import Batch, Definition, Relation
from headrace.capture.contents import Contents
from headrace.capture.personal import Personal
from headrace.capture.pgoutput import COMMIT, Messages, moment
from headrace.capture.places import Placed, Placer, whole
from headrace.errors import Corrupt
from headrace.events.position import Position


class _Cut(NamedTuple):
    """The first `parts` of what is pending, and the first `messages` messages of the part behind them."""

    parts: int
    messages: int


class Assembler:
    """Makes batches out of messages. `after` is the last position handed out; changes up to it are passed over.

    `append_only` are the logs, whose inserts become typed rows; every other table is mirrored.
    """

    def __init__(
        self,
        *,
        after: Position,
        rows_max: int,
        bytes_max: int,
        append_only: Collection[Relation],
        personal: Personal | None = None,
    ) -> None:
        self.after = after
        self._personal = Personal({}) if personal is None else personal
        self._rows_max = rows_max
        self._bytes_max = bytes_max
        self._append_only = append_only
        self._placer = Placer(append_only=append_only)
        self._pending: list[Placed] = []
        self._definitions: dict[int, Definition] = {}

    @property
    def idle(self) -> bool:
        """Everything that was fed is handed out, and no transaction is open."""
        return not self._pending and not self._placer.in_transaction

    @property
    def full(self) -> bool:
        """What was fed is as much as a batch may be."""
        rows = sum(int(placed.fresh.sum()) for placed in self._pending)
        size = sum(int(placed.messages.ends[-1] - placed.messages.starts[0]) for placed in self._pending)
        return rows >= self._rows_max or size >= self._bytes_max

    @property
    def late_s(self) -> float:
        """How long after its commit the first change that was not handed out was followed by the last that was fed, by
        the server's clock. Only of messages with their heads before them.
        """
        if not self._pending:
            return 0.0
        final = self._pending[-1]
        return float(final.messages.sent_at(len(final) - 1) - self._pending[0].times[0]) / 1e6

    def buffers(self) -> set[int]:
        """The ids of the receive buffers that pending messages still lie in."""
        return {id(placed.messages.data) for placed in self._pending}

    def restart(self) -> None:
        """A new connection, which begins at or before `after`: forget what was not handed out."""
        self._pending.clear()
        self._placer.restart()

    def feed(self, messages: Messages) -> None:
        """Take more messages, in the order received. Raises Corrupt."""
        if len(messages):
            self._pending.append(self._placer.place(messages, after=self.after))

    def next(self, *, last: Position | None = None, full: bool = False) -> Batch | None:
        """The next batch; None when more must be fed first. Transactions without a change only move `after` on.

        `last` asks for the batch that ends exactly there, whatever the limits. `full` says that nothing more fits
        into memory: a piece of a transaction is then better than waiting for its end. Raises Corrupt when the stream
        has no place `last`.
        """
        while True:
            cut = self._cut_within_limits(full) if last is None else self._cut_at(last)
            if cut is None:
                return None
            if batch := self._assemble(self._take(cut)):
                return batch

    def _cut_within_limits(self, full: bool) -> _Cut | None:
        rows = size = 0
        best: _Cut | None = None
        for part, placed in enumerate(self._pending):
            row_counts = rows + np.cumsum(placed.fresh)
            sizes = size + placed.messages.ends - placed.messages.starts[0]
            fits = (row_counts <= self._rows_max) & (sizes <= self._bytes_max)
            count = len(fits) if fits.all() else int(np.argmin(fits))
            # Where nothing stands before a fence there is nothing to cut off.
            fences = (fence for fence in placed.fences if fence < count)
            count = next((fence for fence in fences if best or row_counts[fence] > placed.fresh[fence]), count)
            commits = placed.of_kind(COMMIT)
            before = int(np.searchsorted(commits, count))
            if before:
                best = _Cut(part, int(commits[before - 1]) + 1)
            if count < len(placed):
                # One message that is larger than all limits still has to pass.
                return best or _Cut(part, count if part or count else 1)
            rows, size = int(row_counts[-1]), int(sizes[-1])
        if best is None and full and self._pending:
            return _Cut(len(self._pending), 0)
        return best

    def _cut_at(self, last: Position) -> _Cut | None:
        for part, placed in enumerate(self._pending):
            found = placed.find(last)
            if found is not None:
                return _Cut(part, found + 1)
            if placed.passes(last):
                raise Corrupt(
                    f"The log has no place {last}, where an unfinished batch was planned to end.",
                    f"It goes on behind {self.after} to {Position(int(placed.lsns[-1]), int(placed.ordinals[-1]))}.",
                    "Was the publication changed? Stop the worker and run `headrace recover`.",
                )
        return None

    def _take(self, cut: _Cut) -> list[Placed]:
        taken, rest = self._pending[: cut.parts], self._pending[cut.parts :]
        if rest and cut.messages:
            taken.append(rest[0].cut(0, cut.messages))
            rest[0] = rest[0].cut(cut.messages, len(rest[0]))
        self._pending = [placed for placed in rest if len(placed)]
        return [placed for placed in taken if len(placed)]

    def _assemble(self, taken: list[Placed]) -> Batch | None:
        for placed in taken:
            for definition in placed.definitions.values():
                self._definitions[definition.oid] = definition
        final = taken[-1]
        end_lsn = int(final.end_lsns(final.of_kind(COMMIT)[-1:])[0]) if final.kinds[-1] == COMMIT else 0
        if end_lsn:
            self.after = max(self.after, whole(end_lsn))
        changed = [placed for placed in taken if placed.fresh.any()]
        if not changed:
            return None
        begin, end = int(np.argmax(changed[0].fresh)), int(np.flatnonzero(changed[-1].fresh)[-1])
        first = Position(int(changed[0].lsns[begin]), int(changed[0].ordinals[begin]))
        if not end_lsn:
            self.after = Position(int(changed[-1].lsns[end]), changed[-1].last_ordinal(end))
        contents = Contents(find_definition=self._definition, append_only=self._append_only, personal=self._personal)
        for placed in changed:
            contents.add(placed)
        return Batch(
            first=first,
            last=self.after,
            confirm_lsn=end_lsn,
            committed_at=moment(int(final.times[-1])),
            transactions=sum(int((placed.lsns[placed.of_kind(COMMIT)] >= first.lsn).sum()) for placed in taken),
            inserts=contents.inserts,
            undecodable=contents.undecodable,
            changes=contents.changes,
            truncated=contents.truncated,
        )

    def _definition(self, oid: int) -> Definition:
        if oid not in self._definitions:
            raise Corrupt("The replication stream changes a table that it did not describe.", f"Its oid is {oid}.")
        return self._definitions[oid]
