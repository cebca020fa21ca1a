from __future__ import annotations

from datetime import UTC, datetime

import pytest

from headrace.errors import InvalidInput
from headrace.queries.parameter_type import parse_type
from headrace.queries.parameters import Parameter, bind

NOW = datetime(2026, 3, 1, tzinfo=UTC)
USER = Parameter("user_id", parse_type("String"), default="")
AGE = Parameter("age", parse_type("UInt8"))
LIMIT = Parameter("limit", parse_type("Nullable(Int32)"))
KINDS = Parameter("kinds", parse_type("Array(String)"), default='["run"]')
NUMBERS = Parameter("numbers", parse_type("Array(Int8)"), default="[]")


def test_absent_parameters_get_their_default_or_null() -> None:
    assert bind([USER, LIMIT, KINDS, NUMBERS], {}, NOW) == {
        "user_id": "",
        "limit": None,
        "kinds": "['run']",
        "numbers": "[]",
    }


def test_a_missing_parameter_names_itself_and_its_type() -> None:
    with pytest.raises(InvalidInput) as raised:
        bind([AGE], {}, NOW)
    assert "'age' is missing" in raised.value.message
    assert "UInt8" in raised.value.detail


def test_a_wrong_value_names_parameter_expectation_and_value() -> None:
    with pytest.raises(InvalidInput) as raised:
        bind([AGE], {"age": ["300"]}, NOW)
    assert raised.value.message == "The parameter 'age' is not a whole number from 0 to 255."
    assert raised.value.detail == "Expected UInt8, got '300'."


def test_an_unknown_parameter_gets_the_closest_name() -> None:
    with pytest.raises(InvalidInput) as raised:
        bind([USER], {"userid": ["a"]}, NOW)
    assert raised.value.http_status == 400
    assert "'user_id'" in raised.value.hint


def test_a_plain_parameter_sent_twice_is_refused() -> None:
    with pytest.raises(InvalidInput, match="not a whole number"):
        bind([AGE], {"age": ["1", "2"]}, NOW)


def test_arrays_are_repeated_values_or_json() -> None:
    assert bind([KINDS], {"kinds": ["run", "ride"]}, NOW) == {"kinds": "['run','ride']"}
    assert bind([KINDS], {"kinds": ['["it\'s", "a\\\\b"]']}, NOW) == {"kinds": "['it\\'s','a\\\\b']"}
    assert bind([NUMBERS], {"numbers": ["[1, -2]"]}, NOW) == {"numbers": "[1,-2]"}


@pytest.mark.parametrize("sent", ["[1, 2", '["a", null]', "[[1]]", '{"a": 1}'])
def test_a_broken_array_is_refused(sent: str) -> None:
    with pytest.raises(InvalidInput):
        bind([NUMBERS], {"numbers": [sent]}, NOW)


def test_an_empty_field_of_a_form_is_null_where_null_is_allowed() -> None:
    assert bind([LIMIT], {"limit": [""]}, NOW) == {"limit": None}
    with pytest.raises(InvalidInput):
        bind([AGE], {"age": [""]}, NOW)


def test_defaults_appear_in_the_schema_as_json() -> None:
    assert KINDS.schema["default"] == ["run"]
    assert Parameter("n", parse_type("Int8"), default="5").schema["default"] == 5
    assert USER.schema["default"] == ""


def test_a_time_counted_from_now_is_known_to_move() -> None:
    since = Parameter("from", parse_type("DateTime"), default="now-7d")
    assert since.is_relative([])
    assert not since.is_relative(["2026-01-01"])
