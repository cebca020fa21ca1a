"""Inserts whose rows come in pieces from somewhere else: who reads them, and what is stored when something fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import pytest

from headrace.errors import Conflict, InvalidSQL, Unavailable
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.feeding import fed

LINES = b"1\n" * 500_000  # more than any buffer on the way
INSERT = "INSERT INTO taken (n) SELECT n FROM input('n UInt8') FORMAT TSV"


@pytest.fixture(autouse=True)
async def table(clickhouse: ClickHouse) -> None:
    await clickhouse.execute("CREATE TABLE taken (n UInt8) ENGINE = MergeTree ORDER BY ()")


async def stored(clickhouse: ClickHouse) -> int:
    ((count,),) = await clickhouse.rows("SELECT count() FROM taken")
    return int(count)


async def test_all_pieces_arrive(clickhouse: ClickHouse) -> None:
    async def rows() -> AsyncGenerator[bytes, None]:
        for _ in range(3):
            yield LINES

    assert await clickhouse.insert_select(INSERT, rows()) == 1_500_000
    assert await stored(clickhouse) == 1_500_000


async def test_what_the_source_fails_with_is_raised_and_nothing_is_stored(clickhouse: ClickHouse) -> None:
    async def rows() -> AsyncGenerator[bytes, None]:
        yield LINES
        raise Conflict("The table was rewritten.")

    with pytest.raises(Conflict, match="rewritten"):
        await clickhouse.insert_select(INSERT, rows())
    assert await stored(clickhouse) == 0


async def test_a_source_that_waits_while_the_request_fails_can_be_closed(clickhouse: ClickHouse) -> None:
    closed = asyncio.Event()

    async def rows() -> AsyncGenerator[bytes, None]:
        try:
            yield LINES
            await asyncio.Event().wait()
        finally:
            closed.set()

    async with asyncio.timeout(30):
        with pytest.raises(InvalidSQL, match="no_such"):
            async with aclosing(rows()) as source:
                await clickhouse.insert_select(INSERT.replace("taken", "no_such"), source)
    assert closed.is_set()


async def test_a_source_can_be_closed_while_the_driver_still_waits_for_it() -> None:
    """As when ClickHouse is killed: the driver's task outlives its request. It must not be the one that reads."""
    waits = asyncio.Event()
    drivers: list[asyncio.Task[list[bytes]]] = []

    async def rows() -> AsyncGenerator[bytes, None]:
        yield b"1\n"
        waits.set()
        await asyncio.Event().wait()

    async def read(pieces: AsyncIterator[bytes]) -> list[bytes]:
        return [piece async for piece in pieces]

    async def lose_the_request() -> None:
        async with aclosing(rows()) as source, fed(source) as pieces:
            drivers.append(asyncio.create_task(read(pieces)))
            await waits.wait()
            raise Unavailable("ClickHouse is gone.")

    with pytest.raises(Unavailable, match="gone"):
        await lose_the_request()
    assert not drivers[0].done()
    drivers[0].cancel()
