"""Load states: fold a stream's events, remember the result, and read for many commands in one query.

A remembered state may be behind what other processes have appended. That is fine for trying an append, which names
the version it was decided on; whoever answers from a state without appending asks for a `fresh` one.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from headrace.commands.decider import Decider
from headrace.commands.fold import evolve, fold
from headrace.commands.state import State
from headrace.errors import Error
from headrace.event_store.condition import Condition, Criterion
from headrace.event_store.event_store import EventStore
from headrace.event_store.read import PAGE_ROWS_MAX
from headrace.event_store.snapshots import Snapshot, SnapshotKey
from headrace.events.event import Event, StoredEvent
from headrace.events.event_types import EventTypes, encode
from headrace.events.personal import personal_fields
from headrace.telemetry import logger

log = logger(__name__)

STREAMS_MAX = 256  # per query
# States are remembered by the number of events in them, a measure of their size: a state may hold all of its events.
REMEMBERED_EVENTS_MAX = 100_000
SAVING_MAX = 16  # snapshots that are on their way at once
# A state may hold what personal fields said. It is folded again after so long, so that a forgotten person is gone from
# memory too: this, and the lifetime of a key in event_store/subject_keys.py, add up to a minute.
PERSONAL_LIFETIME_S = 30.0


class Loaded(NamedTuple):
    """A state, and the version of the stream it was folded from; `remembered`: it may be behind.

    A state over tags has no version but a `condition`, which holds as long as the state is not behind. Up to
    `saved_version` the state is in a snapshot; `unsaved_bytes` of event data came after it. `until` is when a state
    that was folded from personal fields must be gone, in the event loop's time; None: from none.
    """

    state: State
    version: int
    remembered: bool = False
    condition: Condition | None = None
    saved_version: int = 0
    unsaved_bytes: int = 0
    until: float | None = None


class StateLoader:
    """States of streams, for any number of concurrent commands."""

    def __init__(self, *, store: EventStore, events: EventTypes) -> None:
        self._store = store
        self._events = events
        self._reader = _GatheringReader(store)
        self._states: OrderedDict[tuple[str, object], Loaded] = OrderedDict()
        self._remembered_events = 0
        self._saving: set[asyncio.Task[None]] = set()

    async def load(self, stream: str, decider: Decider, *, fresh: bool) -> Loaded:
        """The state of a stream; `fresh` reads what was appended since it was remembered."""
        key = (stream, decider.state_type)
        known = self._states.get(key)
        if known is not None and not fresh:
            self._states.move_to_end(key)
            return known
        begin = known or await self._load_snapshot(stream, decider) or Loaded(decider.state_type(), 0)
        page = await self._reader.read(stream, begin.version)
        loaded = self._fold(begin, page)
        if len(page) == PAGE_ROWS_MAX:
            async for event in self._store.read_stream(stream, after_version=loaded.version):
                loaded = self._fold(loaded, [event])
        self._remember(key, self._save_if_due(stream, decider, loaded))
        return loaded

    async def _load_snapshot(self, stream: str, decider: Decider) -> Loaded | None:
        """The state from a snapshot; None when there is none that can be used."""
        if not decider.snapshots.wanted:
            return None
        saved = await self._store.read_snapshot(_snapshot_key(stream, decider))
        if saved is None:
            return None
        state = decider.snapshots.decode(stream, saved.version, saved.data)
        # A stream that lacks the snapshot's event was restored from an older backup: the snapshot is of its future.
        held = await self._store.read_streams({stream: saved.version - 1})
        if state is None or not held[stream] or held[stream][0].version != saved.version:
            log.warning("snapshot_passed_over", stream=stream, version=saved.version, readable=state is not None)
            return None
        return Loaded(state, saved.version, saved_version=saved.version)

    def _save_if_due(self, stream: str, decider: Decider, loaded: Loaded) -> Loaded:
        """Save a snapshot beside what is going on, if its policy says so; what it becomes then."""
        snapshots = decider.snapshots
        if loaded.until is not None or not snapshots.due(loaded.version - loaded.saved_version, loaded.unsaved_bytes):
            return loaded  # what personal fields said is never saved
        if len(self._saving) >= SAVING_MAX:
            return loaded  # the next command on the stream tries again
        snapshot = Snapshot(loaded.version, snapshots.encode(stream, loaded.version, loaded.state))
        task = asyncio.create_task(self._save(_snapshot_key(stream, decider), snapshot), name="save_snapshot")
        self._saving.add(task)
        task.add_done_callback(self._saving.discard)
        return loaded._replace(saved_version=loaded.version, unsaved_bytes=0)

    async def _save(self, key: SnapshotKey, snapshot: Snapshot) -> None:
        try:
            await self._store.write_snapshot(key, snapshot)
        except Error as error:
            log.warning("snapshot_not_saved", stream=key.stream, version=snapshot.version, reason=str(error))

    async def load_tagged(self, tags: Sequence[str], decider: Decider) -> Loaded:
        """The state over all events that carry one of the tags, in their order."""
        matching = self._store.read_matching([Criterion(tags=(tag,)) for tag in tags])
        state = decider.state_type()
        async for stored in matching:
            state = evolve(self._events, state, stored)
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
        size = sum(len(encode(event)) for event in events) if decider.snapshots.counts_bytes else 0
        advanced = loaded._replace(
            state=state,
            version=loaded.version + len(events),
            unsaved_bytes=loaded.unsaved_bytes + size,
            until=_until(loaded.until, personal=any(personal_fields(type(event)) for event in events)),
        )
        self._remember((stream, decider.state_type), self._save_if_due(stream, decider, advanced))

    def _fold(self, loaded: Loaded, page: list[StoredEvent]) -> Loaded:
        state, version = fold(self._events, loaded.state, loaded.version, page)
        size = loaded.unsaved_bytes + sum(len(stored.data) for stored in page)
        until = _until(loaded.until, personal=any(stored.keys is not None for stored in page))
        return loaded._replace(state=state, version=version, unsaved_bytes=size, until=until, remembered=False)

    def _remember(self, key: tuple[str, object], loaded: Loaded) -> None:
        loaded = loaded._replace(remembered=True)
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


def _snapshot_key(stream: str, decider: Decider) -> SnapshotKey:
    return SnapshotKey(stream, decider.snapshots.state, decider.snapshots.fingerprint)


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
