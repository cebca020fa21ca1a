"""Follow the events from a checkpoint made of PostgreSQL's snapshots: no event is passed over, none is waited for.

A number that grows cannot be a checkpoint: transactions commit in another order than they begin, so a small number may
become visible after a large one. A snapshot says exactly which transactions are visible. What is new is what is visible
now and was not visible then; a transaction that stays open is new when it commits, and holds nobody up until then.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from headrace.event_store import read, statements
from headrace.event_store.connection import Connection
from headrace.event_store.read import BEGINNING, Place
from headrace.events.event import StoredEvent

PAGE_ROWS_MAX = 1_000
NOTHING_SEEN = "1:1:"


class Checkpoint(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is handled: everything visible in the snapshot `seen`, and of what `reading` added to it, all up to `place`.

    `reading` is empty between two snapshots. Both are the text of a pg_snapshot.
    """

    seen: str = NOTHING_SEEN
    reading: str = ""
    place: Place = BEGINNING

    def toward(self, snapshot: str) -> Checkpoint:
        """This checkpoint with something to read: what is left of its snapshot, or what `snapshot` adds."""
        return self if self.reading else Checkpoint(self.seen, snapshot)


class Page(NamedTuple):
    """Events, each with the checkpoint behind it, and the checkpoint behind the whole page."""

    events: list[tuple[Checkpoint, StoredEvent]]
    checkpoint: Checkpoint


async def read_new(connection: Connection, checkpoint: Checkpoint, types: Sequence[str] | None) -> Page:
    """The next events of these types (None: of all) between the checkpoint's snapshots; at most PAGE_ROWS_MAX."""
    assert checkpoint.reading, "there is something to read"
    parameters = {**parameters_of(checkpoint), "types": None if types is None else list(types)}
    parameters["rows_max"] = PAGE_ROWS_MAX
    cursor = await connection.execute(statements.query("read_new"), parameters, prepare=True)
    events: list[tuple[Checkpoint, StoredEvent]] = []
    behind = Checkpoint(seen=checkpoint.reading)
    for transaction_id, ordinal, *row, full_page, wanted in await cursor.fetchall():
        event = read.stored(tuple(row))
        place = Place(int(transaction_id), ordinal, event.stream, event.version)
        after = Checkpoint(checkpoint.seen, checkpoint.reading, place)
        if wanted:
            events.append((after, event))
        if full_page:
            behind = after
    return Page(events, behind)


def parameters_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """The checkpoint as the statements read_new and count_new take it."""
    return {
        **checkpoint.place.parameters(),
        "seen": checkpoint.seen,
        "reading": checkpoint.reading or checkpoint.seen,
    }
