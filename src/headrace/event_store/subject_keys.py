"""SubjectKeys: the keys of the people in the events, fetched many at a time and remembered for a short while.

The lifetime of what is remembered is a promise: that long after a person was forgotten, no process can read them.
Writing is stricter: an append under a key that is gone writes nothing (see sql/functions/append.sql).
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterable
from typing import TypeVar

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from headrace.errors import Unavailable
from headrace.event_store.connection import Pool
from headrace.event_store.read import fetch
from headrace.events.event import StoredEvent
from headrace.events.sealing import Keys, SubjectKey, key_ids

LIFETIME_S = 30.0
REMEMBERED_MAX = 10_000
_ATTEMPTS_MAX = 5

Name = TypeVar("Name")
Remembered = TypeVar("Remembered")


class SubjectKeys:
    """The subject keys of one event store."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        # By subject for writing, by id for reading; oldest first, each with the time at which it is out of date.
        self._by_subject: OrderedDict[str, tuple[float, SubjectKey]] = OrderedDict()
        self._by_id: OrderedDict[str, tuple[float, AESGCM]] = OrderedDict()
        self._hash_key: bytes | None = None
        self._wanted: set[str] = set()
        self._asking = asyncio.Lock()

    async def for_subjects(self, subjects: Iterable[str]) -> dict[str, SubjectKey]:
        """The key of each subject; one that has none, or was forgotten, gets a new one. Raises Unavailable."""
        wanted = set(subjects)
        found: dict[str, SubjectKey] = {}
        for _ in range(_ATTEMPTS_MAX):
            found |= self._remembered(wanted)
            if not (missing := wanted - found.keys()):
                return found
            self._wanted |= missing
            async with self._asking:
                # Whoever comes first asks for all who wait; the others find what they want remembered.
                asked, self._wanted = self._wanted, set()
                if asked:
                    found |= {name: key for name, key in (await self._make(sorted(asked))).items() if name in wanted}
        raise Unavailable("The keys of some subjects cannot be had; nothing was written.", hint="Retry later.")

    async def with_keys(self, events: list[StoredEvent]) -> list[StoredEvent]:
        """The same events, those with sealed fields together with the keys that are still there. Raises Unavailable."""
        found = ((place, key_ids(bytes(event.data))) for place, event in enumerate(events))
        needed = {place: ids for place, ids in found if ids is not None}
        if not needed:
            return events
        keys = Keys(await self._read(set().union(*needed.values())))
        return [
            msgspec.structs.replace(event, keys=keys) if place in needed else event
            for place, event in enumerate(events)
        ]

    def drop(self) -> None:
        """Fetch every key again when it is next asked for: one of them is known to be gone."""
        self._by_subject.clear()
        self._by_id.clear()

    def _remembered(self, subjects: set[str]) -> dict[str, SubjectKey]:
        return {name: key for name in subjects if (key := _fresh(self._by_subject, name)) is not None}

    async def _make(self, subjects: list[str]) -> dict[str, SubjectKey]:
        if self._hash_key is None:
            ((self._hash_key,),) = await fetch(self._pool, "read_hash_key", {})
        asked_at = time.monotonic()
        made = {}
        for subject, key_id, key in await fetch(self._pool, "make_subject_keys", {"subjects": subjects}):
            made[subject] = SubjectKey(key_id, AESGCM(key), self._hash_key)
            _remember(self._by_subject, subject, made[subject], asked_at)
            _remember(self._by_id, key_id, made[subject].cipher, asked_at)
        return made

    async def _read(self, ids: set[str]) -> dict[str, AESGCM]:
        found = {key_id: known for key_id in ids if (known := _fresh(self._by_id, key_id)) is not None}
        if missing := sorted(ids - found.keys()):
            asked_at = time.monotonic()
            for key_id, key in await fetch(self._pool, "read_subject_keys", {"ids": missing}):
                found[key_id] = AESGCM(key)
                _remember(self._by_id, key_id, found[key_id], asked_at)
        return found


def _fresh(remembered: OrderedDict[Name, tuple[float, Remembered]], name: Name) -> Remembered | None:
    until, value = remembered.get(name, (0.0, None))
    return value if time.monotonic() < until else None


def _remember(
    remembered: OrderedDict[Name, tuple[float, Remembered]], name: Name, value: Remembered, asked_at: float
) -> None:
    remembered.pop(name, None)
    remembered[name] = (asked_at + LIFETIME_S, value)
    while len(remembered) > REMEMBERED_MAX or next(iter(remembered.values()))[0] < asked_at:
        remembered.popitem(last=False)
