"""The proof of a mirror: when its watermark has passed the end of the log, it is what PostgreSQL holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from support.mirror_oracle import assert_changes_add_up, assert_mirrored, mirror_name
from support.waiting import until

from headrace.errors import Behind, Unavailable
from headrace.events.position import Position
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.dead_letters import read_dead_letters
from headrace.warehouse.mirrors import (
    COPYING,
    QUARANTINED,
    READY,
    MirrorRequest,
    StoredMirror,
    read_mirrors,
    read_requests,
    write_request,
)
from headrace.warehouse.watermark import WatermarkReader


async def log_end(url: str) -> Position:
    """Where PostgreSQL's log ends now: at a watermark of this everything that is committed is in the mirror."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        # Not the flushed end: a commit that waits for no disk lies behind that for a moment.
        cursor = await connection.execute("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint")
        row = await cursor.fetchone()
    assert row is not None
    return Position(int(row[0]) - 1)


@dataclass(frozen=True, slots=True)
class Mirrored:
    """Tables, each `schema.table`, and where they are mirrored."""

    url: str
    clickhouse: ClickHouse
    source: str
    tables: Sequence[str]

    async def states(self) -> dict[str, StoredMirror]:
        """What is stored of each table that the mirror knows; nothing while ClickHouse is away."""
        try:
            mirrors = await read_mirrors(self.clickhouse, self.source)
        except Unavailable:
            return {}
        return {table: mirrors[mirror_name(table)] for table in self.tables if mirror_name(table) in mirrors}

    async def wait_until_ready(self, *, resync: bool = False) -> None:
        """Wait until each table is copied and live. Fails at once when one of them has a problem.

        `resync`: then it is copied again instead, as its user would have it.
        """

        async def ready() -> bool:
            states = await self.states()
            if resync and QUARANTINED in {each.state for each in states.values()}:
                await self.ask("resync", [table for table, each in states.items() if each.state == QUARANTINED])
                return False
            assert all(each.state in (COPYING, READY) for each in states.values()), states
            return len(states) == len(self.tables) and all(each.state == READY for each in states.values())

        await until(ready)

    async def wait_until_quarantined(self, table: str) -> str:
        """Wait until the table is stopped; why it is."""

        async def stopped() -> bool:
            states = await self.states()
            return table in states and states[table].state == QUARANTINED

        await until(stopped)
        return (await self.states())[table].problem

    async def ask(self, wish: str, tables: Sequence[str]) -> None:
        """Ask for something, as `headrace mirror` does, and wait until the worker has seen that."""
        for table in tables:
            await write_request(self.clickhouse, self.source, MirrorRequest(table, wish))

        async def answered() -> bool:
            return not any(request.wish for request in await read_requests(self.clickhouse, self.source))

        await until(answered)

    async def wait(self, *, resync: bool = False) -> None:
        """Wait until the watermark has passed the end of the log as it is now, and each table is ready."""
        await self.wait_for(await log_end(self.url))
        await self.wait_until_ready(resync=resync)

    async def wait_for(self, end: Position) -> None:
        """Wait until the watermark has passed `end`, however often ClickHouse is away."""
        reader = WatermarkReader(clickhouse=self.clickhouse, source=self.source)

        async def passed() -> bool:
            try:
                await reader.wait_for(end, timeout_s=1.0)
            except (Behind, Unavailable):
                return False
            return True

        try:
            await until(passed)
        except AssertionError as error:
            reached = await reader.latest()
            raise AssertionError(f"the watermark is {reached}, not {end}; {await self.states()}") from error

    async def assert_whole(self, *, from_empty: bool = True, resync: bool = False) -> None:
        """A worker runs and nobody writes: when it has caught up, the mirror is what PostgreSQL holds.

        `from_empty`: the tables were empty when their mirror began, so that their change streams add up as well.
        `resync`: a table may have been stopped, because a change of its schema could not be followed.
        """
        await self.wait(resync=resync)
        await assert_mirrored(self.url, self.clickhouse, self.tables)
        if from_empty:
            await assert_changes_add_up(self.url, self.clickhouse, self.tables)
        assert not await read_dead_letters(self.clickhouse, self.source)
