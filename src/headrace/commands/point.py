"""Point: a place in the life of a stream, said as a version or as a time. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from headrace.errors import InvalidInput

Point = int | datetime
_DIGITS_MAX = 18  # of a version: PostgreSQL's bigint takes any of them


def parse_point(text: str) -> Point:
    """A version, if it is a whole number; else a time. Raises InvalidInput."""
    return parse_version(text) if text.isascii() and text.isdigit() else parse_time(text)


def parse_version(text: str) -> int:
    """A version, 0 for the state before the first event. Raises InvalidInput."""
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX):
        raise InvalidInput(f"Not a version: {text[:40]!r}.", "A version is a whole number: 0, 1, 2, …")
    return int(text)


def parse_time(text: str) -> datetime:
    """A time in ISO 8601, in UTC: 2026-03-15, which is its first moment, or 2026-03-15T09:30:00+01:00; UTC when it
    names no zone. Raises InvalidInput.
    """
    try:
        time = datetime.fromisoformat(text)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidInput(
            f"Not a time: {text[:40]!r}.",
            "A time looks like 2026-03-15, 2026-03-15T09:30:00Z or 2026-03-15T09:30:00+01:00.",
            "In a URL, write + as %2B.",
        ) from error
