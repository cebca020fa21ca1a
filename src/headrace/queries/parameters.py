"""Parameters: from the texts of a URL or a command line to the values that ClickHouse is sent.

Every value is checked against its declared type first; nothing unchecked reaches ClickHouse, and values travel beside
the statement, never inside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from typing import Any

import msgspec

from headrace.errors import InvalidInput
from headrace.queries.parameter_type import JsonSchema, ParameterType, is_relative, quote

VALUES_MAX = 10_000
VALUE_CHARACTERS_MAX = 65_536

# What a caller sends: each parameter by name, once or (for arrays) several times.
Values = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One `{name:Type}` of a query. `default` is text as a caller would send it; None: the caller must send one."""

    name: str
    type: ParameterType
    description: str = ""
    default: str | None = None

    @property
    def required(self) -> bool:
        return self.default is None and not self.type.nullable

    @property
    def schema(self) -> JsonSchema:
        """Its JSON Schema, with the default as JSON where there is one."""
        if self.default is None:
            return self.type.schema
        return {**self.type.schema, "default": self._default_as_json()}

    def read(self, values: Sequence[str], now: datetime) -> str | None:
        """ClickHouse's text of the sent values, None for NULL. Raises InvalidInput: parameter, type and value."""
        if not values:
            return self._absent(now)
        if self.type.item is not None:
            return self._read_array(self.type.item, values, now)
        if len(values) > 1:
            raise self._invalid(", ".join(values), f"It was sent {len(values)} times; it takes one value.")
        if self.type.nullable and values[0] == "" and self.type.schema.get("type") != "string":
            return None
        return self._read_one(self.type, values[0], now)

    def is_relative(self, values: Sequence[str]) -> bool:
        """Whether what is sent, or the default in its place, is counted from now."""
        sent = list(values) or ([self.default] if self.default is not None else [])
        return self.type.is_time and any(is_relative(value) for value in sent)

    def _absent(self, now: datetime) -> str | None:
        if self.default is not None:
            return self.read([self.default], now)
        if self.type.nullable:
            return None
        raise InvalidInput(
            f"The parameter {self.name!r} is missing.",
            f"Expected {self.type.expected} ({self.type.text}).",
            f"Add {self.name}=… to the request.",
        )

    def _read_array(self, item: ParameterType, values: Sequence[str], now: datetime) -> str:
        items = _items(values[0]) if len(values) == 1 and values[0].startswith("[") else list(values)
        if items is None:
            raise self._invalid(values[0], "It begins like a JSON array but is not one.")
        if len(items) > VALUES_MAX:
            raise self._invalid(f"{len(items)} values", f"At most {VALUES_MAX} values are taken.")
        read = [self._read_one(item, value, now) for value in items]
        return "[" + ",".join(quote(value) if item.quoted else value for value in read) + "]"

    def _read_one(self, type_: ParameterType, value: str, now: datetime) -> str:
        if len(value) > VALUE_CHARACTERS_MAX:
            raise self._invalid(value, f"It is longer than {VALUE_CHARACTERS_MAX} characters.")
        try:
            return type_.read(value, now)
        except (ValueError, OverflowError) as error:
            raise self._invalid(value) from error

    def _invalid(self, got: str, reason: str = "") -> InvalidInput:
        shown = got if len(got) <= 60 else got[:57] + "…"
        return InvalidInput(
            f"The parameter {self.name!r} is not {self.type.expected}.",
            f"Expected {self.type.text}, got {shown!r}. {reason}".rstrip(),
        )

    def _default_as_json(self) -> Any:
        kind = self.type.schema.get("type")
        if kind in ("integer", "number", "boolean", "array") and self.default:
            return msgspec.json.decode(self.default)
        return self.default


def bind(parameters: Sequence[Parameter], values: Values, now: datetime) -> dict[str, str | None]:
    """Every parameter as ClickHouse's text, None for NULL. Raises InvalidInput for a wrong one."""
    known = {parameter.name: parameter for parameter in parameters}
    for name in values:
        if name not in known:
            raise _unknown(name, list(known))
    return {name: parameter.read(values.get(name, ()), now) for name, parameter in known.items()}


def _unknown(name: str, known: list[str]) -> InvalidInput:
    close = get_close_matches(name, known, n=1)
    takes = f"This query takes {', '.join(known)}." if known else "This query takes no parameters."
    return InvalidInput(
        f"Unknown parameter {name[:60]!r}.", takes, f"Did you mean {close[0]!r}?" if close else "Leave it out."
    )


def _items(text: str) -> list[str] | None:
    try:
        decoded = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None
    if not isinstance(decoded, list) or any(isinstance(item, list | dict) or item is None for item in decoded):
        return None
    return [item if isinstance(item, str) else msgspec.json.encode(item).decode() for item in decoded]
