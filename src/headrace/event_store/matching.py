"""Matching: the events that criteria select, and the condition that says nothing came since."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import msgspec

from headrace.event_store.condition import Condition, Criterion, check_criteria
from headrace.event_store.connection import Pool
from headrace.event_store.read import BEGINNING, PAGE_ROWS_MAX, Place, WithKeys, fetch, stored
from headrace.events.event import StoredEvent

_encode = msgspec.json.Encoder().encode


class Matching:
    """See EventStore.read_matching. To be iterated over once; memory holds one page of 1,000 events."""

    def __init__(self, pool: Pool, criteria: Sequence[Criterion], *, with_keys: WithKeys) -> None:
        check_criteria(criteria)
        self._pool = pool
        self._with_keys = with_keys
        self._criteria = tuple(criteria)
        self._after: str | None = None

    @property
    def condition(self) -> Condition:
        """Holds as long as no other event matches than those read here. Iterate first, at least to the first event."""
        assert self._after is not None, "a condition is about what was read"
        return Condition(self._criteria, self._after)

    async def __aiter__(self) -> AsyncIterator[StoredEvent]:
        place = BEGINNING
        while True:
            rows = await fetch(self._pool, "read_matching", self._parameters(place))
            self._after = self._after or rows[0][0]
            if rows[0][1] is None:  # the one row that only says when nothing was found
                return
            for row, event in zip(rows, await self._with_keys([stored(row[3:]) for row in rows]), strict=True):
                place = Place(int(row[1]), row[2], event.stream, event.version)
                yield event
            if len(rows) < PAGE_ROWS_MAX:
                return

    def _parameters(self, place: Place) -> dict[str, object]:
        return {
            **place.parameters(),
            "criteria": _encode(self._criteria).decode(),
            "seen": self._after,
            "rows_max": PAGE_ROWS_MAX,
        }
