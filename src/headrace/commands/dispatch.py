"""Dispatch: load, decide, append; again when somebody else was faster.

The only code that calls a decider. It writes nothing but through the event store's append.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable

from headrace.commands.decider import Decider
from headrace.commands.domain import Domain
from headrace.commands.load import Loaded, StateLoader
from headrace.commands.turns import Turns
from headrace.errors import Conflict, Error, Unavailable
from headrace.event_store.append import NO_METADATA, Appended, conflict
from headrace.event_store.event_store import EventStore
from headrace.events.command import Command
from headrace.events.event import Event, Metadata
from headrace.telemetry import logger

log = logger(__name__)

ATTEMPTS_MAX = 10
_BACKOFF_S = 0.005


class Dispatcher:
    """Carries out commands. One object serves any number of concurrent callers."""

    def __init__(self, *, store: EventStore, domain: Domain) -> None:
        self._store = store
        self._domain = domain
        self._loader = StateLoader(store=store, events=domain.events)
        self._turns = Turns()

    async def dispatch(
        self,
        command: Command,
        *,
        metadata: Metadata = NO_METADATA,
        expected_version: int | None = None,
        fingerprint: int = 0,
    ) -> Appended:
        """Decide the command and append its events; return where they stand.

        With `expected_version` it is carried out only at that version of its stream (0: a new stream); without, it is
        decided again when somebody else appended in between, up to 10 times. With `metadata.command_id` it happens
        once: a repetition returns the first result, even when it would be refused by now. `fingerprint` tells a
        repetition from another request under the same id. A decision for no events is accepted: the answer has the
        version that the stream is at.

        Raises Rejected when the domain refuses, Conflict when others keep appending or `expected_version` is past,
        Error when the domain's code fails, and what EventStore.append raises. In each case but the last's Unavailable
        nothing was written.
        """
        decider = self._domain.decider(type(command))
        stream = command.stream()
        try:
            # Of several tags the first: whoever shares another one with it decides again, which is right, if slower.
            async with self._turns.take(next(iter(command.reads()), stream)):
                return await self._attempt(decider, stream, command, metadata, expected_version, fingerprint)
        except Unavailable:
            raise
        except Error as error:
            # Refused now, but perhaps only because it has been carried out already.
            if first := await self._first_result(metadata, fingerprint):
                return first[0]
            if error.__cause__ is not None:
                log.error("decider_failed", decider=decider.name, stream=stream, exc_info=error.__cause__)
            raise

    async def _attempt(
        self,
        decider: Decider,
        stream: str,
        command: Command,
        metadata: Metadata,
        expected_version: int | None,
        fingerprint: int,
    ) -> Appended:
        for attempt in range(1, ATTEMPTS_MAX + 1):
            if attempt > 2:
                await asyncio.sleep(random.uniform(0, _BACKOFF_S * attempt))
            loaded, events = await self._decide(decider, stream, command, expected_version, fresh=attempt > 1)
            try:
                appended = await self._store.append(
                    stream,
                    events,
                    expected_version=loaded.version if loaded.condition is None else expected_version,
                    condition=loaded.condition,
                    metadata=metadata,
                    fingerprint=fingerprint,
                )
            except Conflict:
                if attempt == ATTEMPTS_MAX:
                    raise
                continue
            if not appended.duplicate and loaded.condition is None:
                self._loader.advance(stream, decider, loaded, events)
            return appended
        raise AssertionError("the last attempt returns or raises")

    async def _decide(
        self, decider: Decider, stream: str, command: Command, expected_version: int | None, *, fresh: bool
    ) -> tuple[Loaded, list[Event]]:
        """A remembered state may be behind, so a refusal made on one is checked on a fresh one."""
        if tags := command.reads():
            loaded = await self._loader.load_tagged(tags, decider)
        else:
            loaded = await self._loader.load(stream, decider, fresh=fresh)
        try:
            return loaded, self._judge(decider, command, stream, loaded, expected_version)
        except Error:
            if not loaded.remembered:
                raise
        loaded = await self._loader.load(stream, decider, fresh=True)
        return loaded, self._judge(decider, command, stream, loaded, expected_version)

    def _judge(
        self, decider: Decider, command: Command, stream: str, loaded: Loaded, expected_version: int | None
    ) -> list[Event]:
        if loaded.condition is None and expected_version is not None and expected_version != loaded.version:
            raise conflict(stream, expected_version, loaded.version)
        try:
            decided: object = decider.decide(command, loaded.state)
            # A generator runs here, so that what it raises is met here too.
            events: list[object] = list(decided) if isinstance(decided, Iterable) else [decided]
        except Error:
            raise
        except Exception as error:
            raise Error(
                f"The decider {decider.name} failed: {type(error).__name__}. Nothing was written.",
                f"Command {type(command).__name__}, stream {stream}, version {loaded.version}.",
                "The server's log has the trace. Raise Rejected to refuse a command.",
            ) from error
        known = self._domain.events.by_name()
        for event in events:
            if not isinstance(event, Event) or known.get(type(event).__name__) is not type(event):
                raise Error(
                    f"The decider {decider.name} gave something that is no event of this domain.",
                    f"It gave a {type(event).__name__} for {type(command).__name__}. Nothing was written.",
                    "Give an iterable of events that domain.py declares; an empty one changes nothing.",
                )
        return [event for event in events if isinstance(event, Event)]

    async def _first_result(self, metadata: Metadata, fingerprint: int) -> list[Appended]:
        if metadata.command_id is None:
            return []
        return await self._store.read_command_result(metadata.command_id, fingerprint=fingerprint)
