"""Reading new events as a subscription's holder does, and writers whose transactions a test holds open."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psycopg

from headrace.event_store.follow import Checkpoint
from headrace.event_store.held_subscription import HeldSubscription

Writer = psycopg.AsyncConnection[tuple[Any, ...]]
Event = tuple[str, int]

_INSERT = (
    "INSERT INTO headrace.events (stream, version, type, schema_version, data, metadata) "
    'VALUES (%s, %s, %s, 1, \'{"topic": "a", "number": 1}\', \'{}\')'
)


@asynccontextmanager
async def open_writer(url: str) -> AsyncIterator[Writer]:
    """A connection that begins a transaction with its first statement, and commits when it is told to."""
    connection = await psycopg.AsyncConnection.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def insert(writer: Writer, stream: str, version: int = 1, *, type: str = "Written") -> Event:
    """One event, in the writer's open transaction."""
    await writer.execute(_INSERT, (stream, version, type))
    return stream, version


async def read_rest(
    held: HeldSubscription, checkpoint: Checkpoint, types: Sequence[str] | None = None
) -> tuple[list[tuple[Checkpoint, Event]], Checkpoint]:
    """What is new, each event with the checkpoint behind it, until nothing is; and the checkpoint behind all."""
    found: list[tuple[Checkpoint, Event]] = []
    while True:
        checkpoint = checkpoint.toward((await held.look()).snapshot)
        if checkpoint.seen == checkpoint.reading:
            return found, Checkpoint(checkpoint.seen)
        page = await held.read_new(checkpoint, types)
        found += [(after, (event.stream, event.version)) for after, event in page.events]
        checkpoint = page.checkpoint
