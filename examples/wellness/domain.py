"""Wellness: people log workouts, meals and sleep, and correct what they logged.

A corrected entry is an entry too: `WorkoutCorrected` is a `WorkoutLogged`, so whatever reads the one reads both.
Days of the week are the person's own: each entry carries the offset of the zone that the person was in.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Self
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from msgspec import Meta, Struct, field
from msgspec.structs import asdict

from headrace import Command, Event, Rejected, decider

Name = Annotated[str, Meta(min_length=1, max_length=80)]
Seconds = Annotated[int, Meta(gt=0, le=86_400)]


now = partial(datetime.now, UTC)

# Commands. Defaults are filled in at the edge: deciders see no clock. No time zone means the person's last one.


class LogWorkout(Command, stream="user-{user_id}", route="/log-workout", rename="camel"):
    user_id: Name
    type: Name
    duration_seconds: Seconds
    distance_km: Annotated[float, Meta(ge=0, le=1_000)] | None = None
    time_zone: str | None = None
    logged_at: datetime = field(default_factory=now)
    id: UUID = field(default_factory=uuid4)


class CorrectWorkout(Command, stream="user-{user_id}", route="/correct-workout", rename="camel"):
    user_id: Name
    id: UUID
    type: Name | None = None
    duration_seconds: Seconds | None = None
    distance_km: Annotated[float, Meta(ge=0, le=1_000)] | None = None


class AddMeal(Command, stream="user-{user_id}", route="/add-meal", rename="camel"):
    user_id: Name
    name: Name
    calories: Annotated[int, Meta(ge=0, le=20_000)]
    time_zone: str | None = None
    logged_at: datetime = field(default_factory=now)
    id: UUID = field(default_factory=uuid4)


class CorrectMeal(Command, stream="user-{user_id}", route="/correct-meal", rename="camel"):
    user_id: Name
    id: UUID
    name: Name | None = None
    calories: Annotated[int, Meta(ge=0, le=20_000)] | None = None


class LogSleep(Command, stream="user-{user_id}", route="/log-sleep", rename="camel"):
    user_id: Name
    started_at: datetime
    ended_at: datetime
    time_zone: str | None = None
    id: UUID = field(default_factory=uuid4)


class CorrectSleep(Command, stream="user-{user_id}", route="/correct-sleep", rename="camel"):
    user_id: Name
    id: UUID
    started_at: datetime | None = None
    ended_at: datetime | None = None


class Entry(Event):
    id: UUID
    user_id: str
    time_zone: str
    utc_offset_minutes: int


class WorkoutLogged(Entry):
    type: str
    duration_seconds: int
    distance_km: float | None
    logged_at: datetime


class MealAdded(Entry):
    name: str
    calories: int
    logged_at: datetime


class SleepLogged(Entry):
    started_at: datetime
    ended_at: datetime


class WorkoutCorrected(WorkoutLogged): ...


class MealCorrected(MealAdded): ...


class SleepCorrected(SleepLogged): ...


class User(Struct, frozen=True):
    time_zone: str = "UTC"
    entries: dict[UUID, Entry] = {}

    def evolve(self, event: Entry) -> Self:
        return type(self)(event.time_zone, {**self.entries, event.id: event})


@decider(LogWorkout, AddMeal, LogSleep)
def log(command: LogWorkout | AddMeal | LogSleep, user: User) -> Iterable[Event]:
    if command.id in user.entries:
        raise Rejected(f"There is an entry {command.id} already.", hint="Correct it, or log under another id.")
    zone = command.time_zone or user.time_zone
    at = command.ended_at if isinstance(command, LogSleep) else command.logged_at
    kind = {LogWorkout: WorkoutLogged, AddMeal: MealAdded, LogSleep: SleepLogged}[type(command)]
    yield checked(kind, asdict(command) | {"time_zone": zone, "utc_offset_minutes": offset_minutes(at, zone)})


@decider(CorrectWorkout, CorrectMeal, CorrectSleep)
def correct(command: CorrectWorkout | CorrectMeal | CorrectSleep, user: User) -> Iterable[Event]:
    kind = {CorrectWorkout: WorkoutCorrected, CorrectMeal: MealCorrected, CorrectSleep: SleepCorrected}[type(command)]
    entry = user.entries.get(command.id)
    if entry is None or not issubclass(kind, type(entry)):
        raise Rejected(f"{command.user_id} has no such entry: {command.id}.", f"{kind.__name__} needs one.")
    yield checked(kind, asdict(entry) | {name: value for name, value in asdict(command).items() if value is not None})


def checked(kind: type[Entry], fields: dict[str, Any]) -> Entry:
    if issubclass(kind, SleepLogged) and fields["ended_at"] <= fields["started_at"]:
        raise Rejected("A sleep ends after it starts.", f"{fields['started_at']} to {fields['ended_at']}.")
    return kind(**fields)


def offset_minutes(at: datetime, zone: str) -> int:
    try:
        offset = at.astimezone(ZoneInfo(zone)).utcoffset()
    except (KeyError, ValueError, OSError) as error:
        raise Rejected(f"Not a time zone: {zone[:40]!r}.", hint="Use a name such as Europe/Berlin.") from error
    return int(offset.total_seconds() // 60) if offset else 0
