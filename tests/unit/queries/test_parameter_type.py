from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.queries.parameter_type import is_relative, parse_moment, parse_type

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("type_", "text", "sent"),
    [
        ("String", "user-1", "user-1"),
        ("LowCardinality(String)", "", ""),
        ("FixedString(2)", "é", "é"),
        ("Int8", "-128", "-128"),
        ("UInt256", str(2**256 - 1), str(2**256 - 1)),
        ("Int32", "+007", "7"),
        ("Float64", "1e-3", "0.001"),
        ("Decimal(6, 2)", "-1234.50", "-1234.50"),
        ("Bool", "True", "true"),
        ("Bool", "0", "false"),
        ("UUID", "6F9619FF-8B86-D011-B42D-00C04FC964FF", "6f9619ff-8b86-d011-b42d-00c04fc964ff"),
        ("Date", "2026-02-28", "2026-02-28"),
        ("Date32", "1950-01-01", "1950-01-01"),
        ("Date", "now-1d", "2026-02-28"),
        ("DateTime", "1970-01-01T00:00:05Z", "0000000005"),
        ("DateTime('Europe/Berlin')", "2023-11-14T23:13:20+01:00", "1700000000"),
        ("DateTime64(6, 'UTC')", "2023-11-14 22:13:20.123456", "1700000000.123456"),
        ("DateTime64(3)", "1969-12-31T23:59:58.5Z", "-0000000001.500000"),
        ("DateTime64(6)", "now - 2h", f"{int((NOW - timedelta(hours=2)).timestamp())}.000000"),
    ],
)
def test_a_value_is_sent_as_clickhouse_reads_it(type_: str, text: str, sent: str) -> None:
    assert parse_type(type_).read(text, NOW) == sent


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        ("Int8", "128"),
        ("UInt8", "-1"),
        ("Int32", "1_000"),
        ("Int32", "١"),
        ("Int32", "1.0"),
        ("Int32", ""),
        ("Int256", "9" * 200),
        ("Float64", "nan"),
        ("Float64", "0x10"),
        ("Decimal(4, 2)", "100.00"),
        ("Decimal(4, 2)", "1.001"),
        ("Decimal(4, 2)", "Infinity"),
        ("Bool", "yes"),
        ("UUID", "6f9619ff"),
        ("FixedString(2)", "abc"),
        ("Date", "2026-02-30"),
        ("Date", "1969-12-31"),
        ("DateTime", "yesterday"),
        ("DateTime", "2150-01-01"),
        ("DateTime64(6)", "now-1month"),
        ("DateTime64(6)", "1969-12-31T23:59:59.5Z"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(type_: str, text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  the caller names the parameter; here only the refusal counts
        parse_type(type_).read(text, NOW)


@pytest.mark.parametrize(
    "type_", ["Identifier", "Map(String, String)", "Enum8('a' = 1)", "Array(Array(Int8))", "", "1"]
)
def test_a_type_that_no_url_can_spell_is_refused(type_: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        parse_type(type_)


def test_nullable_and_array_keep_their_item() -> None:
    assert parse_type("Nullable(Int32)").nullable
    assert parse_type("Array(UUID)").schema == {"type": "array", "items": {"type": "string", "format": "uuid"}}


def test_times_without_a_zone_are_utc() -> None:
    assert parse_moment("2026-01-01 10:00:00", NOW) == datetime(2026, 1, 1, 10, tzinfo=UTC)
    assert parse_moment("2026-01-01", NOW) == datetime(2026, 1, 1, tzinfo=UTC)


def test_relative_times_count_back_from_now() -> None:
    assert parse_moment("now-1y", NOW) == NOW - timedelta(days=365)
    assert is_relative("now - 5m")
    assert not is_relative("2026-01-01")


@given(st.integers(-(2**63), 2**63 - 1))
def test_every_integer_of_the_range_survives(number: int) -> None:
    assert int(parse_type("Int64").read(str(number), NOW)) == number


@given(st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1)), st.integers(-12, 14))
def test_every_moment_survives_in_any_zone(moment: datetime, hours: int) -> None:
    local = moment.replace(tzinfo=timezone(timedelta(hours=hours)))
    seconds, microseconds = parse_type("DateTime64(6)").read(local.isoformat(), NOW).split(".")
    assert datetime.fromtimestamp(int(seconds), UTC) + timedelta(microseconds=int(microseconds)) == local


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    for type_ in ("Int64", "Float64", "Bool", "UUID", "Date", "DateTime", "DateTime64(6)", "Decimal(10, 2)"):
        try:
            parse_type(type_).read(text, NOW)
        except (ValueError, OverflowError):
            continue
