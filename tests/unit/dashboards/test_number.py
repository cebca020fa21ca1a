from __future__ import annotations

import pytest

from headrace.dashboards.number import as_number, decimals_for, format_headline, format_number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1234, "1,234"),
        (9_999_999, "9,999,999"),
        (12_345_678, "12.3\N{NO-BREAK SPACE}M"),
        (-2_500_000_000, "−2.5\N{NO-BREAK SPACE}B"),
        (1234.56, "1,235"),
        (12.34, "12.3"),
        (1.234, "1.23"),
    ],
)
def test_a_headline_is_short_enough_to_read(value: float, text: str) -> None:
    assert format_headline(value, None) == text


def test_a_column_shares_its_decimals() -> None:
    assert decimals_for([1, 2.5, 300], None) == 1
    assert decimals_for([1.0, 2.0], None) == 0
    assert decimals_for([1.0], 3) == 3
    assert format_number(-0.5, 1) == "−0.5"


@pytest.mark.parametrize("value", [None, True, "x", float("inf"), [1]])
def test_what_is_no_number_is_none(value: object) -> None:
    assert as_number(value) is None


def test_a_decimal_may_come_as_text() -> None:
    assert as_number("12.50") == 12.5
