"""The events that scenarios append: about 130 bytes of JSON each, over a thousand streams."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from headrace.events.event import Event

USERS = 1_000


class Measured(Event):
    user_id: str
    kind: str
    amount: float
    measured_at: datetime


def measured_events(count: int) -> Iterator[tuple[str, Event]]:
    """(stream, event) pairs, the same ones each time."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(count):
        user = f"user{number * 7919 % USERS}"
        yield f"user-{user}", Measured(user_id=user, kind="run", amount=number % 977 / 10, measured_at=at)
