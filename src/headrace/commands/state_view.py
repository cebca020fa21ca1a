"""States as JSON values, and the difference of two. Pure; takes any class that a decider may use as its state."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Set
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import msgspec

from headrace.errors import Error

_TEXT_TYPES = (datetime, date, time, timedelta, Decimal, UUID, bytes, bytearray)


class Change(msgspec.Struct, frozen=True):
    """One field that differs: `path` is a JSON Pointer (RFC 6901); a side that lacks the field is left out."""

    path: str
    before: Any = msgspec.UNSET
    after: Any = msgspec.UNSET


def view(state: object) -> Any:
    """The state as JSON values: public and private fields by their Python names, sets sorted, enums as their values.

    Takes Structs, dataclasses and plain classes, nested as they may be. Raises Error for one that holds itself.
    """
    try:
        return _view(state)
    except RecursionError as error:
        raise Error(
            f"A {type(state).__name__} cannot be shown: it holds itself, or is nested too deeply.",
            hint="Keep ids in the state instead of objects that point back.",
        ) from error


def difference(before: Any, after: Any) -> list[Change]:
    """What differs between two views, field by field, in the order of their fields; empty for equal ones."""
    return list(_difference("", before, after))


def _view(value: object) -> Any:
    if isinstance(value, Enum):
        return _view(value.value)
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, _TEXT_TYPES):
        return msgspec.to_builtins(value)
    if isinstance(value, Mapping):
        return {_key(key): _view(item) for key, item in value.items()}
    if isinstance(value, Set):
        return sorted((_view(item) for item in value), key=msgspec.json.encode)
    fields = _fields(value)
    if fields is not None:
        return {name: _view(item) for name, item in fields.items() if item is not msgspec.UNSET}
    return [_view(item) for item in value] if isinstance(value, Iterable) else str(value)


def _key(value: object) -> str:
    key = _view(value)
    return key if isinstance(key, str) else msgspec.json.encode(key).decode()


def _fields(value: object) -> dict[str, object] | None:
    """The fields of an object by name; None for what is a collection or has none, such as a builtin."""
    if isinstance(value, msgspec.Struct):
        names: Iterable[str] = value.__struct_fields__
    elif dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
    elif isinstance(value, Iterable):
        return None
    elif hasattr(value, "__dict__"):
        names = vars(value)
    else:
        names = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
    return {name: getattr(value, name) for name in names if hasattr(value, name)} or None


def _difference(path: str, before: Any, after: Any) -> Iterator[Change]:
    if isinstance(before, list) and isinstance(after, list):
        before, after = dict(enumerate(before)), dict(enumerate(after))
    if isinstance(before, dict) and isinstance(after, dict):
        for key in {**before, **after}:
            below = f"{path}/{str(key).replace('~', '~0').replace('/', '~1')}"
            yield from _difference(below, before.get(key, msgspec.UNSET), after.get(key, msgspec.UNSET))
    elif type(before) is not type(after) or before != after:
        yield Change(path, before, after)
