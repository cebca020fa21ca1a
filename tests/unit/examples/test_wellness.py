"""The wellness domain, in given, when, then: no database, no clock."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from types import ModuleType
from typing import Any
from uuid import UUID

import msgspec
import pytest
from support.running_project import WELLNESS

from headrace.runtime.project import load_module
from headrace.testing.given_when_then import given

FRIDAY = datetime(2026, 3, 6, 23, 30, tzinfo=UTC)
RUN, MEAL, NIGHT = UUID(int=1), UUID(int=2), UUID(int=3)


@pytest.fixture(scope="module")
def domain() -> ModuleType:
    module = load_module(WELLNESS / "domain.py")
    assert sys.modules["domain"] is module
    return module


def workout(domain: ModuleType, **changes: Any) -> Any:
    fields = {"type": "run", "duration_seconds": 3600, "distance_km": 10.5, "logged_at": FRIDAY}
    return domain.LogWorkout(**{"user_id": "ada", "id": RUN, "time_zone": "Asia/Tokyo", **fields, **changes})


def logged(domain: ModuleType, kind: str = "WorkoutLogged", **changes: Any) -> Any:
    fields = {"type": "run", "duration_seconds": 3600, "distance_km": 10.5, "logged_at": FRIDAY}
    zone = {"time_zone": "Asia/Tokyo", "utc_offset_minutes": 540}
    return getattr(domain, kind)(**{"id": RUN, "user_id": "ada", **zone, **fields, **changes})


def test_workout_is_logged_with_the_offset_of_its_zone(domain: ModuleType) -> None:
    given().when(workout(domain)).then(logged(domain))


@pytest.mark.parametrize(("day", "minutes"), [(28, 60), (29, 120)])
def test_offset_is_the_one_of_that_day(domain: ModuleType, day: int, minutes: int) -> None:
    """Summer time began in Berlin on 29 March 2026."""
    at = datetime(2026, 3, day, 12, tzinfo=UTC)
    decided = given().when(workout(domain, time_zone="Europe/Berlin", logged_at=at))
    decided.then(logged(domain, time_zone="Europe/Berlin", utc_offset_minutes=minutes, logged_at=at))


def test_no_zone_means_the_persons_last_one_and_utc_at_first(domain: ModuleType) -> None:
    given().when(workout(domain, time_zone=None)).then(logged(domain, time_zone="UTC", utc_offset_minutes=0))
    second = workout(domain, id=MEAL, time_zone=None)
    given(logged(domain)).when(second).then(logged(domain, id=MEAL))


def test_unknown_zone_is_rejected(domain: ModuleType) -> None:
    for zone in ("Mars/Olympus", "../../etc/passwd", " "):
        given().when(workout(domain, time_zone=zone)).then_rejected("Not a time zone")


def test_entry_is_logged_once(domain: ModuleType) -> None:
    given(logged(domain)).when(workout(domain)).then_rejected("already")


def test_correction_changes_what_it_names_and_keeps_the_rest(domain: ModuleType) -> None:
    correction = domain.CorrectWorkout(user_id="ada", id=RUN, distance_km=12.0)
    given(logged(domain)).when(correction).then(logged(domain, "WorkoutCorrected", distance_km=12.0))
    again = domain.CorrectWorkout(user_id="ada", id=RUN, type="walk")
    given(logged(domain), logged(domain, "WorkoutCorrected", distance_km=12.0)).when(again).then(
        logged(domain, "WorkoutCorrected", distance_km=12.0, type="walk")
    )


def test_correction_needs_an_entry_of_its_kind(domain: ModuleType) -> None:
    given().when(domain.CorrectWorkout(user_id="ada", id=RUN)).then_rejected("no such entry")
    given(logged(domain)).when(domain.CorrectMeal(user_id="ada", id=RUN)).then_rejected("no such entry")
    given(logged(domain)).when(domain.CorrectSleep(user_id="ada", id=RUN)).then_rejected("no such entry")


def test_meal_is_added_and_corrected(domain: ModuleType) -> None:
    def meal(kind: str, **changes: Any) -> Any:
        fields = {"name": "Salad", "calories": 450, "logged_at": FRIDAY, "time_zone": "UTC", "utc_offset_minutes": 0}
        return getattr(domain, kind)(**{"id": MEAL, "user_id": "ada", **fields, **changes})

    add = domain.AddMeal(user_id="ada", id=MEAL, name="Salad", calories=450, logged_at=FRIDAY)
    given().when(add).then(meal("MealAdded"))
    correct = domain.CorrectMeal(user_id="ada", id=MEAL, calories=0)
    given(meal("MealAdded")).when(correct).then(meal("MealCorrected", calories=0))


def test_sleep_ends_after_it_starts(domain: ModuleType) -> None:
    morning = datetime(2026, 3, 7, 7, tzinfo=UTC)
    fields = {"id": NIGHT, "user_id": "ada", "started_at": FRIDAY, "ended_at": morning}
    slept = domain.SleepLogged(**fields, time_zone="UTC", utc_offset_minutes=0)
    given().when(domain.LogSleep(**fields)).then(slept)
    given().when(domain.LogSleep(**{**fields, "ended_at": FRIDAY})).then_rejected("ends after it starts")
    backwards = domain.CorrectSleep(user_id="ada", id=NIGHT, started_at=morning)
    given(slept).when(backwards).then_rejected("ends after it starts")


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b'{"userId": "ada", "type": "run", "durationSeconds": 0}', "durationSeconds"),
        (b'{"userId": "ada", "type": "run", "durationSeconds": 90000}', "durationSeconds"),
        (b'{"userId": "ada", "type": "run", "durationSeconds": 60, "distanceKm": -1}', "distanceKm"),
        (b'{"userId": "", "type": "run", "durationSeconds": 60}', "userId"),
        (b'{"userId": "ada", "type": "run"}', "durationSeconds"),
    ],
)
def test_command_is_checked_at_the_edge(domain: ModuleType, body: bytes, place: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=place):
        msgspec.json.decode(body, type=domain.LogWorkout)


def test_domain_is_short() -> None:
    assert len((WELLNESS / "domain.py").read_text().splitlines()) < 150
