"""Load states: fold a stream's events, remember the result, and read for many commands in one query.

A remembered state may be behind what other processes have appended. That is fine for trying an append, which names
the version it was decided on; whoever answers from a state without appending asks for a `fresh` one.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from headrace.commands.decider import Decider, State
from headrace.errors import Corrupt, Error
from headrace.event_store.condition import Condition, Criterion
from headrace.event_store.event_store import EventStore
from headrace.event_store.read import PAGE_ROWS_MAX
from headrace.events.event import Event, StoredEvent
from headrace.events.event_types import EventTypes
from headrace.events.personal import personal_fields
from headrace.telemetry import logger

log = logger(__name__)

STREAMS_MAX = 256  # per query
# States are remembered by the number of events in them, a measure of their size: a state may hold all of its events.
REMEMBERED_EVENTS_MAX = 100_000
# A state may hold what personal fields said. It is folded again after so long, so that a forgotten person is gone from
# memory too: this, and the lifetime of a key in event_store/subject_keys.py, add up to a minute.
PERSONAL_LIFETIME_S = 30.0


class Loaded(NamedTuple):
    """A state, and the version of the stream it was folded from; `remembered`: it may be behind.

    A state over tags has no version but a `condition`, which holds as long as the state is not behind. `until` is when
    a state that was folded from personal fields must be gone, in the event loop's time; None: from none.
    """

    state: State
    version: int
    remembered: bool = False
    condition: Condition | None = None
    until: float | None = None


class StateLoader:
    """States of streams, for any number of concurrent commands."""

    def __init__(self, *, store: EventStore, events: EventTypes) -> None:
        self._store = store
        self._events = events
        self._reader = _GatheringReader(store)
        self._states: OrderedDict[tuple[str, object], Loaded] = OrderedDict()
        self._remembered_events = 0

    async def load(self, stream: str, decider: Decider, *, fresh: bool) -> Loaded:
        """The state of a stream; `fresh` reads what was appended since it was remembered."""
        key = (stream, decider.state_type)
        known = self._states.get(key)
        if known is not None and not fresh:
            self._states.move_to_end(key)
            return known
        begin = known or Loaded(decider.state_type(), 0)
        state, version = begin.state, begin.version
        page = await self._reader.read(stream, version)
        state, version = self._fold(state, version, page)
        until = _until(begin.until, personal=any(event.keys is not None for event in page))
        if len(page) == PAGE_ROWS_MAX:
            async for event in self._store.read_stream(stream, after_version=version):
                state, version = self._fold(state, version, [event])
                until = _until(until, personal=event.keys is not None)
        self._remember(key, Loaded(state, version, remembered=True, until=until))
        return Loaded(state, version, until=until)

    async def load_tagged(self, tags: Sequence[str], decider: Decider) -> Loaded:
        """The state over all events that carry one of the tags, in their order."""
        matching = self._store.read_matching([Criterion(tags=(tag,)) for tag in tags])
        state = decider.state_type()
        async for stored in matching:
            state = self._evolve(state, stored)
        return Loaded(state, 0, condition=matching.condition)

    def advance(self, stream: str, decider: Decider, loaded: Loaded, events: list[Event]) -> None:
        """Remember the state after an append of our own, without reading it back."""
        state = loaded.state
        try:
            for event in events:
                state = state.evolve(event)
        except Exception as error:
            # The events are durable, so the command succeeded; whoever loads the stream next gets the error.
            log.error("evolve_failed", stream=stream, version=loaded.version, exc_info=error)
            return
        version = loaded.version + len(events)
        until = _until(loaded.until, personal=any(personal_fields(type(event)) for event in events))
        self._remember((stream, decider.state_type), Loaded(state, version, remembered=True, until=until))

    def _fold(self, state: State, version: int, page: list[StoredEvent]) -> tuple[State, int]:
        for stored in page:
            if stored.version != version + 1:
                raise Corrupt(
                    f"Stream {stored.stream} has a gap.",
                    f"Version {stored.version} follows version {version}.",
                    "Restore the event store from a backup, and report this.",
                )
            state = self._evolve(state, stored)
            version = stored.version
        return state, version

    def _evolve(self, state: State, stored: StoredEvent) -> State:
        event = self._events.decode(stored)
        try:
            return state.evolve(event)
        except Exception as error:
            log.error("evolve_failed", stream=stored.stream, version=stored.version, exc_info=error)
            raise Error(
                f"{type(state).__name__}.evolve failed: {type(error).__name__}.",
                f"Stream {stored.stream}, version {stored.version}, event {stored.type}.",
                "The server's log has the trace. evolve must accept every event that its streams hold.",
            ) from error

    def _remember(self, key: tuple[str, object], loaded: Loaded) -> None:
        if loaded.until is not None:
            loop = asyncio.get_running_loop()
            if loaded.until <= loop.time():
                return
            known = self._states.get(key)
            if known is None or known.until is None:
                loop.call_at(loaded.until, self._drop, key)
        known = self._states.pop(key, None)
        if known is not None:
            if known.version > loaded.version:
                loaded = known  # a slower command finished after a newer one
            self._remembered_events -= known.version + 1
        self._states[key] = loaded
        self._remembered_events += loaded.version + 1
        while self._remembered_events > REMEMBERED_EVENTS_MAX:
            _, oldest = self._states.popitem(last=False)
            self._remembered_events -= oldest.version + 1

    def _drop(self, key: tuple[str, object]) -> None:
        if (known := self._states.pop(key, None)) is not None:
            self._remembered_events -= known.version + 1


def _until(until: float | None, *, personal: bool) -> float | None:
    """The time that is set by the first personal field in a state stays: later ones do not prolong its life."""
    if until is None and personal:
        return asyncio.get_running_loop().time() + PERSONAL_LIFETIME_S
    return until


class _GatheringReader:
    """Reads that are asked for while one query is under way travel together in the next."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self._waiting: dict[tuple[str, int], list[asyncio.Future[list[StoredEvent]]]] = {}
        self._task: asyncio.Task[None] | None = None

    async def read(self, stream: str, after_version: int) -> list[StoredEvent]:
        future: asyncio.Future[list[StoredEvent]] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault((stream, after_version), []).append(future)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="load_streams")
        return await future

    async def _run(self) -> None:
        while self._waiting:
            wanted: dict[str, int] = {}
            for stream, after_version in self._waiting:
                if len(wanted) == STREAMS_MAX:
                    break
                wanted.setdefault(stream, after_version)
            futures = {item: self._waiting.pop(item) for item in wanted.items()}
            try:
                found = await self._store.read_streams(wanted)
            except BaseException as error:
                for future in (future for group in futures.values() for future in group if not future.done()):
                    future.set_exception(error) if isinstance(error, Exception) else future.cancel()
                if not isinstance(error, Exception):
                    raise
            else:
                for (stream, _), group in futures.items():
                    for future in group:
                        if not future.done():
                            future.set_result(found[stream])
