"""The ClickHouse types that a query parameter may have: how each reads the text of a URL.

A value is checked here, before ClickHouse sees it, so that bad input is one clear 400 and never a database error.
Reading is pure; the only clock is the `now` that is passed in. Types whose text could change the meaning of the
statement (`Identifier`) or that no URL can spell (`Map`, `Tuple`) are refused when the file is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

JsonSchema = dict[str, Any]

_RELATIVE = re.compile(r"now(?:\s*-\s*(\d{1,6})\s*([smhdwy]))?")
UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400, "y": 365 * 86_400}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# The ranges of ClickHouse's DateTime, DateTime64 and Date32.
_DATETIME = (_EPOCH, datetime(2106, 2, 7, 6, 28, 15, tzinfo=UTC))
_DATETIME64 = (datetime(1900, 1, 1, tzinfo=UTC), datetime(2262, 4, 11, tzinfo=UTC))
_DATE = (date(1970, 1, 1), date(2149, 6, 6))
_DATE32 = (date(1900, 1, 1), date(2299, 12, 31))


@dataclass(frozen=True, slots=True)
class ParameterType:
    """One type: `read` turns the text of a URL into ClickHouse's text or raises ValueError; `expected` says in
    words what it reads; `schema` says it in JSON Schema. `quoted` tells whether an array writes it in quotes."""

    text: str
    expected: str
    schema: JsonSchema
    read: Callable[[str, datetime], str]
    quoted: bool = True
    nullable: bool = False
    is_time: bool = False
    item: ParameterType | None = None


def parse_type(text: str) -> ParameterType:
    """Understand `Nullable(Int32)`, `Array(String)`, `DateTime64(6, 'UTC')`, … Raises ValueError for any other."""
    match = re.fullmatch(r"\s*(\w+)\s*(?:\((.*)\))?\s*", text, re.DOTALL)
    if match is None:
        raise ValueError("it is not a type")
    name, argument = match[1], (match[2] or "").strip()
    if name == "LowCardinality":
        return _renamed(parse_type(argument), text)
    if name == "Nullable":
        return _nullable(parse_type(argument), text)
    if name == "Array":
        return _array(parse_type(argument), text)
    if name in _FAMILIES:
        return _FAMILIES[name](text, argument)
    if integer := re.fullmatch(r"(U?)Int(8|16|32|64|128|256)", name):
        return _integer(text, signed=not integer[1], bits=int(integer[2]))
    raise ValueError("it is not supported as a parameter")


def parse_moment(text: str, now: datetime) -> datetime:
    """Read ISO 8601 (UTC unless it says otherwise), a date, or `now`, `now-30d`, `now - 12h` (s m h d w y)."""
    if relative := _RELATIVE.fullmatch(text.strip()):
        return now - timedelta(seconds=int(relative[1] or 0) * UNIT_SECONDS[relative[2] or "s"])
    moment = datetime.fromisoformat(text.strip())
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def is_relative(text: str) -> bool:
    """Whether a time is counted from now, so that its meaning moves with the clock."""
    return _RELATIVE.fullmatch(text.strip()) is not None


def quote(text: str) -> str:
    """A ClickHouse string literal, as it stands inside an array."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _renamed(inner: ParameterType, text: str) -> ParameterType:
    return ParameterType(
        text, inner.expected, inner.schema, inner.read, inner.quoted, inner.nullable, inner.is_time, inner.item
    )


def _nullable(inner: ParameterType, text: str) -> ParameterType:
    if inner.item is not None or inner.nullable:
        raise ValueError("only a plain type can be Nullable")
    return ParameterType(
        text, inner.expected, inner.schema, inner.read, inner.quoted, nullable=True, is_time=inner.is_time
    )


def _array(item: ParameterType, text: str) -> ParameterType:
    if item.item is not None or item.nullable:
        raise ValueError("an array holds one plain type that is not Nullable")
    schema = {"type": "array", "items": item.schema}
    return ParameterType(text, f"values that are each {item.expected}", schema, item.read, item=item)


def _integer(text: str, *, signed: bool, bits: int) -> ParameterType:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)

    def read(value: str, now: datetime) -> str:
        # int() alone would also take 1_000, and digits of other scripts.
        if len(value) > 80 or not re.fullmatch(r"[+-]?[0-9]+", value):
            raise ValueError
        if not low <= int(value) <= high:
            raise ValueError
        return str(int(value))

    schema: JsonSchema = {"type": "integer", "minimum": low, "maximum": high}
    if bits <= 64:
        schema["format"] = "int32" if bits <= 32 else "int64"
    return ParameterType(text, f"a whole number from {low} to {high}", schema, read, quoted=False)


