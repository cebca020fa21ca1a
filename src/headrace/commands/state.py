"""State: what a decider decides from."""

from __future__ import annotations

from typing import Any, Protocol, Self


class State(Protocol):
    """What a decider decides from: made without arguments at the start of a stream, then evolved event by event."""

    def evolve(self, event: Any, /) -> Self:
        """The state after this event. Pure, and never refuses: the event has happened."""
        ...
