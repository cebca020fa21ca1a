"""Difference: what was expected beside what came, one field a line. Fields at their defaults are left out of both."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

import msgspec

from headrace.subscriptions.reactor import Later


def check_same(what: str, expected: Sequence[object], came: Sequence[object]) -> None:
    """Raises AssertionError with a readable difference unless both hold the same, in the same order."""
    if list(expected) == list(came):
        return
    difference = difflib.unified_diff(lines(expected), lines(came), "expected", what, n=99, lineterm="")
    raise AssertionError(f"What was {what} differs.\n" + "\n".join(difference))


def lines(values: Iterable[object]) -> list[str]:
    """Events and commands as they are written in Python; `nothing` for none of them."""
    return [line for value in values for line in _lines(value)] or ["nothing"]


def _lines(value: object) -> list[str]:
    if isinstance(value, Later):
        *first, last = _lines(value.command)
        return ["Later(", *(f"    {line}" for line in first), f"    {last},", f"    after={value.after!r},", ")"]
    if not isinstance(value, msgspec.Struct):
        return [repr(value)]
    defaults = {field.name: field.default for field in msgspec.structs.fields(value)}
    fields = msgspec.structs.asdict(value).items()
    said = [f"    {name}={held!r}," for name, held in fields if held != defaults[name]]
    return [f"{type(value).__name__}(", *said, ")"] if said else [f"{type(value).__name__}()"]