def _float(text: str, argument: str) -> ParameterType:
    def read(value: str, now: datetime) -> str:
        if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?", value, re.ASCII):
            raise ValueError
        return repr(float(value))

    return ParameterType(text, "a number", {"type": "number", "format": "double"}, read, quoted=False)


def _decimal(text: str, argument: str) -> ParameterType:
    if not (digits := re.fullmatch(r"(\d+)\s*,\s*(\d+)", argument)):
        raise ValueError("Decimal needs its precision and scale, like Decimal(18, 2)")
    precision, scale = int(digits[1]), int(digits[2])

    def read(value: str, now: datetime) -> str:
        try:
            number = Decimal(value)
            exponent = number.as_tuple().exponent
        except InvalidOperation as error:
            raise ValueError from error
        if not isinstance(exponent, int) or -exponent > scale or abs(number) >= Decimal(10) ** (precision - scale):
            raise ValueError
        return format(number, "f")

    expected = f"a decimal number of at most {precision - scale} digits and {scale} decimal places"
    return ParameterType(text, expected, {"type": "number"}, read, quoted=False)


def _bool(text: str, argument: str) -> ParameterType:
    words = {"true": "true", "1": "true", "false": "false", "0": "false"}

    def read(value: str, now: datetime) -> str:
        if value.lower() not in words:
            raise ValueError
        return words[value.lower()]

    return ParameterType(text, "true or false", {"type": "boolean"}, read, quoted=False)


def _string(text: str, argument: str) -> ParameterType:
    return ParameterType(text, "a text", {"type": "string"}, lambda value, now: value)


def _fixed_string(text: str, argument: str) -> ParameterType:
    bytes_max = int(argument)

    def read(value: str, now: datetime) -> str:
        if len(value.encode()) > bytes_max:
            raise ValueError
        return value

    return ParameterType(text, f"a text of at most {bytes_max} bytes", {"type": "string", "maxLength": bytes_max}, read)


def _uuid(text: str, argument: str) -> ParameterType:
    def read(value: str, now: datetime) -> str:
        if not re.fullmatch(r"[0-9A-Fa-f-]{32,36}", value):
            raise ValueError
        return str(UUID(value))

    return ParameterType(text, "a UUID", {"type": "string", "format": "uuid"}, read)


_RELATIVE_SCHEMA: JsonSchema = {"type": "string", "pattern": r"^now(\s*-\s*\d{1,6}\s*[smhdwy])?$"}


def _moment(text: str, *, between: tuple[datetime, datetime], fraction: bool) -> ParameterType:
    def read(value: str, now: datetime) -> str:
        moment = parse_moment(value, now)
        if not between[0] <= moment <= between[1]:
            raise ValueError
        microseconds = (moment - _EPOCH) // timedelta(microseconds=1)
        # Seconds since 1970 mean the same in every time zone of a server. Fewer than five digits would be a year.
        if not fraction:
            return f"{microseconds // 1_000_000:010d}"
        sign, magnitude = "-" if microseconds < 0 else "", abs(microseconds)
        if sign and magnitude < 1_000_000:
            # ClickHouse loses the sign of -0.5: better no answer than one for another moment.
            raise ValueError
        return f"{sign}{magnitude // 1_000_000:010d}.{magnitude % 1_000_000:06d}"

    expected = f"a time like 2026-01-31T12:00:00Z or now-30d, from {between[0].date()} to {between[1].date()}"
    schema: JsonSchema = {"anyOf": [{"type": "string", "format": "date-time"}, _RELATIVE_SCHEMA]}
    return ParameterType(text, expected, schema, read, is_time=True)


def _datetime(text: str, argument: str) -> ParameterType:
    return _moment(text, between=_DATETIME, fraction=False)


def _datetime64(text: str, argument: str) -> ParameterType:
    return _moment(text, between=_DATETIME64, fraction=True)


def _calendar(between: tuple[date, date]) -> Callable[[str, str], ParameterType]:
    def build(text: str, argument: str) -> ParameterType:
        def read(value: str, now: datetime) -> str:
            day = parse_moment(value, now).date()
            if not between[0] <= day <= between[1]:
                raise ValueError
            return day.isoformat()

        expected = f"a date like 2026-01-31 or now-30d, from {between[0]} to {between[1]}"
        schema: JsonSchema = {"anyOf": [{"type": "string", "format": "date"}, _RELATIVE_SCHEMA]}
        return ParameterType(text, expected, schema, read, is_time=True)

    return build


_FAMILIES: dict[str, Callable[[str, str], ParameterType]] = {
    "String": _string,
    "FixedString": _fixed_string,
    "Bool": _bool,
    "Float32": _float,
    "Float64": _float,
    "Decimal": _decimal,
    "UUID": _uuid,
    "Date": _calendar(_DATE),
    "Date32": _calendar(_DATE32),
    "DateTime": _datetime,
    "DateTime64": _datetime64,
}
