"""Doubt: which rows may be wrong when the changes that were staged during a copy have been applied.

An update that leaves out large values (TOAST) takes them from the row that stands at its key. That is its own row,
whether it was copied before the change or after. But not always:

- The row was moved, while pages were read, from one that was still to be read to one that had been: none stands there.
- Its key changed: it was perhaps copied under the new one, and another row under the old one that it left.

So the new keys of such changes are in doubt, and are read again (decision 12). No other row is: one that was wrong for
a while has moved on since, to a key that is in doubt, or is deleted. A row that is read again is like one that is
copied again, over which later changes are applied. So from then on only rows are in doubt that move away from a key
that was read again, which are few, and soon none.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from typing import Final

from headrace.errors import Conflict
from headrace.mirror.comparison import Comparison, Key
from headrace.mirror.table import Table
from headrace.warehouse.client import ClickHouse

KEYS_MAX: Final = 100_000
"""Keys of one query. When there are more, it is forgotten which were read, and any row counts as one of them."""


class CannotSettle(Conflict):
    """Rows stay in doubt."""

    def __init__(self, message: str) -> None:
        detail = "Their changes leave large values out, which have to be looked up."
        super().__init__(message, detail, "ALTER TABLE … REPLICA IDENTITY FULL, and no value is left out.")


class Doubt:
    """Of one table. Each call of `found` is about the changes that were applied since the last one; the first is about
    all that are staged, so that after a crash no row is forgotten.
    """

    def __init__(self, clickhouse: ClickHouse, table: Table) -> None:
        self._clickhouse = clickhouse
        self._table = table
        self._after = 0
        self._read: set[Key] | None = None

    async def found(self) -> AsyncGenerator[Sequence[Key], None]:
        """The keys in doubt, page by page, all of which must be read again. When there are none, the rows are right,
        and stay so.
        """
        slice_ = {"after": self._after, "upto": self._table.stored.applied_batch}
        read: set[Key] | None = set()
        async for page in self._pages(slice_):
            read = read | set(page) if read is not None and len(page) < KEYS_MAX else None
            yield page
        self._after, self._read = slice_["upto"], read

    async def _pages(self, slice_: Mapping[str, int]) -> AsyncIterator[Sequence[Key]]:
        comparison = Comparison(self._table.objects)
        if self._read is not None:
            sides = await self._ask(comparison.moved_keys(KEYS_MAX), slice_)
            if len(sides) < 2 * KEYS_MAX:
                if moved_on := list(_moved_on(self._read, sides)):
                    yield moved_on
                return
        after: Key | None = None
        while page := await self._ask(comparison.doubtful_keys(after, KEYS_MAX), slice_):
            yield page
            after = page[-1]

    async def _ask(self, sql: str, slice_: Mapping[str, int]) -> list[Key]:
        return [tuple(row) for row in await self._clickhouse.rows(sql, slice_)]


def _moved_on(read: set[Key], sides: Sequence[Key]) -> set[Key]:
    """The new keys of the rows that moved away from those that were read. `sides`: old key, new key, old key, ..."""
    found: set[Key] = set()
    for old, new in zip(sides[::2], sides[1::2], strict=True):
        if old in read or old in found:
            found.add(new)
    return found
