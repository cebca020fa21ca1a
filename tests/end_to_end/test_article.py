"""The article's own commands, as it prints them: its curl logs a workout, its SELECT finds it."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest
from support.running_project import Stack, headrace_json

# Only host and port differ: the article's service listens on localhost:3000.
CURL = """curl -X POST http://localhost:3000/log-workout \\
-H "Content-Type: application/json" \\
-d '{
"userId": "user123",
"type": "run",
"durationSeconds": 3600,
"distanceKm": 10.5
}'"""

SELECT = """SELECT
user_id,
type,
sum(distance_km) as total_distance,
avg(duration_seconds) / 60 as avg_duration_minutes
FROM wellness_analytics.workouts_view
GROUP BY user_id, type;"""

FRIDAY_2330_UTC = "2026-03-06T23:30:00Z"


def post(stack: Stack, path: str, body: dict[str, Any], **headers: str) -> httpx.Response:
    return stack.http.post(path, json=body, headers={name.replace("_", "-"): value for name, value in headers.items()})


def accepted(answer: httpx.Response) -> str:
    assert answer.status_code == 201, answer.text
    position: str = answer.json()["position"]
    return position


def log_run(stack: Stack, user: str, **fields: object) -> tuple[str, str]:
    """Log a run; its id and its position."""
    run = {"userId": user, "id": str(uuid4()), "type": "run", "durationSeconds": 3600, "distanceKm": 10.5, **fields}
    return str(run["id"]), accepted(post(stack, "/log-workout", run))


def by_type(stack: Stack, user: str, position: str) -> list[dict[str, Any]]:
    return stack.query("workouts_by_type", position, user_id=user)


@pytest.mark.skipif(shutil.which("curl") is None, reason="the article uses curl, which is not installed")
def test_article_commands_work_as_written(stack: Stack) -> None:
    command = CURL.replace("localhost:3000", urlsplit(str(stack.http.base_url)).netloc)
    said = subprocess.run(["sh", "-c", f"{command} -s -D -"], capture_output=True, text=True, timeout=30, check=True)
    head, _, _body = said.stdout.replace("\r\n", "\n").partition("\n\n")
    assert head.startswith("HTTP/1.1 201 ")
    position = next(line.split(": ")[1] for line in head.splitlines() if line.startswith("x-headrace-position"))
    stack.query("workouts_by_type", position)
    rows = subprocess.run(
        ["curl", "-sS", f"{stack.clickhouse_url}/?default_format=JSONEachRow", "--data-binary", SELECT],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    ).stdout
    assert '{"user_id":"user123","type":"run","total_distance":10.5,"avg_duration_minutes":60}' in rows.splitlines()


def test_query_with_the_position_of_a_command_reads_what_it_wrote(stack: Stack) -> None:
    for count in range(1, 21):
        _, position = log_run(stack, "eager")
        (row,) = by_type(stack, "eager", position)
        assert (row["workouts"], row["total_distance"]) == (count, round(count * 10.5))


def test_correction_changes_the_answer(stack: Stack) -> None:
    workout, _ = log_run(stack, "corrector")
    position = accepted(post(stack, "/correct-workout", {"userId": "corrector", "id": workout, "distanceKm": 12.0}))
    (row,) = by_type(stack, "corrector", position)
    assert (row["workouts"], row["total_distance"], row["avg_duration_minutes"]) == (1, 12, 60)


def test_meal_and_sleep_are_logged_and_corrected(stack: Stack) -> None:
    meal, sleep = str(uuid4()), str(uuid4())
    accepted(post(stack, "/add-meal", {"userId": "ada", "id": meal, "name": "Salad", "calories": 450}))
    accepted(post(stack, "/correct-meal", {"userId": "ada", "id": meal, "calories": 540}))
    night = {"startedAt": "2026-03-06T22:00:00Z", "endedAt": "2026-03-07T06:00:00Z"}
    accepted(post(stack, "/log-sleep", {"userId": "ada", "id": sleep, **night}))
    ended = {"userId": "ada", "id": sleep, "endedAt": "2026-03-07T07:30:00Z"}
    position = accepted(post(stack, "/correct-sleep", ended))
    (week,) = stack.query("calories_per_week", position, user_id="ada")
    assert week["calories_per_day"] == 540
    (nights,) = stack.query("sleep_per_week", position, user_id="ada")
    assert (nights["hours"], nights["nights"]) == (9.5, 1)


def test_days_are_those_of_the_persons_own_time_zone(stack: Stack) -> None:
    log_run(stack, "tokyo", loggedAt=FRIDAY_2330_UTC, timeZone="Asia/Tokyo")
    _, position = log_run(stack, "lisbon", loggedAt=FRIDAY_2330_UTC, timeZone="Europe/Lisbon")
    stack.query("workouts_by_type", position)
    select = "SELECT day_of_week, is_weekend FROM wellness_analytics.workouts_view WHERE user_id = '{}'"
    assert stack.sql(select.format("tokyo")) == [{"day_of_week": "Saturday", "is_weekend": 1}]
    assert stack.sql(select.format("lisbon")) == [{"day_of_week": "Friday", "is_weekend": 0}]


def test_request_sent_again_with_its_key_happens_once(stack: Stack) -> None:
    run = {"userId": "twice", "type": "run", "durationSeconds": 1800, "distanceKm": 5}
    first = post(stack, "/log-workout", run, Idempotency_Key="a-key")
    again = post(stack, "/log-workout", run, Idempotency_Key="a-key")
    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["Idempotency-Replayed"] == "true"
    other = post(stack, "/log-workout", {**run, "distanceKm": 6}, Idempotency_Key="a-key")
    assert other.status_code in (409, 422)
    (row,) = by_type(stack, "twice", accepted(first))
    assert row["workouts"] == 1


def test_every_query_answers_in_every_format(stack: Stack) -> None:
    for query in stack.http.get("/queries").json()["queries"]:
        for name in ("json", "csv", "arrow", "parquet"):
            answer = stack.http.get(f"/queries/{query['name']}", params={"format": name})
            assert answer.status_code == 200, answer.text
            assert {"x-headrace-watermark", "x-headrace-age-seconds"} <= set(answer.headers)


def test_openapi_and_pages_are_served(stack: Stack) -> None:
    paths = stack.http.get("/schema/openapi.json").json()["paths"]
    assert {"/log-workout", "/commands/LogWorkout", "/queries/workouts_by_type", "/healthz"} <= set(paths)
    page = stack.http.get("/", follow_redirects=True)
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")


def test_status_counts_what_the_store_holds(stack: Stack) -> None:
    _, position = log_run(stack, "counted")
    stack.query("workouts_by_type", position)
    status = headrace_json("status", folder=stack.folder)
    assert status["ready"]
    assert set(status["read_models"].values()) == {"ready"}
    events = headrace_json("events", "tail", "--no-follow", "-n", "1", folder=stack.folder)
    assert (events["stream"], events["type"]) == ("user-counted", "WorkoutLogged")
