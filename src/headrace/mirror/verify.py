"""Verify: compares a mirrored table with its source while both are live. Nothing here writes to either.

A table whose key has one order on both sides is compared in ranges, by counts and sums of hashes; only a range that
differs is looked at row by row. Of any other table with a key, the keys and hashes of the source are first put beside
the rows in ClickHouse, and compared there in ClickHouse's order. A table without a key is compared as a whole.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, TypeVar
from uuid import uuid4

from headrace.capture.table_rows import Page
from headrace.errors import Conflict
from headrace.mirror.comparison import MODULUS, Key, comparable_by_key, same_order
from headrace.mirror.two_sides import ATTEMPT_PAUSE_S, ATTEMPTS_MAX, KEYS_AT_ONCE, Seen, TwoSides, open_two_sides
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.mirrors import READY, StoredMirror
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

RANGE_ROWS: Final = 20_000
ROWS_PER_S: Final = 200_000
AHEAD: Final = 8
"""Ranges that are read while earlier ones wait for the watermark."""
WAIT_MAX_S: Final = 60.0
COLUMNS_NAMED_MAX: Final = 100
SAVE_EVERY_S: Final = 2.0
# The ways to compare, which are also the phases of a comparison. SOURCE and MIRROR follow each other.
RANGES, WHOLE, SOURCE, MIRROR, DONE = "ranges", "whole", "source", "mirror", "done"

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class _Range:
    """Read in the source; `upto` None: to the end."""

    after: Key | None
    upto: Key | None
    page: Page


class Verifier:
    """Compares tables of one source, one at a time.

    `rows_per_s` is what is read in PostgreSQL at most. `wait_max_s` bounds each wait for the watermark. `on_progress`
    is told after each range, with how many rows PostgreSQL believes that the table has. Raises Behind when the
    watermark does not come, Conflict when the table is not ready or becomes another one, InvalidConfiguration for
    missing rights, Unavailable; what was done until then is kept.
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
        on_progress: Callable[[Verification, int], None] = lambda verification, rows: None,
    ) -> None:
        self._clickhouse = clickhouse
        self._source = source
        self._url = postgres_url
        self._rows_per_s = rows_per_s
        self._range_rows = range_rows
        self._wait_max_s = wait_max_s
        self._on_progress = on_progress

    async def verify(self, stored: StoredMirror, *, earlier: Verification | None = None) -> Verification:
        """Compare a table. Goes on with an `earlier` comparison if that was stopped and the table is still the same.

        The result is written down and given back. Cut off, also by being cancelled, it is written down as stopped.
        """
        goes_on = earlier is not None and can_resume(stored, earlier)
        verification = earlier if earlier is not None and goes_on else _begin(stored)
        async with self._open(stored, verification) as run:
            return await run.carry_out()

    async def verify_again(self, stored: StoredMirror, earlier: Verification) -> Verification:
        """Compare only the rows that differed in an earlier comparison. Gives a comparison of its own."""
        async with self._open(stored, _begin(stored)) as run:
            return await run.look_again(earlier)

    @asynccontextmanager
    async def _open(self, stored: StoredMirror, verification: Verification) -> AsyncIterator[_Run]:
        if stored.state != READY:
            raise Conflict(
                f"{stored.schema_name}.{stored.table_name} cannot be verified now.",
                f"It is {stored.state}; a table that is ready can.",
                "`headrace mirror status` shows when it is.",
            )
        opened = open_two_sides(
            clickhouse=self._clickhouse,
            source=self._source,
            postgres_url=self._url,
            stored=stored,
            wait_max_s=self._wait_max_s,
        )
        async with opened as (sides, described):
            progress = _Progress(
                self._clickhouse, self._source, verification, described.rows_estimate, self._on_progress
            )
            yield _Run(sides, progress, self._rows_per_s, self._range_rows)


