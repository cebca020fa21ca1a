"""Schedule: in the worker, compares each mirrored table with its source every so many hours.

What it finds is in `headrace.mirror_verifications` and in the log; nothing is repaired by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from headrace.errors import Error
from headrace.mirror.verify import Verifier, can_resume
from headrace.telemetry import logger
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.mirrors import READY, StoredMirror, read_mirrors
from headrace.warehouse.verifications import CLEAN, Verification, read_verifications

log = logger(__name__)

LOOK_EVERY_S: Final = 60.0
ABANDONED_AFTER: Final = timedelta(minutes=5)
"""A comparison that wrote nothing for so long is not under way any more."""


class Schedule:
    """Runs until cancelled. `every_h` None: there is nothing to do."""

    def __init__(self, *, clickhouse: ClickHouse, source: str, verifier: Verifier, every_h: float | None) -> None:
        self._clickhouse = clickhouse
        self._source = source
        self._verifier = verifier
        self._every = None if every_h is None else timedelta(hours=every_h)

    async def run(self) -> None:
        while self._every is not None:
            try:
                await self.run_due(self._every)
            except Error as error:
                log.warning("verification_waits", reason=str(error))
            await asyncio.sleep(LOOK_EVERY_S)

    async def run_due(self, every: timedelta) -> None:
        """Compare the tables whose turn it is, one after the other; goes on with what was cut off."""
        latest = await read_verifications(self._clickhouse, self._source)
        mirrors = (await read_mirrors(self._clickhouse, self._source)).values()
        for stored in due(list(mirrors), latest, every=every, now=datetime.now(UTC)):
            found = await self._verifier.verify(stored, earlier=latest.get(stored.name))
            tell = log.info if found.state == CLEAN else log.error
            tell(
                "mirror_verified",
                table=f"{stored.schema_name}.{stored.table_name}",
                state=found.state,
                rows=found.rows,
                missing=found.missing,
                extra=found.extra,
                changed=found.changed,
                unsettled=found.unsettled,
            )


def due(
    mirrors: Sequence[StoredMirror], latest: Mapping[str, Verification], *, every: timedelta, now: datetime
) -> list[StoredMirror]:
    """The ready tables whose last comparison is too old, or was cut off and left."""
    found = []
    for stored in mirrors:
        last = latest.get(stored.name)
        if stored.state != READY:
            continue
        if last is None or last.generation != stored.generation or last.stem != stored.stem:
            found.append(stored)
        elif can_resume(stored, last):
            if last.written_at is None or now - last.written_at >= ABANDONED_AFTER:
                found.append(stored)
        elif now - last.began_at >= every:
            found.append(stored)
    return found
