"""What a batch holds: the rows of its messages, table by table. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

import numpy as np
import pyarrow as pa

from headrace.bus.batch import Changes, Definition, Relation, Truncated, Undecodable
from headrace.capture.changes import FORMS, read_changes, split_forms
from headrace.capture.framing import Ints
from headrace.capture.inserts import read_inserts
from headrace.capture.personal import Personal
from headrace.capture.pgoutput import CHANGE_OID, DELETE, INSERT, TRUNCATE, UPDATE, parse_truncated
from headrace.capture.places import Placed
from headrace.capture.set_aside import refuse
from headrace.events.position import Position

_REASONS = {
    UPDATE: "A row was updated: the log is append-only.",
    DELETE: "A row was deleted: the log is append-only.",
    TRUNCATE: "The table was truncated: the log is append-only.",
}


class Contents:
    """Gathers the fresh changes of messages, fed in order, as the fields of a batch.

    `find_definition` gives the one shape that a table, by oid, has in all of them. `append_only` are the logs: what is
    no insert there is undecodable. Every other table is mirrored, without the values of its `personal` columns.
    """

    def __init__(
        self,
        *,
        find_definition: Callable[[int], Definition],
        append_only: Collection[Relation],
        personal: Personal,
    ) -> None:
        self._find_definition = find_definition
        self._append_only = append_only
        self._personal = personal
        self._withheld: dict[Definition, str] = {}
        self._inserts: dict[Relation, list[pa.RecordBatch]] = {}
        self._changes: dict[Definition, list[list[pa.RecordBatch]]] = {}
        self._undecodable: list[Undecodable] = []
        self.truncated: list[Truncated] = []

    def add(self, placed: Placed) -> None:
        """Raises Corrupt for bytes that are no change."""
        for definition, which in self._split_tables(placed):
            if definition.relation in self._append_only:
                self._add_to_log(definition, placed, which)
            else:
                self._add_to_mirror(definition, placed, which)
        for index in np.flatnonzero(placed.fresh & (placed.kinds == TRUNCATE)):
            self._add_truncate(placed, int(index))

    @property
    def inserts(self) -> dict[Relation, pa.Table]:
        return {relation: pa.Table.from_batches(pieces) for relation, pieces in self._inserts.items()}

    @property
    def changes(self) -> dict[Relation, Changes]:
        """Form by form, so that the order of rows does not depend on how the messages were received."""
        return {
            definition.relation: Changes(
                definition,
                pa.Table.from_batches([piece for form in forms for piece in form]),
                self._withheld.get(definition, ""),
            )
            for definition, forms in self._changes.items()
        }

    @property
    def undecodable(self) -> list[Undecodable]:
        return sorted(self._undecodable, key=lambda change: change.position)

    def _split_tables(self, placed: Placed) -> Iterator[tuple[Definition, Ints]]:
        which = np.flatnonzero(placed.fresh & (placed.kinds != TRUNCATE))
        oids = placed.messages.numbers(which, CHANGE_OID, 32)
        for oid in np.unique(oids):
            yield self._find_definition(int(oid)), which[oids == oid]

    def _add_to_log(self, definition: Definition, placed: Placed, which: Ints) -> None:
        is_insert = placed.kinds[which] == INSERT
        if is_insert.any():
            rows, refused = read_inserts(definition, placed, which[is_insert])
            self._inserts.setdefault(definition.relation, []).append(rows)
            self._undecodable += refused
        self._undecodable += [
            refuse(definition, placed, int(index), _REASONS[int(placed.kinds[index])]) for index in which[~is_insert]
        ]

    def _add_to_mirror(self, definition: Definition, placed: Placed, which: Ints) -> None:
        protection = self._personal.of_stream(definition)
        handed_on = protection.definition if protection else definition
        if protection and protection.withheld:
            self._withheld[handed_on] = protection.withheld
        pieces = self._changes.setdefault(handed_on, [[] for _ in FORMS])
        for form, group, piece in zip(FORMS, split_forms(placed, which), pieces, strict=True):
            if len(group):
                rows, refused = read_changes(definition, placed, group, form, protection)
                piece.append(rows)
                self._undecodable += refused

    def _add_truncate(self, placed: Placed, index: int) -> None:
        for offset, oid in enumerate(parse_truncated(placed.messages.raw(index))):
            definition = self._find_definition(oid)
            if definition.relation in self._append_only:
                self._undecodable.append(refuse(definition, placed, index, _REASONS[TRUNCATE], offset=offset))
            else:
                position = Position(int(placed.lsns[index]), int(placed.ordinals[index]) + offset)
                self.truncated.append(Truncated(definition, position))