class _Progress:
    """The comparison as it stands, written down every now and then."""

    def __init__(
        self,
        clickhouse: ClickHouse,
        source: str,
        verification: Verification,
        rows_estimate: int,
        on_progress: Callable[[Verification, int], None],
    ) -> None:
        self._clickhouse = clickhouse
        self._source = source
        self._rows_estimate = rows_estimate
        self._on_progress = on_progress
        self._saved_at = time.monotonic()
        self.verification = verification

    async def save(self, state: str) -> Verification:
        self._saved_at = time.monotonic()
        written = replace(self.verification, state=state)
        self.verification = await write_verification(self._clickhouse, self._source, written)
        return self.verification

    async def note(self, found: Sequence[Difference], *, rows: int, phase: str, after: Key) -> None:
        """A range is done: what differs in it, how many rows it has in the source, and where the next one begins."""
        kinds = [each.kind for each in found]
        now = self.verification
        await write_differences(self._clickhouse, self._source, now, found)
        self.verification = replace(
            now,
            rows=now.rows + rows,
            missing=now.missing + kinds.count("missing"),
            extra=now.extra + kinds.count("extra"),
            changed=now.changed + kinds.count("changed"),
            unsettled=now.unsettled + kinds.count("unsettled"),
            phase=phase,
            after_key=after,
        )
        self._on_progress(self.verification, self._rows_estimate)
        if time.monotonic() - self._saved_at > SAVE_EVERY_S:
            await self.save(RUNNING)

    async def finish(self) -> Verification:
        now = self.verification
        await forget_verifications(self._clickhouse, self._source, now.name)
        return await self.save(DIFFERENT if now.differences else UNSETTLED if now.unsettled else CLEAN)

    async def earlier_differences(self, earlier: Verification) -> AsyncIterator[list[Difference]]:
        after: Key = ()
        while page := await read_differences(
            self._clickhouse, self._source, earlier, after=after, rows_max=KEYS_AT_ONCE
        ):
            yield page
            after = page[-1].key


