"""Images: what rows were before and after each staged change, computed in ClickHouse. Text in, text out.

What a row is after a change is also the image before the next one. So the next change is brought to the values, which
are many, and no value moves. Of a change whose left-out values nobody knows no image can be made: a later change of the
row has them, or it is read again (`doubt`).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from headrace.mirror.shape import Shape
from headrace.mirror.staged import DELETE, IN_SLICE, INSERT, PLACE, UPDATE, escaped, quoted

# The kind of a row that changes begin from: as a change that comes before them.
_STOOD: Final = 0
_CHANGE: Final = ("_kind", "_lsn", "_ordinal", "_batch", "_xid", "_committed_at", "_moved")
_NO_CHANGE: Final = (
    f"toUInt8({_STOOD}) AS _kind, toUInt64(0) AS _lsn, toUInt32(0) AS _ordinal, toUInt64(0) AS _batch, "
    "toUInt32(0) AS _xid, toDateTime64(0, 6, 'UTC') AS _committed_at, toUInt8(0) AS _moved, "
    "CAST([], 'Array(UInt16)') AS _unchanged, toUInt32(0) AS _chain"
)


def select_images(shape: Shape, staging: str, rows: str, *, fill: Collection[int]) -> str:
    """The images of a slice. Columns: the values as `c<n>`, then `operation`, `sign`, `lsn`, `ordinal`, `batch`,
    `xid` and `committed_at`.

    `staging` and `rows` are tables. `fill`: the places of the columns whose values some change left out.
    """
    operation = (
        f"multiIf(sign < 0, if(next_kind = {DELETE} OR next_moved, 'delete', 'update_before'), "
        f"_kind = {INSERT} OR NOT was_there OR _moved, 'insert', 'update_after')"
    )
    # The image before a change stands with the change that left it behind.
    told = ("lsn", "ordinal", "batch", "xid", "committed_at")
    change = ", ".join(f"if(sign < 0, next_{name}, _{name}) AS {name}" for name in told)
    begins = f"_known AND _kind IN ({INSERT}, {UPDATE})"
    ends = f"is_there AND (next_kind = {DELETE} OR (next_kind = {UPDATE} AND next_known))"
    signs = f"arrayConcat(if({begins}, [toInt8(1)], []), if({ends}, [toInt8(-1)], []))"
    paired = _paired(shape, _filled(shape, _staged(shape, staging, rows), fill))
    # In a SELECT of its own: what uses an alias is planned with all that it stands for, each time.
    signed = f"SELECT *, arrayJoin({signs}) AS sign FROM ({paired})"
    return f"SELECT {_values(shape)}, {operation} AS operation, sign, {change} FROM ({signed})"


def _paired(shape: Shape, filled: str) -> str:
    """Each change with the next one of its row, and whether the row was there before."""
    beside = f"OVER ({_by_row(shape)} ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING)"
    following = ", ".join(f"leadInFrame({name}, 1) {beside} AS next{name}" for name in (*_CHANGE, "_known"))
    return f"SELECT *, {following}, lagInFrame(is_there, 1) {beside} AS was_there FROM ({filled})"


def _filled(shape: Shape, staged: str, fill: Collection[int]) -> str:
    """The changes with the values that they left out, and whether those are known."""
    so_far = f"OVER ({_by_row(shape)} ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"
    fillable = sorted(set(fill) - set(shape.key_places))
    values = ", ".join(
        f"argMaxIf(tuple(staged.c{place}), tuple({PLACE}), {_present(place)}) {so_far}.1 AS c{place}"
        for place in fillable
    )
    replaced = f" REPLACE ({values})" if values else ""
    known = " AND ".join(f"countIf({_present(place)}) {so_far} > 0" for place in fillable) or "1"
    return f"SELECT *{replaced}, {known} AS _known, _known AND _kind != {DELETE} AS is_there FROM ({staged}) AS staged"


def _staged(shape: Shape, staging: str, rows: str) -> str:
    """The changes of the slice, and the rows that they begin from, as changes that come before all others."""
    roots = ", ".join(_roots(shape))
    listed = f"{_values(shape)}, {roots}, {', '.join(_CHANGE)}, _unchanged, _chain"
    taken = f"{staging} WHERE {IN_SLICE}"
    begun = f"SELECT {roots} FROM {taken} AND _kind != {INSERT} AND _chain = 0"
    # Columns are qualified: an alias of ours must not be taken for one of theirs.
    values = [f"stood.{quoted(column.name)}" for column in shape.columns]
    key = [values[place] for place in shape.key_places]
    for place in shape.key_places:  # which are nullable in the staging table
        values[place] = f"CAST({values[place]}, '{escaped(shape.columns[place].declared(key=False))}')"
    stood = [f"{value} AS c{place}" for place, value in enumerate(values)]
    stood += [f"{name} AS {root}" for name, root in zip(key, _roots(shape), strict=True)]
    return (
        f"SELECT {listed} FROM {taken} LIMIT 1 BY {PLACE} UNION ALL "
        f"SELECT {', '.join(stood)}, {_NO_CHANGE} FROM {rows} AS stood FINAL WHERE ({', '.join(key)}) IN ({begun})"
    )


def _by_row(shape: Shape) -> str:
    return f"PARTITION BY {', '.join(_roots(shape))}, _chain ORDER BY {PLACE}"


def _roots(shape: Shape) -> list[str]:
    return [f"root{place}" for place in shape.key_places]


def _values(shape: Shape) -> str:
    return ", ".join(f"c{place}" for place in range(len(shape.columns)))


def _present(place: int) -> str:
    return f"NOT has(_unchanged, {place})"
