"""Numbers as a page writes them: grouped, rounded to what is worth reading, the unit behind."""

from __future__ import annotations

import math

COMPACT_FROM = 10_000_000
_SCALES = ((1e12, "T"), (1e9, "B"), (1e6, "M"))


def decimals_for(values: list[float], wanted: int | None) -> int:
    """The decimals that a column of numbers shares: none for whole ones, else fewer the larger they are."""
    if wanted is not None:
        return wanted
    if all(value == int(value) for value in values):
        return 0
    largest = max(abs(value) for value in values)
    return 0 if largest >= 1000 else 1 if largest >= 10 else 2


def format_number(value: float, decimals: int) -> str:
    """`12,345.6`. A true minus sign, so that columns align."""
    return f"{value:,.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def format_headline(value: float, wanted: int | None) -> str:
    """A number that stands alone: from ten million on as `12.3 M`."""
    for scale, letter in _SCALES:
        if abs(value) >= COMPACT_FROM and abs(value) >= scale:
            return f"{format_number(value / scale, 1)}\N{NO-BREAK SPACE}{letter}"
    return format_number(value, decimals_for([value], wanted))


def as_number(value: object) -> float | None:
    """The value as a finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
