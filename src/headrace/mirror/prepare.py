"""Captured changes as the staging table takes them: each with the row that it began from. Columns in, columns out.

The root of a change is the key that its row had before the first change of the batch. Without changes of keys it is
the change's own key, found for all changes at once. A change of a key carries the root on to the new key; those rows
alone are walked one by one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from headrace.bus.batch import Changes
from headrace.mirror.staged import DELETE, INSERT, UPDATE

_TAKEN = ("_kind", "_lsn", "_ordinal", "_xid", "_committed_at", "_unchanged")
Key = tuple[bytes | None, ...]


def prepare(changes: Changes, key_places: Sequence[int]) -> pa.Table:
    """The columns of `staged.STAGED`, then `c<n>` for each column and `root<n>` for each column of the key.

    Without a key: `o<n>` of the old row instead of roots.
    """
    rows = changes.rows
    if not key_places:
        return _prepare_keyless(changes)
    deletes = pc.equal(rows["_kind"], DELETE)
    values = [rows[f"new_{place}"] for place in range(len(changes.definition.columns))]
    for place in key_places:
        values[place] = pc.if_else(deletes, rows[f"old_{place}"], values[place])
    keys = [values[place] for place in key_places]
    moved = _moved(rows, key_places)
    roots, chains = keys, pa.repeat(pa.scalar(0, pa.uint32()), rows.num_rows)
    if pc.any(moved).as_py():
        roots, chains = _walk(rows, keys, [rows[f"old_{place}"] for place in key_places], moved)
    table = {name: rows[name] for name in _TAKEN}
    table |= {"_moved": moved.cast(pa.uint8()), "_chain": chains}
    table |= {f"c{place}": column for place, column in enumerate(values)}
    table |= {f"root{place}": root for place, root in zip(key_places, roots, strict=True)}
    return pa.table(table)


def has_incomplete_inserts(changes: Changes, floor_lsn: int) -> bool:
    """Whether a new row, from a place in the log on, lacks values that "did not change".

    PostgreSQL writes such an insert for an update that moves a row into the condition of its publication, while a large
    value stays where it was stored (TOAST).
    """
    rows = changes.rows
    inserts = pc.and_(pc.equal(rows["_kind"], INSERT), pc.greater_equal(rows["_lsn"], floor_lsn))
    incomplete = pc.greater(pc.list_value_length(rows["_unchanged"]), 0)
    return bool(pc.any(pc.and_(incomplete, inserts)).as_py())


def _prepare_keyless(changes: Changes) -> pa.Table:
    rows = changes.rows
    none = pa.repeat(pa.scalar(0, pa.uint32()), rows.num_rows)
    table = {name: rows[name] for name in _TAKEN} | {"_moved": none.cast(pa.uint8()), "_chain": none}
    absent = pa.nulls(rows.num_rows, pa.binary())
    for place in range(len(changes.definition.columns)):
        table[f"c{place}"] = rows[f"new_{place}"]
        old = f"old_{place}"
        table[f"o{place}"] = rows[old] if old in rows.column_names else absent
    return pa.table(table)


def _moved(rows: pa.Table, key_places: Sequence[int]) -> pa.ChunkedArray:
    """Which changes give their row another key."""
    updates = pc.and_(pc.equal(rows["_kind"], UPDATE), rows["_has_old"])
    differ = pc.equal(rows["_kind"], 0)
    for place in key_places:
        differ = pc.or_(differ, pc.fill_null(pc.not_equal(rows[f"old_{place}"], rows[f"new_{place}"]), False))
    return pc.and_(updates, differ)


def _walk(
    rows: pa.Table, keys: Sequence[pa.ChunkedArray], old_keys: Sequence[pa.ChunkedArray], moved: pa.ChunkedArray
) -> tuple[list[pa.Array], pa.Array]:
    """Roots and chains. A chain other than 0 begins with an insert in this batch, so nothing stood before it."""
    is_moved = moved.to_numpy()
    touched = _touched(keys, old_keys, moved)
    which = np.flatnonzero(touched)
    order = np.lexsort((rows["_ordinal"].to_numpy()[which], rows["_lsn"].to_numpy()[which]))
    which = which[order]
    kinds = rows["_kind"].to_numpy()[which]
    taken = pa.array(which)
    new_rows = _tuples(keys, taken)
    old_rows = _tuples(old_keys, taken)
    current: dict[Key, tuple[Key, int]] = {}
    found: list[tuple[Key, int]] = []
    chains = 0
    for kind, is_move, new, old in zip(kinds, is_moved[which], new_rows, old_rows, strict=True):
        if kind == INSERT:
            chains += 1
            place = current[new] = (new, chains)
        elif kind == DELETE:
            place = current.pop(new, (new, 0))
        elif is_move:
            place = current[new] = current.pop(old, (old, 0))
        else:
            place = current.setdefault(new, (new, 0))
        found.append(place)
    chain = np.zeros(rows.num_rows, np.uint32)
    chain[which] = [number for _, number in found]
    back = np.full(rows.num_rows, -1, np.int64)
    back[which] = np.arange(len(which))
    replaced = pa.array(back >= 0)
    at = pa.array(np.maximum(back, 0))
    roots = []
    for part, column in enumerate(keys):
        walked = pa.array([root[part] for root, _ in found], pa.binary()).take(at)
        roots.append(pc.if_else(replaced, walked, column))
    return roots, pa.array(chain)


def _touched(
    keys: Sequence[pa.ChunkedArray], old_keys: Sequence[pa.ChunkedArray], moved: pa.ChunkedArray
) -> npt.NDArray[np.bool_]:
    """Which changes have a key that some change of a key had, before or after. By its first column: a few too many."""
    first = pa.chunked_array([*keys[0].filter(moved).chunks, *old_keys[0].filter(moved).chunks], pa.binary())
    touched: npt.NDArray[np.bool_] = pc.is_in(keys[0], value_set=first.unique()).to_numpy()
    touched |= moved.to_numpy()
    return touched


def _tuples(columns: Sequence[pa.ChunkedArray], which: pa.Array) -> list[Key]:
    return list(zip(*(column.take(which).to_pylist() for column in columns), strict=True))
