"""The rows of many Insert messages of one table, read column by column: NumPy finds the values, Arrow copies them.

A value is found by walking all rows at once, one column at a time: read every row's marker and length, step over every
row's value. The copy is one `take` per column over a zero-copy Arrow array whose offsets are where values begin and
end in the received bytes: its even elements are the values, its odd ones what stands between them. No Python object
is made for a row. Pure, and nothing but Corrupt for bytes that are no rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from headrace.capture.framing import Bytes, Ints, big_endian
from headrace.capture.pgoutput import INSERT_TUPLE, Messages
from headrace.errors import Corrupt

Flags = npt.NDArray[np.bool_]

_NEW = ord("N")
_TEXT, _NULL, _UNCHANGED, _BINARY = (ord(marker) for marker in "tnub")
_TUPLE_HEAD_BYTES = 3  # 'N', then the number of columns
_VALUE_HEAD_BYTES = 5  # the marker, then the length


@dataclass(frozen=True, slots=True)
class Values:
    """One column of many rows, as the bytes that PostgreSQL sent.

    `odd` marks values that came neither as text nor as null, so that there is nothing to read; None: there are none.
    """

    values: pa.BinaryArray
    odd: Flags | None


def read_inserts(messages: Messages, column_count: int) -> list[Values]:
    """All columns of `messages`, which must all be Inserts. Raises Corrupt when one has not that many columns."""
    data, ends = messages.data, messages.ends
    heads = messages.starts + INSERT_TUPLE
    if not (heads + _TUPLE_HEAD_BYTES <= ends).all():
        _fail("it ends before its row begins")
    if not (data[heads] == _NEW).all() or not (big_endian(data, 16)[heads + 1] == column_count).all():
        _fail(f"its row has not the {column_count} columns that its table had")
    places = heads + _TUPLE_HEAD_BYTES
    received = pa.py_buffer(data)
    columns = []
    for _ in range(column_count):
        column, places = _read_column(data, received, places, ends)
        columns.append(column)
    if not (places == ends).all():
        _fail("it goes on behind its last column")
    return columns


def _read_column(data: Bytes, received: pa.Buffer, places: Ints, ends: Ints) -> tuple[Values, Ints]:
    """The column whose markers stand at `places`, and where the next column's do."""
    if not (places < ends).all():
        _fail("it ends before its last column")
    markers = data[places]
    if (markers == _TEXT).all():  # nearly always, and then nothing needs a mask
        if not (places + _VALUE_HEAD_BYTES <= ends).all():
            _fail("it ends inside a length")
        begins = places + _VALUE_HEAD_BYTES
        following = begins + big_endian(data, 32)[places + 1]
        valued, valid, odd = following, None, None
    else:
        begins, following = _step_over(data, places, ends, markers)
        valid = markers == _TEXT
        odd = (markers == _UNCHANGED) | (markers == _BINARY)
        valued = np.where(valid, following, begins)
    if not (following <= ends).all():
        _fail("a value is longer than its message")
    return Values(_copy(received, begins, valued, valid), odd if odd is not None and odd.any() else None), following


def _step_over(data: Bytes, places: Ints, ends: Ints, markers: Bytes) -> tuple[Ints, Ints]:
    """Where the values begin and end when some are null: those are empty, right behind their marker."""
    sized = (markers == _TEXT) | (markers == _BINARY)
    if not (sized | (markers == _NULL) | (markers == _UNCHANGED)).all():
        _fail("a value has an unknown marker")
    if not (places[sized] + _VALUE_HEAD_BYTES <= ends[sized]).all():
        _fail("it ends inside a length")
    begins = places + np.where(sized, _VALUE_HEAD_BYTES, 1)
    following = begins.copy()
    following[sized] += big_endian(data, 32)[places[sized] + 1]
    return begins, following


def _copy(received: pa.Buffer, begins: Ints, ends: Ints, valid: Flags | None) -> pa.BinaryArray:
    count = len(begins)
    offsets = np.empty(2 * count, np.int32)  # a receiving buffer is never larger than 2 GiB
    offsets[0::2] = begins
    offsets[1::2] = ends
    pieces = pa.Array.from_buffers(pa.binary(), 2 * count - 1, [None, pa.py_buffer(offsets), received])
    values = pieces.take(from_numpy(np.arange(0, 2 * count, 2, dtype=np.int32), pa.int32()))
    if valid is None or valid.all():
        return values
    bitmap = pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Array.from_buffers(pa.binary(), count, [bitmap, *values.buffers()[1:]])


def from_numpy(numbers: npt.NDArray[Any], arrow_type: pa.DataType) -> pa.Array:
    """The same numbers as an Arrow array, not copied. `pa.array` would import pandas to look at them."""
    return pa.Array.from_buffers(arrow_type, len(numbers), [None, pa.py_buffer(numbers)])


def _fail(why: str) -> NoReturn:
    raise Corrupt("An Insert of the replication stream cannot be read.", f"In one of them: {why}.", "Report this.")
