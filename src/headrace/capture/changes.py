"""Changes of one mirrored table, as columns of text: messages of one form hold the same tuples; they are read at once.

Nothing is cast here: the text means the same in a copy of the table, and one reader of it serves both. Pure.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.bus.batch import Definition, Undecodable
from headrace.capture.framing import Ints
from headrace.capture.personal import Protection
from headrace.capture.pgoutput import CHANGE_TUPLE, DELETE, EPOCH, INSERT, OLD, OLD_KEY, UPDATE
from headrace.capture.places import Placed
from headrace.capture.set_aside import set_aside
from headrace.capture.tuples import Flags, Images, fail, from_numpy, read_markers, read_rows

_EPOCH_US = (EPOCH - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


class Form(NamedTuple):
    """What a message holds: changes of one `kind`, with or without an `old` tuple. A delete alone has no new one."""

    kind: int
    old: bool


FORMS = (Form(INSERT, old=False), Form(UPDATE, old=False), Form(UPDATE, old=True), Form(DELETE, old=True))


def split_forms(placed: Placed, which: Ints) -> list[Ints]:
    """The messages `which`, inserts, updates and deletes, in the order of FORMS. Raises Corrupt for any other form."""
    kinds = placed.kinds[which]
    markers = read_markers(placed.messages.select(which), placed.messages.starts[which] + CHANGE_TUPLE)
    old = (markers == OLD) | (markers == OLD_KEY)
    groups = [which[(kinds == form.kind) & (old == form.old)] for form in FORMS]
    if sum(map(len, groups)) != len(which):
        fail("it holds an old row where none can be, or none where one must be")
    return groups


def read_changes(
    definition: Definition, placed: Placed, which: Ints, form: Form, protection: Protection | None = None
) -> tuple[pa.RecordBatch, list[Undecodable]]:
    """The changes `which` of one form, as `Changes` describes them, and those that cannot be read. Raises Corrupt.

    With a `protection` they are those of its definition.
    """
    messages = placed.messages.select(which)
    images = read_rows(messages, len(definition.columns), old=form.old, new=form.kind != DELETE)
    if protection is not None:
        definition, images = protection.definition, protection.apply(images)
    count, none = len(which), pa.nulls(len(which), pa.binary())
    new, unchanged = _fill(definition, images)
    columns = {
        "_kind": pa.repeat(pa.scalar(form.kind, pa.uint8()), count),
        "_lsn": from_numpy(placed.lsns[which].astype(np.uint64), pa.uint64()),
        "_ordinal": from_numpy(placed.ordinals[which].astype(np.uint32), pa.uint32()),
        "_xid": from_numpy(placed.xids[which].astype(np.uint32), pa.uint32()),
        "_committed_at": from_numpy(placed.times[which] + _EPOCH_US, pa.timestamp("us", "UTC")),
        "_unchanged": _list_indexes(unchanged, count),
    }
    for index in range(len(definition.columns)):
        columns[f"new_{index}"] = new[index] if new else none
    columns["_has_old"] = pa.repeat(pa.scalar(form.old), count)
    for index in definition.old_columns:
        columns[f"old_{index}"] = images.old[index].values if form.old else none
    rows = pa.RecordBatch.from_pydict(columns)
    return set_aside(
        rows,
        _find_unreadable(definition, images),
        definition=definition,
        placed=placed,
        which=which,
        personal=protection is not None,
    )


def _fill(definition: Definition, images: Images) -> tuple[list[pa.BinaryArray], dict[int, Flags]]:
    """The new values, with unchanged ones out of the old rows; and those left without a value, by column.

    An old row can be a key alone: when the key changed, or has a large value, which is left out of the new row then.
    """
    new, unchanged = [column.values for column in images.new], dict[int, Flags]()
    for index, column in enumerate(images.new):
        if column.unchanged is None:
            continue
        unchanged[index] = column.unchanged
        if images.old:
            known = images.old_whole | definition.columns[index].key
            new[index] = pc.if_else(pa.array(column.unchanged & known), images.old[index].values, column.values)
            unchanged[index] = column.unchanged & ~known
    return new, unchanged


def _list_indexes(unchanged: dict[int, Flags], count: int) -> pa.ListArray:
    """For each of `count` rows the columns that are flagged in it."""
    flags = np.zeros((count, len(unchanged)), np.bool_)
    for place, column in enumerate(unchanged.values()):
        flags[:, place] = column
    indexes = np.array(list(unchanged), np.uint16)[np.nonzero(flags)[1]]
    offsets = np.append(0, np.cumsum(flags.sum(axis=1))).astype(np.int32)
    return pa.ListArray.from_arrays(from_numpy(offsets, pa.int32()), from_numpy(indexes, pa.uint16()))


def _find_unreadable(definition: Definition, images: Images) -> dict[int, str]:
    """Why rows cannot be handed on, by index. PostgreSQL is known to send only the last of these."""
    reasons: dict[int, str] = {}
    for column, new in zip(definition.columns, images.new, strict=bool(images.new)):
        for index in np.flatnonzero(new.binary) if new.binary is not None else ():
            reasons.setdefault(int(index), f"Column {column.name} came without its value.")
    for column, old in zip(definition.columns, images.old, strict=bool(images.old)):
        for index in old.missing():
            reasons.setdefault(int(index), f"Column {column.name} of the old row came without its value.")
    if images.old and definition.identity == "f":
        # A partition keeps a replica identity of its own, and its root's is what the definition says.
        for index in np.flatnonzero(~images.old_whole):
            reasons.setdefault(int(index), "The old row is only a key, though the table's replica identity is FULL.")
    return reasons
