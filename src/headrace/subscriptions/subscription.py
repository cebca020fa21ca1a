"""Subscription: hold it, follow the events, hand them to the reactor, and save how far it is.

At every moment each event behind the checkpoint is handled or is a dead letter; those after it may have been handled,
and are handled again after a crash.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial

from headrace.errors import Conflict, Error, Unavailable
from headrace.event_store.follow import Checkpoint
from headrace.event_store.held_subscription import HeldSubscription, Look, Superseded, hold
from headrace.event_store.read import WithKeys
from headrace.events.event import Event, StoredEvent
from headrace.events.event_types import EventTypes
from headrace.subscriptions.lanes import Lanes, Mark, Progress
from headrace.subscriptions.reaction import Hanging, Reactions
from headrace.subscriptions.reactor import Reactor
from headrace.telemetry import logger

log = logger(__name__)

PARALLEL_MAX = 32
# So many keys that wait behind dead letters are no matter of single events any more.
BLOCKED_KEYS_MAX = 1_000
EVENTS_MAX = 4_000  # on their way; a key that is stuck lets the others run so far ahead of it
ATTEMPTS_MAX = 5
BACKOFF_S = (0.05, 0.2, 0.8, 2.0)
POLL_MIN_S, POLL_MAX_S, POLL_GROWTH = 0.02, 0.5, 1.3
SAVE_EVERY_S = 0.2
# Nothing was handled, but the snapshots moved on; saved so that a restart has less to look through.
SAVE_UNMOVED_EVERY_S = 10.0


class Subscription:
    """One reactor, following the events."""

    def __init__(
        self, *, url: str, reactor: Reactor, events: EventTypes, reactions: Reactions, with_keys: WithKeys
    ) -> None:
        self._url = url
        self._with_keys = with_keys
        self._reactor = reactor
        self._events = events
        self._reactions = reactions

    async def run(self) -> None:
        """Follow until cancelled, or until somebody else took over or reset it: then run it again.

        Raises Unavailable when PostgreSQL is away: run it again then, too. It waits while another process runs it.
        """
        async with hold(self._url, self._reactor.name, from_now=self._reactor.from_now) as held:
            try:
                await _Session(held, self._reactor, self._events, self._reactions, self._with_keys).run()
            except ExceptionGroup as group:
                # Of several failures at once the others followed from the first.
                first = group.exceptions[0]
                if not isinstance(first, Superseded):
                    raise first from group
                log.info("subscription_begins_anew", subscription=self._reactor.name)


class _Session:
    """From taking the subscription until losing it. What is remembered here is forgotten with it."""

    def __init__(
        self,
        held: HeldSubscription,
        reactor: Reactor,
        events: EventTypes,
        reactions: Reactions,
        with_keys: WithKeys,
    ) -> None:
        self._with_keys = with_keys
        self._held = held
        self._reactor = reactor
        self._events = events
        self._reactions = reactions
        self._types = reactor.types(events)
        self._progress = Progress(held.checkpoint)
        self._read = held.checkpoint
        self._saved = held.checkpoint
        self._saved_at = time.monotonic()
        self._handled_saved = 0
        self._slots = asyncio.Semaphore(PARALLEL_MAX)
        self._blocked: set[str] = set()
        self._settling: set[str] = set()

    async def run(self) -> None:
        self._blocked = await self._held.blocked_keys()
        try:
            async with asyncio.TaskGroup() as group:
                await self._follow(Lanes(group))
        finally:
            await self._save_at_end()

    async def _follow(self, lanes: Lanes) -> None:
        pause_s = POLL_MIN_S
        while True:
            look = await self._held.look()
            if look.asked:
                await self._settle_asked(lanes)
            if len(self._blocked) >= BLOCKED_KEYS_MAX and not look.paused:
                await self._give_up()
                continue
            full = self._progress.waiting >= EVENTS_MAX
            more = not look.paused and not full and await self._read_page(look, lanes)
            await self._save_if_due()
            pause_s = POLL_MIN_S if more or full else min(pause_s * POLL_GROWTH, POLL_MAX_S)
            if not more:
                await asyncio.sleep(pause_s)

    async def _give_up(self) -> None:
        problem = f"{len(self._blocked):,} keys wait behind dead letters."
        log.error("subscription_paused", subscription=self._reactor.name, problem=problem)
        await self._held.pause(problem)

    async def _read_page(self, look: Look, lanes: Lanes) -> bool:
        """Whether there may be more at once."""
        checkpoint = self._read.toward(look.snapshot)
        if checkpoint.seen == checkpoint.reading:
            return False
        page = await self._held.read_new(checkpoint, self._types)
        events = await self._with_keys([stored for _, stored in page.events])
        for (after, _), stored in zip(page.events, events, strict=True):
            self._start(stored, self._progress.expect(after), lanes)
        self._progress.reach(page.checkpoint)
        self._read = page.checkpoint
        return bool(page.events) or bool(page.checkpoint.reading)

    def _start(self, stored: StoredEvent, mark: Mark, lanes: Lanes) -> None:
        event = self._decode(stored)
        key = self._reactor.key_of(stored, event if isinstance(event, Event) else None)
        lanes.add(key, partial(self._handle, event, stored, key, mark))

    async def _handle(self, event: Event | Error, stored: StoredEvent, key: str, mark: Mark) -> None:
        if key in self._blocked:
            await self._held.set_aside(stored, key, "Behind another dead letter of its key.")
        elif reason := await self._attempt(event, stored):
            self._blocked.add(key)
            await self._held.set_aside(stored, key, reason)
            self._reactions.check()
        self._progress.end(mark)

    async def _attempt(self, event: Event | Error, stored: StoredEvent) -> str:
        """Let the reactor handle the event; the reason why it could not, or nothing."""
        if isinstance(event, Error):
            self._say_set_aside(stored, event)
            return str(event)
        failures = waits = 0
        while True:
            try:
                async with self._slots:
                    await self._reactions.react(event, stored)
                return ""
            except (Unavailable, Conflict) as error:
                # Not the event's fault: wait for as long as it takes, for PostgreSQL or because other processes keep
                # appending to the stream. If PostgreSQL is gone, the next look ends all.
                waits += 1
                pause_s = BACKOFF_S[min(waits, len(BACKOFF_S)) - 1]
                log.warning("reaction_waits", reactor=self._reactor.name, stream=stored.stream, reason=error.message)
            except Exception as error:  # whatever the user's function raises: it is kept with the event
                failures += 1
                if failures == ATTEMPTS_MAX or isinstance(error, Hanging):
                    self._say_set_aside(stored, error)
                    return self._reason(error)
                pause_s = BACKOFF_S[failures - 1]
            await asyncio.sleep(pause_s)

    def _reason(self, error: Exception) -> str:
        if isinstance(error, TimeoutError) and not str(error):
            return f"It did not end within {self._reactor.time_max_s:g} s."
        return str(error) if isinstance(error, Error) else f"{type(error).__name__}: {error}"

    def _say_set_aside(self, stored: StoredEvent, error: Exception) -> None:
        log.error(
            "event_set_aside",
            reactor=self._reactor.name,
            stream=stored.stream,
            version=stored.version,
            type=stored.type,
            exc_info=error,
        )

    def _decode(self, stored: StoredEvent) -> Event | Error:
        try:
            return self._events.decode(stored)
        except Error as error:  # unknown, of a newer version, damaged, or one that an upcaster fails on
            return error

    async def _settle_asked(self, lanes: Lanes) -> None:
        for key in await self._held.asked_keys() - self._settling:
            self._settling.add(key)
            lanes.add(key, partial(self._settle, key))

    async def _settle(self, key: str) -> None:
        """Handle the dead letters of a key in order, until one fails again or none is left."""
        while letters := await self._held.open_letters(key):
            for letter in letters:
                (event,) = await self._with_keys([letter.event])
                reason = "" if letter.discard else await self._attempt(self._decode(event), event)
                if reason:
                    await self._held.postpone(letter, key, reason)
                    self._settling.discard(key)
                    return
                await self._held.settle(letter)
        self._blocked.discard(key)
        self._settling.discard(key)

    async def _save_if_due(self) -> None:
        handled = self._progress.handled != self._handled_saved
        due_s = SAVE_EVERY_S if handled else SAVE_UNMOVED_EVERY_S
        if time.monotonic() - self._saved_at >= due_s:
            await self._save()

    async def _save(self) -> None:
        checkpoint: Checkpoint = self._progress.checkpoint
        if checkpoint != self._saved:
            self._handled_saved = self._progress.handled
            await self._held.save(checkpoint)
            self._saved = checkpoint
        self._saved_at = time.monotonic()

    async def _save_at_end(self) -> None:
        """So that less is repeated after an orderly stop. After any other end it may fail, and that loses nothing."""
        try:
            await self._save()
        except (Unavailable, Superseded) as error:
            log.debug("checkpoint_not_saved", subscription=self._reactor.name, reason=type(error).__name__)
