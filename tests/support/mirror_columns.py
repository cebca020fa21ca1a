"""Columns for random tables: their types, and values that have troubled others: empty, at the edge, large, quoted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

# Above some 2 kB PostgreSQL moves a value that it cannot compress out of its row, and leaves it out of updates.
TOASTED_LETTERS = 3_000
LARGE_LETTERS = 9_000

_TEXTS = ("", "NULL", "null", "\\N", "\\", "it's", 'say "x"', "a\tb\r\nc", "ü€😀", "{a,b}", " padded ", "\x01\x7f")
_ARRAYS = ("{}", "{NULL}", '{""}', '{"NULL",a}', '{"a b","c,d"}', r'{"q\"q","b\\b"}', "{ü,€}")
_DOCUMENTS = (
    "{}",
    "[]",
    "null",
    '"text"',
    "1.50",
    '{"a": [1, null, {"b": "ü"}], "c": true}',
    r'{"\\": "\"", "é": "tab\t"}',
)
_NUMBERS = ("0", "0.00", "1.10", "1.1", "-0.000001", "1e40", "NaN", "123456789012345678901234567890.123456789")
_MOMENTS = (
    "1900-01-01 00:00:00+00",
    "1969-12-31 23:59:59.999999+00",
    "2000-02-29 12:00:00.1+02",
    "2299-12-31 23:59:59.999999+00",
)


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of column. `value` draws the text of one value; `each` is SQL that gives one for every number `n`.

    `large`: its values may stand outside of their row.
    """

    name: str
    type: str
    value: Callable[[Random], str]
    each: str
    large: bool = False


def noise(draw: Random, letters: int) -> str:
    """Text that cannot be compressed."""
    return hashlib.shake_256(draw.randint(0, 1 << 30).to_bytes(4, "big")).hexdigest(letters // 2)


def _one_of(*values: str) -> Callable[[Random], str]:
    return lambda draw: draw.choice(values)


def _number(bits: int) -> Callable[[Random], str]:
    edge = 1 << (bits - 1)
    return lambda draw: str(draw.choice((0, -1, edge - 1, -edge, draw.randint(-1000, 1000))))


def _text(draw: Random) -> str:
    return draw.choice((*_TEXTS, f"t{draw.randint(0, 9)}"))


def _large(draw: Random) -> str:
    return draw.choice((noise(draw, TOASTED_LETTERS), noise(draw, LARGE_LETTERS), _text(draw), "x" * LARGE_LETTERS))


def _each_noise(every: int, parts: int) -> str:
    """SQL: noise for one number out of `every`, so that many rows do not become many megabytes."""
    return (
        f"CASE WHEN n % {every} = 0 THEN "
        f"(SELECT string_agg(md5(concat(n, '-', i)), '') FROM generate_series(1, {parts}) i) ELSE 'small ' || n END"
    )


INT = Kind("int", "integer", _number(32), "(n * 7919) % 100000")
BIGINT = Kind("bigint", "bigint", _number(64), "n * 4611686018427 - 1")
KINDS = (
    INT,
    BIGINT,
    Kind("text", "text", _text, "concat('t', n, '\\ \"', chr(9))"),
    Kind("large", "text", _large, _each_noise(50, 90), large=True),
    Kind("huge", "text", lambda draw: draw.choice(("", noise(draw, LARGE_LETTERS))), _each_noise(200, 300), large=True),
    Kind(
        "money",
        "numeric(12,2)",
        _one_of("0", "0.01", "-0.01", "9999999999.99", "-9999999999.99", "12.30"),
        "n / 100.0",
    ),
    Kind("number", "numeric", _one_of(*_NUMBERS), "n / 7.0"),
    Kind(
        "moment",
        "timestamptz",
        lambda draw: draw.choice((*_MOMENTS, f"2026-03-29 0{draw.randint(0, 9)}:30:00.25+01")),
        "timestamptz '2020-01-01' + n * interval '1.000001 hour'",
    ),
    Kind("document", "jsonb", _one_of(*_DOCUMENTS), "jsonb_build_object('n', n, 'list', jsonb_build_array(n, null))"),
    Kind("flag", "boolean", _one_of("true", "false"), "n % 3 = 0"),
    Kind("tags", "text[]", _one_of(*_ARRAYS), "ARRAY['t' || n, NULL, 'a,\"b\"']"),
    Kind(
        "code",
        "uuid",
        lambda draw: f"{draw.randint(0, (1 << 32) - 1):08x}-0000-4000-8000-ffffffffffff",
        "md5(n::text)::uuid",
    ),
    Kind(
        "mood", "public.mood", _one_of("happy", "so so", "it's ü"), "(ARRAY['happy', 'so so'])[1 + n % 2]::public.mood"
    ),
)
TYPES = "CREATE TYPE public.mood AS ENUM ('happy', 'so so', 'it''s ü')"
