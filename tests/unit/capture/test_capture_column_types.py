"""Text of PostgreSQL's types into Arrow's, and the few values that Arrow cannot hold."""

from __future__ import annotations

import pyarrow as pa
import pytest

from headrace.capture.column_types import arrow_type, read_values, type_name

BOOL, BYTEA, INT8, INT2, FLOAT8, TEXT, DATE, TIMESTAMPTZ, ENUM = 16, 17, 20, 21, 701, 25, 1082, 1184, 99_999


@pytest.mark.parametrize(
    ("oid", "texts", "values"),
    [
        (BOOL, ["t", None, "f"], [True, None, False]),
        (BYTEA, ["\\x", None, "\\x00ff5c78"], [b"", None, b"\x00\xff\\x"]),
        (INT8, ["-9223372036854775808", None], [-(2**63), None]),
        (FLOAT8, ["Infinity", "-0.5", None], [float("inf"), -0.5, None]),
        (TEXT, ["", None, "ä"], ["", None, "ä"]),
        (ENUM, ["happy"], ["happy"]),
        (BOOL, [], []),
        (BYTEA, [None], [None]),
    ],
)
def test_text_becomes_values(oid: int, texts: list[str | None], values: list[object]) -> None:
    column = pa.array([None if text is None else text.encode() for text in texts], pa.binary())

    read, bad = read_values(column, oid)

    assert read.to_pylist() == values
    assert read.type == arrow_type(oid)
    assert len(bad) == 0


@pytest.mark.parametrize(
    ("oid", "good", "bad"),
    [
        (INT2, b"7", b"32768"),
        (BOOL, b"t", b"true"),
        (BYTEA, b"\\x00", b"\\x0"),
        (BYTEA, b"\\x00", b"00"),
        (BYTEA, b"\\x00", b"\\xzz"),
        (TEXT, b"ok", b"\xff\xfe"),
        (DATE, b"2026-01-01", b"infinity"),
        (TIMESTAMPTZ, b"2026-01-01 00:00:00+00", b"0044-03-15 00:00:00+00 BC"),
    ],
)
def test_values_that_do_not_fit_are_null_and_named(oid: int, good: bytes, bad: bytes) -> None:
    column = pa.array([good, bad, None, good, bad, bad], pa.binary())

    read, found = read_values(column, oid)

    assert found.tolist() == [1, 4, 5]
    assert read.is_null().to_pylist() == [False, True, True, False, True, True]


def test_types_without_a_column_type_of_their_own_are_text() -> None:
    assert arrow_type(ENUM) == pa.string()
    assert type_name(ENUM) == "text"
