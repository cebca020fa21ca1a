"""Verify: compares a mirrored table with its source while both are live.

What was read in PostgreSQL is compared once the watermark has passed the end of the log at that moment. Even so the
mirror may be further, so what differs then is only looked at again: a row counts as different when it was seen twice in a
row with the same two values, and as unsettled when it never stood still. Nothing here writes to either table.

A table whose key has one order on both sides is compared in ranges, by counts and sums of hashes. Any other table with
a key is read on each side in that side's order, and looked up on the other one. A table without a key is compared as a
whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import batched
from typing import Final, TypeVar
from uuid import uuid4

from headrace.capture.source_tables import SourceTable, describe_table
from headrace.capture.table_rows import Page, SourceRows, open_rows
from headrace.errors import Conflict, InvalidInput
from headrace.events.position import Position
from headrace.mirror.comparison import MODULUS, Comparison, Key, comparable_by_key, same_order, source_column, source_hash
from headrace.mirror.keyless import KeylessObjects
from headrace.mirror.shape import Shape
from headrace.mirror.statements import Objects
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.mirrors import READY, StoredMirror, read_mirrors
from headrace.warehouse.verifications import (
    CLEAN,
    DIFFERENT,
    RUNNING,
    STOPPED,
    UNSETTLED,
    Difference,
    Verification,
    forget_verifications,
    read_differences,
    write_differences,
    write_verification,
)
from headrace.warehouse.watermark import WatermarkReader

RANGE_ROWS: Final = 20_000
ROWS_PER_S: Final = 200_000
AHEAD: Final = 8
"""Ranges that are read while earlier ones wait for the watermark."""
WAIT_MAX_S: Final = 60.0
ATTEMPTS_MAX: Final = 6
ATTEMPT_PAUSE_S: Final = 0.3
KEYS_AT_ONCE: Final = 1000
COLUMNS_NAMED_MAX: Final = 100
SAVE_EVERY_S: Final = 2.0
RANGES, SOURCE, MIRROR, WHOLE = "ranges", "source", "mirror", "whole"
# A statement holds a page of the source's rows; ClickHouse reads 256 KiB of one unless told otherwise.
_SETTINGS: Final = {"max_query_size": 256 << 20, "precise_float_parsing": 1, "input_format_allow_errors_num": 0}

Seen = tuple[str, int, int]
"""How a row differs, and its hash there and here."""
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class _Range:
    after: Key | None
    upto: Key | None
    page: Page


class Verifier:
    """Compares tables of one source, one at a time.

    `rows_per_s` is what is read in PostgreSQL at most. `wait_max_s` bounds each wait for the watermark. `on_progress` is
    told after each range. Raises Behind when the watermark does not come, Conflict when the table became another one,
    InvalidConfiguration for missing rights, Unavailable; what was done until then is kept.
    """

    def __init__(
        self,
        *,
        clickhouse: ClickHouse,
        source: str,
        postgres_url: str,
        rows_per_s: int = ROWS_PER_S,
        range_rows: int = RANGE_ROWS,
        wait_max_s: float = WAIT_MAX_S,
        on_progress: Callable[[Verification], None] = lambda _: None,
    ) -> None:
        self._clickhouse = clickhouse
        self._source = source
        self._url = postgres_url
        self._rows_per_s = rows_per_s
        self._range_rows = range_rows
        self._wait_max_s = wait_max_s
        self._on_progress = on_progress

    async def verify(self, stored: StoredMirror, *, resumed: Verification | None = None) -> Verification:
        """Compare a table, or go on with a comparison that was stopped. The result is written down and given back.

        Cut off, also by being cancelled, it leaves the comparison as stopped.
        """
        if stored.state != READY:
            raise _not_ready(stored)
        if resumed is None or not can_resume(stored, resumed):
            resumed = _begun(stored)
        async with self._opened(stored) as run:
            return await run.carry_out(resumed)

    async def verify_again(self, stored: StoredMirror, earlier: Verification) -> Verification:
        """Compare only the rows that differed in an earlier comparison; a comparison of its own."""
        if stored.state != READY:
            raise _not_ready(stored)
        async with self._opened(stored) as run:
            return await run.look_again(earlier, _begun(stored))

    def _opened(self, stored: StoredMirror) -> _Opening:
        return _Opening(
            stored, self._clickhouse, self._source, self._url, self._rows_per_s, self._range_rows, self._wait_max_s,
            self._on_progress,
        )  # fmt: skip


def can_resume(stored: StoredMirror, earlier: Verification) -> bool:
    """Whether a comparison was stopped, and the table is still the one that it compared."""
    same = (earlier.stem, earlier.generation) == (stored.stem, stored.generation)
    return same and earlier.state in (RUNNING, STOPPED)


def _begun(stored: StoredMirror) -> Verification:
    return Verification(stored.name, str(uuid4()), stored.stem, stored.generation, began_at=datetime.now(UTC))
