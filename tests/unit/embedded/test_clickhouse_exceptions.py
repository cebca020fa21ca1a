"""ClickHouse's codes and wording, read back out of the engine's text."""

from __future__ import annotations

import pytest

from headrace.embedded.clickhouse.exceptions import ClickHouseException, Code, from_engine, refused


@pytest.mark.parametrize(
    ("message", "code", "text"),
    [
        ("Code: 60. DB::Exception: No t. (UNKNOWN_TABLE)", 60, "No t. (UNKNOWN_TABLE)"),
        (
            "Code: 115. DB::Exception: Code: 115. DB::Exception: Unknown setting 'x'. (UNKNOWN_SETTING)"
            " (version 26.9.2.1). (UNKNOWN_SETTING)",
            115,
            "Unknown setting 'x'. (UNKNOWN_SETTING)",
        ),
        (
            "Code: 27. DB::Exception: Bad: (at row 1)\n: x (version 26.9.2.1 (official build))",
            27,
            "Bad: (at row 1)\n: x",
        ),
        ("something odd", 1002, "something odd (UNKNOWN_EXCEPTION)"),
    ],
)
def test_engine_text_is_taken_apart(message: str, code: int, text: str) -> None:
    exception = from_engine(message)
    assert (exception.code, exception.text) == (code, text)


def test_body_and_status_are_the_servers() -> None:
    exception = refused(Code.SESSION_IS_LOCKED, "Session x is locked")
    assert exception.status == 500
    assert (
        exception.body("26.9") == b"Code: 373. DB::Exception: Session x is locked (SESSION_IS_LOCKED) (version 26.9)\n"
    )
    assert [ClickHouseException(code, "").status for code in (62, 60, 516, 194, 159, 48, 241)] == [
        400, 404, 403, 401, 408, 501, 500,
    ]  # fmt: skip
