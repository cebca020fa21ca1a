"""What bad requests get: the right status, what is wrong, why, what to do, and nothing half-written."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import httpx
import pytest
from support.running_project import Stack

GOOD: dict[str, Any] = {"userId": "refused", "type": "run", "durationSeconds": 60}
NO_SUCH_QUERY = "SELECT count() AS n FROM wellness_analytics.events WHERE stream = 'user-refused'"


def refused(answer: httpx.Response, status: int, *words: str) -> None:
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"error", "message", "detail", "hint"}
    text = " ".join(body.values())
    assert "Traceback" not in text
    for word in words:
        assert word in text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"userId": None}, ("LogWorkout", "userId")),
        ({"userId": ""}, ("userId",)),
        ({"durationSeconds": "long"}, ("durationSeconds", "int")),
        ({"durationSeconds": -1}, ("durationSeconds",)),
        ({"distanceKm": 1e9}, ("distanceKm",)),
        ({"speed": 3}, ("speed",)),
        ({"loggedAt": "yesterday"}, ("loggedAt",)),
        ({"id": "7"}, ("id",)),
    ],
    ids=str,
)
def test_wrong_field(stack: Stack, change: dict[str, object], words: tuple[str, ...]) -> None:
    refused(stack.http.post("/log-workout", json={**GOOD, **change}), 400, *words)


def test_missing_field(stack: Stack) -> None:
    refused(stack.http.post("/log-workout", json={"userId": "refused"}), 400, "type", "GET /commands")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"userId": "a"', b"1" * 5000])
def test_body_that_is_no_command(stack: Stack, body: bytes) -> None:
    refused(stack.http.post("/log-workout", content=body), 400, "LogWorkout")


def test_body_that_is_too_large(stack: Stack) -> None:
    answer = stack.http.post("/log-workout", content=b" " * (1 << 20) + b"{}")
    refused(answer, 413)


def test_unknown_command_query_page_and_path(stack: Stack) -> None:
    refused(stack.http.post("/commands/LogWorkuot", json=GOOD), 404, "LogWorkuot")
    refused(stack.http.get("/queries/nope"), 404, "nope")
    refused(stack.http.get("/queries/nope/live"), 404, "nope")
    refused(stack.http.get("/no/such/path"), 404, "/no/such/path")
    refused(stack.http.get("/log-workout"), 405)
    assert stack.http.get("/dashboards/nope").status_code == 404


def test_wrong_parameters(stack: Stack) -> None:
    refused(stack.http.get("/queries/latest_workouts?count=many"), 400, "count")
    refused(stack.http.get("/queries/latest_workouts?count=-1"), 400, "count")
    refused(stack.http.get("/queries/latest_workouts?limit=3"), 400, "limit", "count")
    refused(stack.http.get("/queries/workouts_by_type?from=sometime"), 400, "from")
    refused(stack.http.get("/queries/workouts_by_type?format=xml"), 400, "xml")
    refused(stack.http.get("/queries/workouts_by_type", headers={"Accept": "image/png"}), 406)
    refused(stack.http.get("/queries/workouts_by_type?min_position=soon"), 400, "soon")


def test_parameter_is_a_value_and_never_sql(stack: Stack) -> None:
    rows = stack.query("workouts_by_type", user_id="' OR 1=1; DROP TABLE workouts_view --")
    assert rows == []
    assert stack.http.get("/queries/workouts_by_type").status_code == 200


def test_position_that_is_not_reached_is_a_timeout_and_says_how_far_it_is(tmp_path: object, stack: Stack) -> None:
    answer = stack.http.get("/queries/workouts_by_type?min_position=FFFFFFF/0")
    refused(answer, 504, "FFFFFFF/0")


def test_wrong_expected_version_writes_nothing(stack: Stack) -> None:
    before = stack.http.post("/log-workout", json={**GOOD, "userId": "versioned"}).json()
    headers = {"X-Headrace-Expected-Version": str(before["version"] - 1)}
    answer = stack.http.post("/log-workout", json={**GOOD, "userId": "versioned"}, headers=headers)
    refused(answer, 409, "user-versioned", str(before["version"]))
    wrong = {"X-Headrace-Expected-Version": "three"}
    refused(stack.http.post("/log-workout", json=GOOD, headers=wrong), 400, "three")


def test_what_the_domain_says_no_to(stack: Stack) -> None:
    nobody = {"userId": "refused", "id": str(uuid4()), "distanceKm": 1}
    refused(stack.http.post("/correct-workout", json=nobody), 422, "no such entry")
    refused(stack.http.post("/log-workout", json={**GOOD, "timeZone": "Mars/Olympus"}), 422, "Mars/Olympus")
    refused(stack.http.post("/log-workout", json={**GOOD, "timeZone": "../../etc/passwd"}), 422, "time zone")


def test_nothing_of_it_was_written(stack: Stack) -> None:
    position = stack.http.post("/log-workout", json={**GOOD, "userId": "written"}).json()["position"]
    stack.query("workouts_by_type", position)
    assert stack.sql(NO_SUCH_QUERY) == [{"n": 0}]


def test_hostile_names_are_only_names(stack: Stack) -> None:
    for user in ("'; DROP TABLE events --", "a\u0000b", "🏃", "x" * 80, "../..", "<script>alert(1)</script>"):
        answer = stack.http.post("/log-workout", json={**GOOD, "userId": user})
        assert answer.status_code in (201, 400), answer.text
        if answer.status_code == 201:
            rows = stack.query("workouts_by_type", answer.json()["position"], user_id=user)
            assert [row["workouts"] for row in rows] == [1]
