"""Dropping the replication slot: PostgreSQL may forget its log then, and what was not read is in no log any more.

So only a user's word, or a limit that a user set, leads here.
"""

from __future__ import annotations

import asyncio

import psycopg
from psycopg import sql

from headrace.capture.connection import SlotAddress
from headrace.capture.publication import appends_publication
from headrace.capture.server import check_settings, connect, read_sql
from headrace.capture.slot import in_use
from headrace.errors import AlreadyRunning

_POLL_S = 0.05


async def drop_slot(address: SlotAddress) -> None:
    """Drop the slot if there is one. Raises AlreadyRunning while a worker reads it; InvalidConfiguration when no slot
    could be made afterwards.
    """
    async with connect(address.url) as connection:
        await check_settings(connection)
        slot = await (await connection.execute(read_sql("read_slot"), {"slot": address.slot})).fetchone()
        if slot and slot["active_pid"]:
            raise in_use(address, slot["active_pid"])
        if slot:
            await connection.execute(read_sql("drop_slot"), {"slot": address.slot})


async def refuse_slot(address: SlotAddress) -> None:
    """Raises AlreadyRunning when there is a slot again, which only a worker makes."""
    async with connect(address.url) as connection:
        if await (await connection.execute(read_sql("read_slot"), {"slot": address.slot})).fetchone():
            raise AlreadyRunning(
                f"A worker made the slot {address.slot!r} meanwhile.", hint="Stop it, and run the same command again."
            )


async def forget_slot(address: SlotAddress) -> None:
    """Drop slot and publications, so that the next start begins anew. Raises AlreadyRunning while a worker reads it."""
    await drop_slot(address)
    async with connect(address.url) as connection:
        names = map(sql.Identifier, (address.publication, appends_publication(address.publication)))
        await connection.execute(sql.SQL("DROP PUBLICATION IF EXISTS {}").format(sql.SQL(", ").join(names)))


async def give_up_slot(url: str, slot: str) -> None:
    """End whoever reads the slot, and drop it. Safe to repeat. Raises Unavailable."""
    async with connect(url) as connection:
        while await (await connection.execute(read_sql("read_slot"), {"slot": slot})).fetchone():
            try:
                await connection.execute(read_sql("end_slot"), {"slot": slot})
            except psycopg.errors.ObjectInUse:  # its reader was back faster
                await asyncio.sleep(_POLL_S)
