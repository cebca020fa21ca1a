"""Which Arrow type a PostgreSQL type becomes, and how its text is read.

Types that are not named here stay text, exactly as PostgreSQL writes them: numeric, json, uuid, arrays, ranges, enums
and every extension's. The session that sends them has TimeZone UTC and DateStyle ISO. Pure.
"""

from __future__ import annotations

import binascii

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.capture.framing import Ints

SESSION = {
    "TimeZone": "UTC",
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
}
"""Settings that the text of values depends on, to be set where they are sent."""

_BOOL, _BYTEA = 16, 17
_TYPES: dict[int, tuple[str, pa.DataType]] = {
    _BOOL: ("boolean", pa.bool_()),
    _BYTEA: ("bytea", pa.binary()),
    20: ("bigint", pa.int64()),
    21: ("smallint", pa.int16()),
    23: ("integer", pa.int32()),
    26: ("oid", pa.uint32()),
    700: ("real", pa.float32()),
    701: ("double precision", pa.float64()),
    1082: ("date", pa.date32()),
    1114: ("timestamp", pa.timestamp("us")),
    1184: ("timestamptz", pa.timestamp("us", "UTC")),
}


def arrow_type(oid: int) -> pa.DataType:
    """The Arrow type of a column of the PostgreSQL type `oid`."""
    return _TYPES[oid][1] if oid in _TYPES else pa.string()


def type_name(oid: int) -> str:
    """What to call it in a message."""
    return _TYPES[oid][0] if oid in _TYPES else "text"


def read_values(texts: pa.BinaryArray, oid: int) -> tuple[pa.Array, Ints]:
    """The values of one column, and the indices of those that its Arrow type cannot hold; these are null instead.

    Such are infinite times, years before 1 or after 9999, and text that is not UTF-8 from an SQL_ASCII database.
    """
    try:
        return _cast(texts, oid), np.empty(0, np.int64)
    except (pa.ArrowInvalid, ValueError):
        bad = np.array(_failing(texts, oid), np.int64)
    keep = np.ones(len(texts), np.bool_)
    keep[bad] = False
    return _cast(pc.if_else(pa.array(keep), texts, None), oid), bad


def _failing(texts: pa.BinaryArray, oid: int, offset: int = 0) -> list[int]:
    """Which values do not cast, by halving: two casts for each bad value and level, none for each good one."""
    try:
        _cast(texts, oid)
    except (pa.ArrowInvalid, ValueError):
        half = len(texts) // 2
        if half == 0:
            return [offset]
        return _failing(texts[:half], oid, offset) + _failing(texts[half:], oid, offset + half)
    return []


def _cast(texts: pa.BinaryArray, oid: int) -> pa.Array:
    if oid == _BYTEA:
        return _read_hex(texts)
    if oid == _BOOL:
        return _read_flags(texts)
    return texts.cast(pa.string()).cast(arrow_type(oid))


def _read_flags(texts: pa.BinaryArray) -> pa.BooleanArray:
    flags = pc.equal(texts, b"t")
    if pc.any(pc.invert(pc.or_(flags, pc.equal(texts, b"f")))).as_py():
        raise ValueError("neither t nor f")
    return flags


def _read_hex(texts: pa.BinaryArray) -> pa.BinaryArray:
    """All hexadecimal digits of the column in one call: without the prefixes, which no digit can be."""
    filled = texts.fill_null(b"\\x")
    if pc.any(pc.invert(pc.starts_with(filled, "\\x"))).as_py():
        raise ValueError("not in hex format")
    _, offsets, data = filled.buffers()
    bounds = np.frombuffer(offsets, np.int32)[filled.offset : filled.offset + len(filled) + 1]
    digit_counts = np.diff(bounds) - 2
    if (digit_counts % 2).any():
        raise ValueError("half a byte")
    read = binascii.unhexlify(data[bounds[0] : bounds[-1]].to_pybytes().replace(b"\\x", b""))
    ends = np.append(0, np.cumsum(digit_counts // 2)).astype(np.int32)
    values = pa.Array.from_buffers(pa.binary(), len(texts), [None, pa.py_buffer(ends), pa.py_buffer(read)])
    return pc.if_else(pc.is_valid(texts), values, None) if texts.null_count else values
