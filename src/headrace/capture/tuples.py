"""The rows in many messages about one table, read column by column: NumPy finds the values, Arrow copies them.

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
from headrace.capture.pgoutput import CHANGE_TUPLE, NEW, OLD, OLD_KEY, Messages
from headrace.errors import Corrupt

Flags = npt.NDArray[np.bool_]

_TEXT, _NULL, _UNCHANGED, _BINARY = (ord(marker) for marker in "tnub")
_TUPLE_HEAD_BYTES = 3  # the marker, then the number of columns
_VALUE_HEAD_BYTES = 5  # the marker, then the length


@dataclass(frozen=True, slots=True)
class Values:
    """One column of many rows, as the bytes that PostgreSQL sent; null where it sent none.

    `unchanged` marks large values that an update left as they were, so that they were not sent; `binary` those that
    came in a form that was not asked for. None: there are none.
    """

    values: pa.BinaryArray
    unchanged: Flags | None = None
    binary: Flags | None = None

    def missing(self) -> Ints:
        """Which values there is nothing to read of, though they are not null."""
        flags = [flags for flags in (self.unchanged, self.binary) if flags is not None]
        return np.flatnonzero(np.logical_or.reduce(flags)) if flags else np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Images:
    """The columns of old and of new rows, empty where messages have none, and which old rows are whole, not a key."""

    old: list[Values]
    old_whole: Flags
    new: list[Values]


def read_rows(messages: Messages, column_count: int, *, old: bool, new: bool) -> Images:
    """The tuples of `messages`, which all hold an `old` one, a `new` one, or both. Raises Corrupt when one does not, or
    has not that many columns.
    """
    places = messages.starts + CHANGE_TUPLE
    old_columns, new_columns, old_whole = list[Values](), list[Values](), np.zeros(len(messages), np.bool_)
    if old:
        markers = read_markers(messages, places)
        old_whole = markers == OLD
        if not (old_whole | (markers == OLD_KEY)).all():
            fail("it has no old row")
        old_columns, places = read_tuples(messages, places, column_count)
    if new:
        if not (read_markers(messages, places) == NEW).all():
            fail("it has no new row")
        new_columns, places = read_tuples(messages, places, column_count)
    if not (places == messages.ends).all():
        fail("it goes on behind its last column")
    return Images(old_columns, old_whole, new_columns)


def read_markers(messages: Messages, places: Ints) -> Bytes:
    """What kind of tuple begins at each place: NEW, OLD or OLD_KEY, if the message is right. Raises Corrupt."""
    if not (places < messages.ends).all():
        fail("it ends before its row begins")
    return messages.data[places]


def read_tuples(messages: Messages, places: Ints, column_count: int) -> tuple[list[Values], Ints]:
    """The columns of one tuple of each message, and where it ends. `places` are where the tuples' markers stand.

    Raises Corrupt when one has not that many columns.
    """
    data, ends = messages.data, messages.ends
    if not (places + _TUPLE_HEAD_BYTES <= ends).all():
        fail("it ends before its row begins")
    if not (big_endian(data, 16)[places + 1] == column_count).all():
        fail(f"its row has not the {column_count} columns that its table had")
    places = places + _TUPLE_HEAD_BYTES
    received = pa.py_buffer(data)
    columns = []
    for _ in range(column_count):
        column, places = _read_column(data, received, places, ends)
        columns.append(column)
    return columns, places


def _read_column(data: Bytes, received: pa.Buffer, places: Ints, ends: Ints) -> tuple[Values, Ints]:
    """The column whose markers stand at `places`, and where the next column's do."""
    if not (places < ends).all():
        fail("it ends before its last column")
    markers = data[places]
    if (markers == _TEXT).all():  # nearly always, and then nothing needs a mask
        if not (places + _VALUE_HEAD_BYTES <= ends).all():
            fail("it ends inside a length")
        begins = places + _VALUE_HEAD_BYTES
        following = begins + big_endian(data, 32)[places + 1]
        valued, valid, unchanged, binary = following, None, None, None
    else:
        begins, following = _step_over(data, places, ends, markers)
        valid = markers == _TEXT
        unchanged, binary = _any(markers == _UNCHANGED), _any(markers == _BINARY)
        valued = np.where(valid, following, begins)
    if not (following <= ends).all():
        fail("a value is longer than its message")
    return Values(_copy(received, begins, valued, valid), unchanged, binary), following


def _any(flags: Flags) -> Flags | None:
    return flags if flags.any() else None


def _step_over(data: Bytes, places: Ints, ends: Ints, markers: Bytes) -> tuple[Ints, Ints]:
    """Where the values begin and end when some are null: those are empty, right behind their marker."""
    sized = (markers == _TEXT) | (markers == _BINARY)
    if not (sized | (markers == _NULL) | (markers == _UNCHANGED)).all():
        fail("a value has an unknown marker")
    if not (places[sized] + _VALUE_HEAD_BYTES <= ends[sized]).all():
        fail("it ends inside a length")
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


def fail(why: str) -> NoReturn:
    raise Corrupt("A change of the replication stream cannot be read.", f"In one of them: {why}.", "Report this.")
