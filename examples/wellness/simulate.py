"""A year of made-up history, and people who go on logging: what `headrace demo` brings in. Seeded, so runs agree."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import numpy as np

from domain import AddMeal, Entry, LogSleep, LogWorkout, MealAdded, SleepLogged, WorkoutLogged
from headrace import Command

# Zones without daylight saving: an offset that holds all year keeps the history free of a million zone look-ups.
ZONES = (("America/Bogota", -300), ("UTC", 0), ("Asia/Kolkata", 330), ("Asia/Tokyo", 540))
WORKOUTS = (("run", 6.0), ("ride", 2.4), ("swim", 22.0), ("yoga", 0.0))  # minutes per kilometre; 0: no distance
MEALS = ("Porridge", "Salad", "Pasta", "Soup", "Rice bowl", "Sandwich")
YEAR_S = 365 * 86_400
CHUNK = 10_000


def history(events: int, users: int, seed: int, until: datetime) -> Iterator[tuple[str, Entry]]:
    """`events` entries of `users` people over the year before `until`, in order of time: (stream, event)."""
    start = until - timedelta(seconds=YEAR_S)
    for first in range(0, events, CHUNK):
        random = np.random.default_rng((seed, first))
        count = min(CHUNK, events - first)
        user = random.integers(0, users, count).tolist()
        kind = random.random(count).tolist()
        size = random.random(count).tolist()
        choice = random.integers(0, 1 << 16, count).tolist()
        ids = random.bytes(16 * count)
        for i in range(count):
            progress = (first + i) / events
            at = start + timedelta(seconds=int(progress * YEAR_S))
            zone, offset = ZONES[user[i] % len(ZONES)]
            base = {
                "id": UUID(bytes=ids[16 * i : 16 * i + 16], version=4),
                "user_id": f"user{user[i]}",
                "time_zone": zone,
                "utc_offset_minutes": offset,
            }
            yield f"user-user{user[i]}", entry(base, kind[i], size[i], choice[i], progress, at)


def entry(base: dict, kind: float, size: float, choice: int, progress: float, at: datetime) -> Entry:
    if kind < 0.4:
        return WorkoutLogged(**base, logged_at=at, **workout(size, choice, progress, at))
    if kind < 0.85:
        return MealAdded(**base, logged_at=at, name=MEALS[choice % len(MEALS)], calories=int(250 + 600 * size))
    return SleepLogged(**base, started_at=at - timedelta(minutes=int(360 + 180 * size)), ended_at=at)


def workout(size: float, choice: int, progress: float, at: datetime) -> dict:
    """People get a tenth faster over the year, are slower on Mondays, and stay out longer at the weekend."""
    kind, minutes_per_km = WORKOUTS[choice % len(WORKOUTS)]
    minutes = (20 + 50 * size) * (1.3 if at.weekday() >= 5 else 1.0)
    pace = minutes_per_km * (1.05 - 0.1 * progress) * (1.04 if at.weekday() == 0 else 1.0)
    distance = round(minutes / pace, 2) if pace else None
    return {"type": kind, "duration_seconds": int(minutes * 60), "distance_km": distance}


def live(users: int, seed: int) -> Iterator[Command]:
    """Commands that simulated people send, without end."""
    random = np.random.default_rng(seed)
    while True:
        user, choice = int(random.integers(0, users)), int(random.integers(0, 1 << 16))
        size, kind, now = float(random.random()), float(random.random()), datetime.now(UTC)
        who = {"user_id": f"user{user}", "time_zone": ZONES[user % len(ZONES)][0]}
        if kind < 0.4:
            yield LogWorkout(**who, **workout(size, choice, 1.0, now))
        elif kind < 0.85:
            yield AddMeal(**who, name=MEALS[choice % len(MEALS)], calories=int(250 + 600 * size))
        else:
            yield LogSleep(**who, started_at=now - timedelta(minutes=int(360 + 180 * size)), ended_at=now)
