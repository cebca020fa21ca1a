"""The floor of a copy: the place in the log below which everything is visible to whoever looks from now on.

It is what lets a table be copied in many short transactions, none of which shares a snapshot with another.
"""

from __future__ import annotations

import asyncio
import time

from headrace.capture.server import Connection, connect, read_row, read_sql
from headrace.telemetry import logger

log = logger(__name__)

_POLL_S = 0.1
_SILENT_S = 10.0


async def stream_floor(url: str) -> int:
    """L: every snapshot that is taken after this returns sees each commit whose record begins at L or before.

    First the end of the log is read, then this session takes a transaction number X, which is higher than every number
    given out before. A transaction whose commit record lies below that end has a lower one: it took its number before
    it wrote the record. It may still be invisible, because PostgreSQL writes the record first and ends the transaction
    then; so this waits until a snapshot says that every transaction below X has ended. What has ended once is ended in
    every later snapshot. (The upper end of a snapshot would not do for X: it is the number behind the last transaction
    that has ended, and a committing one can be that very number.) A record that begins exactly at the end that was read
    was written later, so L is one less.

    Waits without a limit for transactions that write; those that only read have no number and hold nothing up. Tells
    the log after 10 s what it waits for. Raises Unavailable.
    """
    async with connect(url) as connection:
        end_lsn: int = (await read_row(connection, "read_log_end"))["end_lsn"]
        await wait_for_writers(connection)
        return end_lsn - 1


async def wait_for_writers(connection: Connection) -> None:
    """Wait until every transaction has ended that has written, or taken a number, by now."""
    transaction: int = (await read_row(connection, "take_transaction"))["transaction"]
    tell_at = time.monotonic() + _SILENT_S
    while (await read_row(connection, "read_oldest_running"))["transaction"] < transaction:
        if time.monotonic() >= tell_at:
            holders = await (await connection.execute(read_sql("read_holders"))).fetchall()
            log.warning("waiting_for_transactions", holders=holders)
            tell_at = time.monotonic() + _SILENT_S
        await asyncio.sleep(_POLL_S)


async def log_end(url: str) -> int:
    """The end of the log now: what committed before has a position below it. Raises Unavailable."""
    async with connect(url) as connection:
        end_lsn: int = (await read_row(connection, "read_log_end"))["end_lsn"]
        return end_lsn
