"""Slot watch: how much log PostgreSQL keeps because of us, and what is done when that is too much."""

from __future__ import annotations

import asyncio

from headrace.capture.slot_health import slot_health
from headrace.capture.slot_removal import give_up_slot
from headrace.errors import Corrupt, Unavailable
from headrace.telemetry import logger

log = logger(__name__)

LOOK_EVERY_S = 10.0


class SlotWatch:
    """Looks until cancelled. `warn_bytes` and `drop_bytes` are of log kept; None: the slot is never dropped.

    A worker that is down keeps no watch: `max_slot_wal_keep_size` of PostgreSQL is the limit that always holds.
    """

    def __init__(self, *, postgres_url: str, slot: str, warn_bytes: int, drop_bytes: int | None) -> None:
        self._url = postgres_url
        self._slot = slot
        self._warn_bytes = warn_bytes
        self._drop_bytes = drop_bytes
        self._warned = False

    async def run(self) -> None:
        """Raises Corrupt when the slot was dropped: nothing can go on from here."""
        while True:
            try:
                await self.look()
            except Unavailable as error:
                log.warning("slot_not_seen", reason=str(error))
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Warn once when the limit is passed; drop the slot at the other one, and raise Corrupt."""
        health = await slot_health(self._url, self._slot)
        kept = health.kept_bytes if health else None
        if kept is None:
            return
        if self._drop_bytes is not None and kept > self._drop_bytes:
            log.error("slot_dropped", slot=self._slot, kept_bytes=kept, drop_bytes=self._drop_bytes)
            await give_up_slot(self._url, self._slot)
            raise Corrupt(
                f"The replication slot {self._slot!r} was dropped, to spare the disk of PostgreSQL.",
                f"It kept {kept:,} bytes of log; mirror.slot_drop_bytes is {self._drop_bytes:,}.",
                "Find out why loading stood still, then run `headrace recover`: everything is loaded again.",
            )
        if kept > self._warn_bytes and not self._warned:
            log.warning("slot_keeps_much_log", slot=self._slot, kept_bytes=kept, warn_bytes=self._warn_bytes)
        self._warned = kept > self._warn_bytes
