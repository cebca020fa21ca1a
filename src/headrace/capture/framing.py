"""Where the messages of PostgreSQL's wire protocol begin in a buffer of received bytes, found for all at once.

A loop over the length words costs half a second of CPU for a million messages. Nearly all messages of a replication
stream look alike (`d`, a length under 16 MiB, `w`), so NumPy finds every place that looks like such a head, and the
lengths then prove which of them are heads: each message must end where the next one begins. That takes a quarter of
the time. Pure: no I/O here, and nothing that knows what a message means.
"""

from __future__ import annotations

from struct import Struct
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from headrace.errors import Corrupt

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]

HEAD_BYTES = 5
"""The kind, then the length of what follows, which counts its own four bytes."""

WAL_HEAD_BYTES = HEAD_BYTES + 25
"""Of WAL data: 'd' and length, then 'w', where the data starts and ends in the log, and the server's clock."""

_HEAD = Struct(">BI")
_COPY_DATA, _WAL_DATA = ord("d"), ord("w")
_LOOK_BYTES = HEAD_BYTES + 1


def big_endian(data: Bytes, bits: int) -> npt.NDArray[Any]:
    """A view of `data` that holds at every index the unsigned big-endian number that begins at that byte."""
    width = bits // 8
    return np.ndarray((max(0, len(data) - width + 1),), dtype=f">u{width}", buffer=data, strides=(1,))


class Found(NamedTuple):
    """The complete messages of a window. `starts` and `ends` are those of WAL data, heads included; `others` are the
    bounds of all other messages; at `rest` the first incomplete one begins.
    """

    starts: Ints
    ends: Ints
    others: list[tuple[int, int]]
    rest: int


def find_messages(data: Bytes, begin: int, end: int) -> Found:
    """The complete messages in `data[begin:end]`; one must start at `begin`. Corrupt for an impossible length."""
    return _find(data, begin, end, WAL_HEAD_BYTES, _WAL_DATA)


def find_copy_data(data: Bytes, begin: int, end: int) -> Found:
    """As `find_messages`, where CopyData is a COPY's and has no head of its own: `starts` and `ends` are all of it."""
    return _find(data, begin, end, HEAD_BYTES, None)


def _find(data: Bytes, begin: int, end: int, bytes_min: int, marker: int | None) -> Found:
    """Tells apart CopyData of at least `bytes_min` bytes that begins with `marker`, and all other messages."""
    starts, ends = _likely(data, begin, end, bytes_min, marker)
    breaks = np.flatnonzero(ends[:-1] != starts[1:])
    if not len(breaks) and len(starts) and starts[0] == begin and ends[-1] == end:  # the common case, and much cheaper
        return Found(starts, ends, [], end)
    runs: list[tuple[Ints, Ints]] = []
    others: list[tuple[int, int]] = []
    at = begin
    while True:
        index = int(np.searchsorted(starts, at))
        if index < len(starts) and starts[index] == at:
            after = int(np.searchsorted(breaks, index))
            stop = int(breaks[after]) + 1 if after < len(breaks) else len(starts)
            runs.append((starts[index:stop], ends[index:stop]))
            at = int(ends[stop - 1])
            continue
        length = message_bytes(data, at, end)
        if length is None or at + length > end:
            return Found(_concatenate([run[0] for run in runs]), _concatenate([run[1] for run in runs]), others, at)
        marked = length > bytes_min and (marker is None or data[at + HEAD_BYTES] == marker)
        if marked and data[at] == _COPY_DATA:
            runs.append((np.array([at]), np.array([at + length])))  # 16 MiB or more
        else:
            others.append((at, at + length))
        at += length


def message_bytes(data: Bytes, at: int, end: int) -> int | None:
    """How long the message at `at` is, its head included; None while its head is incomplete."""
    if at + HEAD_BYTES > end:
        return None
    kind, length = _HEAD.unpack(data[at : at + HEAD_BYTES].tobytes())
    if length < HEAD_BYTES - 1:
        raise Corrupt("PostgreSQL sent a message of impossible length.", f"Kind 0x{kind:02x}, length {length}.")
    return 1 + int(length)


def _likely(data: Bytes, begin: int, end: int, bytes_min: int, marker: int | None) -> tuple[Ints, Ints]:
    """Every place that looks like such a message, complete, and where it would end. Some are a coincidence."""
    window = data[begin:end]
    if len(window) < _LOOK_BYTES:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    alike = window[: 1 - _LOOK_BYTES] == _COPY_DATA
    alike &= window[1 : 2 - _LOOK_BYTES] == 0
    starts = np.flatnonzero(alike)
    if marker is not None:
        starts = starts[window[starts + HEAD_BYTES] == marker]
    lengths = big_endian(window, 32)[starts + 1].astype(np.int64)
    following = starts + 1 + lengths
    real = (lengths >= bytes_min) & (following <= len(window))
    return starts[real] + begin, following[real] + begin


def _concatenate(pieces: list[Ints]) -> Ints:
    return np.concatenate(pieces) if pieces else np.empty(0, np.int64)
