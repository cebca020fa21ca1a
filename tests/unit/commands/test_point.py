"""Versions and times as people write them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from headrace.commands.point import Point, parse_point, parse_time, parse_version
from headrace.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "point"),
    [
        ("0", 0),
        ("17", 17),
        ("2026-03-15", datetime(2026, 3, 15, tzinfo=UTC)),
        ("2026-03-15T09:30", datetime(2026, 3, 15, 9, 30, tzinfo=UTC)),
        ("2026-03-15T09:30:00+01:00", datetime(2026, 3, 15, 8, 30, tzinfo=UTC)),
    ],
)
def test_a_point_is_a_version_or_a_time(text: str, point: Point) -> None:
    assert parse_point(text) == point


@pytest.mark.parametrize("text", ["", "-1", "1.5", "²", "March 15", "2026-13-01", "0001-01-01T00:00+14:00", "9" * 30])
def test_anything_else_is_refused_in_words(text: str) -> None:
    with pytest.raises(InvalidInput, match="Not a "):
        parse_point(text)


def test_a_version_is_no_time_and_a_time_no_version() -> None:
    with pytest.raises(InvalidInput, match="Not a version"):
        parse_version("2026-03-15")
    with pytest.raises(InvalidInput, match="Not a time"):
        parse_time("3")
