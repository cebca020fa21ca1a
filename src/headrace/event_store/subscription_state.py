"""Subscriptions as the command line sees them: how far they are, and requests to their holder.

Only the holder handles events; what is asked here is written down, and the holder looks several times a second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import msgspec
import psycopg
from psycopg_pool import PoolTimeout

from headrace.errors import Unknown
from headrace.event_store import statements
from headrace.event_store.connection import Pool, unreachable
from headrace.event_store.follow import Checkpoint, parameters_of

LAG_MAX = 1_000_000
LETTERS_MAX = 1_000

State = Literal["active", "paused"]
_decode = msgspec.json.Decoder(Checkpoint).decode


@dataclass(frozen=True, slots=True)
class SubscriptionState:
    """A subscription. `dead_letters` are those not settled; `scheduled` commands wait for their time, `failed` ones
    were tried too often.
    """

    name: str
    state: State
    checkpoint: Checkpoint
    problem: str
    updated_at: datetime
    dead_letters: int
    scheduled: int
    failed: int


@dataclass(frozen=True, slots=True)
class SubscriptionLetter:
    """An event that a reactor could not handle, or one behind it."""

    subscription: str
    key: str
    stream: str
    version: int
    status: str
    reason: str
    set_aside_at: datetime


class SubscriptionStates:
    """Reads and asks. Each method raises Unavailable; those that name a subscription raise Unknown if there is none."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def read(self) -> list[SubscriptionState]:
        """All of them, by name."""
        rows = await self._execute("read_subscriptions", {})
        return [SubscriptionState(name, state, _decode(checkpoint), *rest) for name, state, checkpoint, *rest in rows]

    async def count_new(self, checkpoint: Checkpoint, types: Sequence[str] | None) -> int:
        """How many events of these types (None: of all) are behind the checkpoint, counted up to LAG_MAX."""
        wanted = None if types is None else list(types)
        rows = await self._execute("count_new", {**parameters_of(checkpoint), "types": wanted, "rows_max": LAG_MAX})
        return int(rows[0][0])

    async def set_state(self, name: str, state: State) -> None:
        """Pause it or let it go on."""
        _found(name, await self._change("set_subscription_state", {"name": name, "state": state}))

    async def reset(self, name: str) -> None:
        """Back before the first event. Its dead letters go: their events are met again."""
        _found(name, await self._change("reset_subscription", {"name": name}, then="forget_letters"))

    async def letters(self, name: str = "") -> list[SubscriptionLetter]:
        """Dead letters in order, of one subscription or of all; the first LETTERS_MAX."""
        rows = await self._execute("read_subscription_dead_letters", {"name": name, "rows_max": LETTERS_MAX})
        return [SubscriptionLetter(*row) for row in rows]

    async def retry(self, name: str, key: str | None = None) -> int:
        """Ask for the dead letters of a key (None: all, and scheduled commands that failed); how many."""
        asked = await self._change("ask_retry", {"name": name, "key": key})
        return asked + (0 if key else await self._change("retry_scheduled_commands", {"name": name}))

    async def discard(self, name: str, key: str) -> int:
        """Ask to leave out the event that a key waits for, and to handle those behind it; how many letters of it."""
        return await self._change("ask_discard", {"name": name, "key": key})

    async def discard_scheduled(self, name: str) -> int:
        """Remove the scheduled commands that failed too often; how many."""
        return await self._change("discard_scheduled_commands", {"name": name})

    async def _change(self, name: str, parameters: Mapping[str, Any], *, then: str = "") -> int:
        """How many rows changed; `then`: another change, both or none."""
        try:
            async with self._pool.connection() as connection, connection.transaction():
                changed = (await connection.execute(statements.query(name), parameters)).rowcount
                if then:
                    await connection.execute(statements.query(then), parameters)
                return changed
        except (psycopg.OperationalError, PoolTimeout) as error:
            raise unreachable(error) from error

    async def _execute(self, name: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        try:
            async with self._pool.connection() as connection:
                return await (await connection.execute(statements.query(name), parameters)).fetchall()
        except (psycopg.OperationalError, PoolTimeout) as error:
            raise unreachable(error) from error


def _found(name: str, count: int) -> None:
    if not count:
        raise Unknown(
            f"No subscription is called {name[:80]!r}.", hint="`headrace subscriptions list` names those that have run."
        )