class _Run:
    """One comparison under way."""

    def __init__(self, sides: TwoSides, progress: _Progress, rows_per_s: int, range_rows: int) -> None:
        self._sides = sides
        self._progress = progress
        self._rows_per_s = rows_per_s
        self._range_rows = range_rows

    async def carry_out(self) -> Verification:
        shape = self._sides.comparison.shape
        way = SOURCE
        if not comparable_by_key(shape):
            way = WHOLE
        elif same_order(shape, [column.byte_order for column in self._sides.rows.key]):
            way = RANGES
        await self._progress.save(RUNNING)
        try:
            if self._progress.verification.phase != DONE:
                await self._compare(way)
            await self._progress.note([], rows=0, phase=DONE, after=())
            await self._sides.check_same()
        except BaseException:
            await self._progress.save(STOPPED)
            raise
        return await self._progress.finish()

    async def _compare(self, way: str) -> None:
        if way == RANGES:
            await _ahead(self._ranges(), self._check_range)
        elif way == WHOLE:
            await self._check_whole()
        else:
            await self._check_beside()

    async def look_again(self, earlier: Verification) -> Verification:
        if not comparable_by_key(self._sides.comparison.shape):
            return await self.carry_out()
        async for page in self._progress.earlier_differences(earlier):
            keys = [each.key for each in page]
            await self._conclude(await self._sides.look_at(keys), rows=len(keys), phase="", after=())
        return await self._progress.finish()

    # in ranges

    async def _ranges(self) -> AsyncIterator[_Range]:
        after: Key | None = self._progress.verification.after_key or None
        pace = _Pace(self._rows_per_s)
        while True:
            page = await self._sides.rows.page(after, None, rows_max=self._range_rows, listed=False)
            upto = page.last if page.rows == self._range_rows else None
            yield _Range(after, upto, page)
            if upto is None:
                return
            after = upto
            await pace.wait(page.rows)

    async def _check_range(self, range_: _Range) -> None:
        page, upto = range_.page, range_.upto
        await self._sides.reach(page.end_lsn)
        phase = RANGES if upto else DONE
        if await self._sides.total(range_.after, upto) == (page.rows, page.total % MODULUS):
            await self._conclude({}, rows=page.rows, phase=phase, after=upto or ())
            return
        # The mirror may have far more rows in the range than the source: part by part.
        end: Key | None = range_.after
        while True:
            begin, end = end, await self._sides.nth_key(end, upto, self._range_rows)
            seen = await self._examine(begin, end or upto)
            if end is None:
                await self._conclude(seen, rows=page.rows, phase=phase, after=upto or ())
                return
            await self._conclude(seen, rows=0, phase=RANGES, after=end)

    async def _examine(self, after: Key | None, upto: Key | None) -> dict[Key, Seen]:
        """What differs in a part of a range, row by row."""
        page = await self._sides.rows.page(after, upto, rows_max=None, listed=True)
        await self._sides.reach(page.end_lsn)
        return await self._sides.differing(page.listed, self._sides.comparison.between(after, upto))

    # beside each other in ClickHouse

    async def _check_beside(self) -> None:
        run = self._progress.verification.run
        if self._progress.verification.phase != MIRROR:
            await self._sides.begin_compared(run, anew=not self._progress.verification.after_key)
            await _ahead(self._source_pages(), self._keep_page)
            await self._progress.note([], rows=0, phase=MIRROR, after=())
        end: Key | None = self._progress.verification.after_key or None
        while True:
            begin, end = end, await self._sides.part_end(run, end, self._range_rows)
            seen = await self._sides.differing_part(run, begin, end)
            await self._conclude(seen, rows=0, phase=MIRROR if end else DONE, after=end or ())
            if end is None:
                break
        await self._sides.drop_compared(run)

    async def _source_pages(self) -> AsyncIterator[Page]:
        after: Key | None = self._progress.verification.after_key or None
        pace = _Pace(self._rows_per_s)
        while True:
            page = await self._sides.rows.page(after, None, rows_max=self._range_rows, listed=True)
            if page.last is None:
                return
            yield page
            after = page.last
            await pace.wait(page.rows)

    async def _keep_page(self, page: Page) -> None:
        await self._sides.reach(page.end_lsn)
        seen = await self._sides.keep_listed(self._progress.verification.run, page.listed)
        await self._conclude(seen, rows=page.rows, phase=SOURCE, after=page.last or ())

    # as a whole

    async def _check_whole(self) -> None:
        there = here = (0, 0)
        for attempt in range(ATTEMPTS_MAX):
            await asyncio.sleep(attempt * ATTEMPT_PAUSE_S)
            before = (there, here)
            rows, total, end_lsn = await self._sides.rows.whole()
            await self._sides.reach(end_lsn)
            there, here = (rows, total % MODULUS), await self._sides.whole()
            if there == here or (there, here) == before:
                break
        found = []
        if there != here:
            still = (there, here) == before
            kind = "changed" if there[0] == here[0] else "missing" if there[0] > here[0] else "extra"
            found = [Difference((), kind if still else "unsettled")]
        await self._progress.note(found, rows=there[0], phase=DONE, after=())

    async def _conclude(self, seen: dict[Key, Seen], *, rows: int, phase: str, after: Key) -> None:
        found = await self._sides.settle(seen)
        left = COLUMNS_NAMED_MAX - self._progress.verification.changed
        if left > 0:
            changed = [each for each in found if each.kind == "changed"]
            others = [each for each in found if each.kind != "changed"]
            found = [*await self._sides.name_columns(changed[:left]), *changed[left:], *others]
        await self._progress.note(found, rows=rows, phase=phase, after=after)


class _Pace:
    """Holds reading back to so many rows a second."""

    def __init__(self, rows_per_s: int) -> None:
        self._rows_per_s = rows_per_s
        self._due = time.monotonic()

    async def wait(self, rows: int) -> None:
        self._due = max(self._due + rows / self._rows_per_s, time.monotonic() - 1.0)
        await asyncio.sleep(max(0.0, self._due - time.monotonic()))


async def _ahead(source: AsyncIterator[Item], check: Callable[[Item], Awaitable[None]]) -> None:
    """Check one after the other, while the next ones are read."""
    queue: asyncio.Queue[Item | None] = asyncio.Queue(AHEAD)

    async def read() -> None:
        async for each in source:
            await queue.put(each)
        await queue.put(None)

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(read())
            while (each := await queue.get()) is not None:
                await check(each)
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from failed


def can_resume(stored: StoredMirror, earlier: Verification) -> bool:
    """Whether a comparison was cut off, and the table is still the one that it compared."""
    same = (earlier.stem, earlier.generation) == (stored.stem, stored.generation)
    return same and earlier.state in (RUNNING, STOPPED)


def _begin(stored: StoredMirror) -> Verification:
    return Verification(stored.name, str(uuid4()), stored.stem, stored.generation, datetime.now(UTC))
