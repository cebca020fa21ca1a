"""HeldSubscription: a subscription as the one process sees it that runs it.

Everything here goes over one connection, which also holds the lock: when it breaks, the subscription is lost, and
whoever takes it next begins at what was saved. That matters beyond the lock: a server that crashed may give the numbers
of transactions that left no trace again, so nothing that was learned from it before and not saved may be believed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import msgspec
import psycopg

from headrace.errors import Corrupt, Unavailable
from headrace.event_store import follow, read, statements
from headrace.event_store.connection import Connection, connect
from headrace.event_store.follow import Checkpoint, Page
from headrace.events.event import StoredEvent
from headrace.telemetry import logger

log = logger(__name__)

LOCK_POLL_S = 0.25
LETTERS_MAX = 100  # per page
# A host that vanished without a word is given up by the server after some 25 seconds, and its locks with it.
_SESSION = b"SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Checkpoint).decode


class Superseded(Exception):
    """Another process has taken the subscription over, or it was reset: take it again, and begin at what is saved."""


class Look(NamedTuple):
    """How things are: the newest snapshot, whether to pause, and whether somebody asked about dead letters."""

    snapshot: str
    paused: bool
    asked: bool


class OpenLetter(NamedTuple):
    """A dead letter that is not settled, with its event; `discard`: somebody asked to leave it out."""

    discard: bool
    event: StoredEvent


class HeldSubscription:
    """What its holder reads and writes. Each method raises Unavailable when the connection is lost, and each that
    writes raises Superseded when another holder came in between.
    """

    def __init__(self, connection: Connection, name: str, epoch: int, checkpoint: Checkpoint) -> None:
        self._connection = connection
        self._who = {"name": name, "epoch": epoch}
        self.checkpoint = checkpoint

    async def look(self) -> Look:
        """See what there is to do. Raises Superseded."""
        rows = await self._fetch("look_at_subscription")
        if not rows:
            raise Superseded
        return Look(*rows[0])

    async def read_new(self, checkpoint: Checkpoint, types: Sequence[str] | None) -> Page:
        """See follow.read_new."""
        try:
            return await follow.read_new(self._connection, checkpoint, types)
        except psycopg.Error as error:
            raise _lost(error) from error

    async def save(self, checkpoint: Checkpoint) -> None:
        """Everything up to the checkpoint is handled or set aside."""
        await self._write("save_checkpoint", {"checkpoint": _encode(checkpoint).decode()})

    async def pause(self, problem: str) -> None:
        """Take up nothing more until somebody resumes it."""
        await self._write("pause_subscription", {"problem": problem})

    async def set_aside(self, event: StoredEvent, key: str, reason: str) -> None:
        """Keep the event as a dead letter. Its repetition changes nothing."""
        # PostgreSQL's text holds no NUL, and whatever a handler raised may.
        parameters = {"stream": event.stream, "version": event.version, "key": key, "reason": reason.replace("\0", "")}
        await self._write("set_aside", parameters)

    async def blocked_keys(self) -> set[str]:
        """The keys that have open dead letters."""
        return {key for (key,) in await self._fetch("find_blocked_keys")}

    async def asked_keys(self) -> set[str]:
        """The keys whose dead letters somebody asked to retry or to discard."""
        return {key for (key,) in await self._fetch("find_asked_keys")}

    async def open_letters(self, key: str) -> list[OpenLetter]:
        """The first open dead letters of a key, in order, at most LETTERS_MAX."""
        rows = await self._fetch("read_open_letters", {"key": key, "rows_max": LETTERS_MAX})
        return [OpenLetter(row[0], read.stored(row[1:])) for row in rows]

    async def settle(self, letter: OpenLetter) -> None:
        """It is handled, or left out as somebody asked."""
        status = "discarded" if letter.discard else "handled"
        place = {"stream": letter.event.stream, "version": letter.event.version}
        await self._write("settle_letter", {**place, "status": status})

    async def postpone(self, letter: OpenLetter, key: str, reason: str) -> None:
        """It failed again: all of its key wait. If somebody asked meanwhile to leave it out, that stands."""
        place = {"stream": letter.event.stream, "version": letter.event.version}
        await self._execute("postpone_letters", {**place, "key": key, "reason": reason.replace("\0", "")})

    async def _write(self, name: str, parameters: Mapping[str, Any]) -> None:
        if await self._execute(name, parameters) == 0:
            raise Superseded

    async def _fetch(self, name: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        try:
            cursor = await self._connection.execute(statements.query(name), {**self._who, **(parameters or {})})
            return await cursor.fetchall()
        except psycopg.Error as error:
            raise _lost(error) from error

    async def _execute(self, name: str, parameters: Mapping[str, Any]) -> int:
        try:
            cursor = await self._connection.execute(statements.query(name), {**self._who, **parameters})
        except psycopg.Error as error:
            raise _lost(error) from error
        return cursor.rowcount


@asynccontextmanager
async def hold(url: str, name: str, *, from_now: bool) -> AsyncIterator[HeldSubscription]:
    """Wait until no other process runs this subscription, and hold it for as long as the block runs.

    A new one begins before the first event, with `from_now` behind the last. Raises Unavailable, and Corrupt for a
    checkpoint that this database has not reached: it is another one, or an older copy.
    """
    connection = await connect(url)
    try:
        await connection.execute(_SESSION)
        await _lock(connection, name)
        await connection.execute(statements.query("create_subscription"), {"name": name, "from_now": from_now})
        cursor = await connection.execute(statements.query("take_subscription"), {"name": name})
        row = await cursor.fetchone()
        assert row is not None
        epoch, checkpoint, ahead = row
        if ahead:
            raise Corrupt(
                f"The checkpoint of the subscription {name} lies beyond the newest transaction of this database.",
                f"Checkpoint {checkpoint.decode()}.",
                f"If the events were restored from a copy: `headrace subscriptions reset {name}` handles all again.",
            )
        yield HeldSubscription(connection, name, epoch, _decode(checkpoint))
    except psycopg.Error as error:
        raise _lost(error) from error
    finally:
        await connection.close()


async def _lock(connection: Connection, name: str) -> None:
    """Asks again and again instead of waiting inside PostgreSQL, where a waiting statement would hold a snapshot."""
    waits = False
    while True:
        row = await (await connection.execute(statements.query("lock_subscription"), {"name": name})).fetchone()
        assert row is not None
        if row[0]:
            return
        if not waits:
            log.info("subscription_held_elsewhere", subscription=name)
        waits = True
        await asyncio.sleep(LOCK_POLL_S)


def _lost(error: psycopg.Error) -> Unavailable:
    return Unavailable(
        "The subscription's connection to PostgreSQL failed; nothing is lost.",
        str(error).strip(),
        "It goes on by itself at its checkpoint.",
    )
