"""Two sides: the rows of a mirrored table and those of its source, looked at together while both change.

The source is read first, and the mirror once its watermark has passed the end of the log at that moment. By then it may
be further, so what differs is only looked at again: a row counts as different when it was seen twice in a row with the
same value on each side, and as unsettled when it never stood still.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final
from uuid import uuid4

from headrace.capture.source_tables import SourceTable, describe_table
from headrace.capture.table_rows import SourceRows, open_rows
from headrace.errors import Conflict
from headrace.events.position import Position
from headrace.mirror.comparison import MODULUS, Comparison, Key, chunks, source_column, source_hash
from headrace.mirror.table import Table
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.feeding import in_pieces
from headrace.warehouse.mirrors import READY, StoredMirror, read_mirrors
from headrace.warehouse.verifications import Difference
from headrace.warehouse.watermark import WatermarkReader

ATTEMPTS_MAX: Final = 6
ATTEMPT_PAUSE_S: Final = 0.3
KEYS_AT_ONCE: Final = 1000
# A statement can hold the keys of a whole range; ClickHouse reads 256 KiB of one unless it is told otherwise.
_SETTINGS: Final = {"max_query_size": 256 << 20}

Seen = tuple[str, int, int]
"""How a row differs, and its hash there and here."""
Total = tuple[int, int]
"""How many rows, and the sum of their hashes."""


class TwoSides:
    """One table on both sides. `wait_max_s` bounds each wait for the watermark, after which Behind is raised."""

    def __init__(
        self, *, clickhouse: ClickHouse, source: str, stored: StoredMirror, rows: SourceRows, wait_max_s: float
    ) -> None:
        self._clickhouse = clickhouse
        self._source = source
        self._stored = stored
        self._watermarks = WatermarkReader(clickhouse=clickhouse, source=source)
        self._wait_max_s = wait_max_s
        self.rows = rows
        self.comparison = Comparison(Table(clickhouse=clickhouse, source=source, stored=stored).objects)

    async def reach(self, end_lsn: int) -> None:
        """Wait until the mirror holds everything below a place in the log."""
        await self._watermarks.wait_for(Position(end_lsn - 1), timeout_s=self._wait_max_s)

    async def check_same(self) -> None:
        """Raises Conflict when the table is not the one any more that was begun with."""
        now = (await read_mirrors(self._clickhouse, self._source)).get(self._stored.name)
        known = (self._stored.stem, self._stored.generation, self._stored.shape, READY)
        if now is None or (now.stem, now.generation, now.shape, now.state) != known:
            raise Conflict(
                f"{self._stored.schema_name}.{self._stored.table_name} became another table while it was compared.",
                f"It is {now.state if now else 'gone'}; columns and copies may have changed.",
                "Verify it again when `headrace mirror status` says that it is ready.",
            )

    async def total(self, after: Key | None, upto: Key | None) -> Total:
        """The mirror's rows of a range."""
        return await self._total(self.comparison.total(self.comparison.between(after, upto)))

    async def whole(self) -> Total:
        """All rows of the mirror."""
        return await self._total(self.comparison.whole())

    async def nth_key(self, after: Key | None, upto: Key | None, place: int) -> Key | None:
        """The key at a place, counted from 0, of a range of the mirror."""
        rows = await self._ask(self.comparison.keys(after, upto, 1, skipped=place))
        return tuple(rows[0]) if rows else None

    async def differing(self, listed: str, where: str) -> dict[Key, Seen]:
        """What differs between rows that the source listed and those of the mirror that meet a condition."""
        return await self._seen(self.comparison.differing(listed, where))

    async def begin_compared(self, run: str, *, anew: bool) -> None:
        """Make room for what the source will list, and forget what other runs left; `anew`: this one as well."""
        await self._clickhouse.execute(self.comparison.make_compared())
        for (other,) in await self._ask(self.comparison.compared_runs()):
            if other != run or anew:
                await self.drop_compared(other)

    async def drop_compared(self, run: str) -> None:
        await self._clickhouse.execute(self.comparison.drop_compared(run))

    async def keep_listed(self, run: str, listed: str) -> dict[Key, Seen]:
        """Keep rows that the source listed, to be compared later; gives those that the mirror cannot hold."""
        settings = {"insert_deduplication_token": str(uuid4())}
        data = in_pieces(listed.encode())
        await self._clickhouse.insert_select(self.comparison.keep_listed(run), data, settings=settings)
        return await self._seen(self.comparison.not_kept(listed))

    async def part_end(self, run: str, after: Key | None, rows_max: int) -> Key | None:
        """Where the part ends, behind `after`, that has so many rows on each side at most; None: at the end."""
        rows = await self._ask(self.comparison.part_end(run, after, rows_max))
        return tuple(rows[0]) if rows else None

    async def differing_part(self, run: str, after: Key | None, upto: Key | None) -> dict[Key, Seen]:
        """What differs between the rows that were kept and those of the mirror, in one part."""
        return await self._seen(self.comparison.differing_part(run, after, upto))

    async def settle(self, seen: dict[Key, Seen]) -> list[Difference]:
        """Look at rows that differed again, until each is the same, or different for good, or out of patience."""
        found = []
        for keys in chunks(list(seen), KEYS_AT_ONCE):
            found += await self._settle({key: seen[key] for key in keys})
        return found

    async def _settle(self, seen: dict[Key, Seen]) -> list[Difference]:
        found: list[Difference] = []
        for attempt in range(ATTEMPTS_MAX):
            await asyncio.sleep(attempt * ATTEMPT_PAUSE_S)
            page = await self.rows.by_key(list(seen))
            await self.reach(page.end_lsn)
            now = await self.differing(page.listed, self.comparison.among(list(seen)))
            found += [Difference(key, how[0]) for key, how in now.items() if seen.get(key) == how]
            seen = {key: how for key, how in now.items() if seen.get(key) != how}
            if not seen:
                return found
        return found + [Difference(key, "unsettled") for key in seen]

    async def look_at(self, keys: Sequence[Key]) -> dict[Key, Seen]:
        """How rows differ now."""
        page = await self.rows.by_key(keys)
        await self.reach(page.end_lsn)
        return await self.differing(page.listed, self.comparison.among(keys))

    async def name_columns(self, found: Sequence[Difference]) -> list[Difference]:
        """The same, with the names of the columns that differ in changed rows."""
        keys = [each.key for each in found if each.kind == "changed"]
        if not keys:
            return list(found)
        shape = self.comparison.shape
        names = [column.name for column in shape.compared]
        key_places = [names.index(name) for name in shape.key]
        there = await self.rows.column_hashes(keys, [source_column(column) for column in shape.compared])
        # Told by the hashes of their keys: the two sides may write one key in two ways.
        here = {
            tuple(hashes[place] for place in key_places): hashes
            for hashes in await self._ask(self.comparison.column_hashes(keys))
        }
        named = []
        for each in found:
            hashes = there.get(each.key, ())
            other = here.get(tuple(hashes[place] for place in key_places), ()) if hashes else ()
            pairs = zip(names, hashes, other, strict=False)
            named.append(replace(each, columns=tuple(name for name, one, two in pairs if one != two)))
        return named

    async def _seen(self, statement: str) -> dict[Key, Seen]:
        return {tuple(key): (kind, there, here) for kind, there, here, *key in await self._ask(statement)}

    async def _total(self, statement: str) -> Total:
        ((rows, total),) = await self._ask(statement)
        return int(rows), int(total) % MODULUS

    async def _ask(self, statement: str) -> Sequence[Sequence[Any]]:
        return await self._clickhouse.rows(statement, settings=_SETTINGS)


@asynccontextmanager
async def open_two_sides(
    *, clickhouse: ClickHouse, source: str, postgres_url: str, stored: StoredMirror, wait_max_s: float
) -> AsyncIterator[tuple[TwoSides, SourceTable]]:
    """Both sides of a table that is ready, and what the source is. Raises Conflict when there is none."""
    described = await describe_table(postgres_url, stored.oid)
    if described is None:
        raise Conflict(f"{stored.schema_name}.{stored.table_name} does not exist in PostgreSQL any more.")
    shape = Table(clickhouse=clickhouse, source=source, stored=stored).shape
    async with open_rows(postgres_url, described, shape.key, source_hash(shape), where=shape.where) as rows:
        yield (
            TwoSides(clickhouse=clickhouse, source=source, stored=stored, rows=rows, wait_max_s=wait_max_s),
            described,
        )
