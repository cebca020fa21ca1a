from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from headrace.dashboards.time_range import TimeRange, link
from headrace.errors import InvalidInput

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def read(**values: str) -> TimeRange:
    return TimeRange.of({name.rstrip("_"): [value] for name, value in values.items()}, default="30d", now=NOW)


def test_a_page_shows_its_own_range_until_asked_for_another() -> None:
    assert read().relative == "30d"
    assert read(range="24h").values == {"from": ["now-24h"], "to": ["now"]}
    assert read(range="24h").words == "Last 24 hours"
    assert read(range="1y").words == "Last year"


def test_a_custom_range_wins_and_may_leave_one_end_open() -> None:
    custom = read(from_="2026-01-01", to="2026-02-01", range="7d")
    assert custom.relative is None
    assert custom.ends(NOW) == (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))
    assert read(from_="2026-01-01").values["to"] == ["now"]
    assert read(to="2026-02-25").ends(NOW)[0] == NOW - timedelta(days=30)


@pytest.mark.parametrize(
    "values",
    [
        {"range": "soon"},
        {"range": "0d"},
        {"range": "d"},
        {"range": "٣d"},
        {"range": "99999y"},
        {"from_": "yesterday"},
        {"from_": "2026-02-02", "to": "2026-01-01"},
        {"from_": "9999999-01-01"},
    ],
)
def test_a_range_that_cannot_be_read_is_refused(values: dict[str, str]) -> None:
    with pytest.raises(InvalidInput):
        read(**values)


def test_a_link_keeps_the_parameters_and_replaces_the_range() -> None:
    values = {"user_id": ["a b"], "empty": [""], "from": ["x"], "range": ["1y"]}
    assert link(values, range="7d") == "?user_id=a+b&range=7d"
