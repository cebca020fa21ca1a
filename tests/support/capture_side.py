"""Databases to capture from: each with an events table, and sources on it that are closed and forgotten afterwards."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import uuid4

import numpy as np
import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow
from support import waiting

from headrace.bus.batch import Batch
from headrace.capture.connection import Stream
from headrace.capture.framing import WAL_HEAD_BYTES, find_messages
from headrace.capture.source import Source
from headrace.events.position import START, Position

DEADLINE_S = 30.0
until = partial(waiting.until, deadline_s=DEADLINE_S)
MIB = 1 << 20


@dataclass
class Database:
    """One database of a server. `name` is also the name of its slot and its publication."""

    server_url: str
    name: str
    sources: list[Source] = field(default_factory=list)

    @property
    def url(self) -> str:
        return make_conninfo(self.server_url, dbname=self.name)

    async def run(self, statement: str, *parameters: object) -> list[TupleRow]:
        async with await psycopg.AsyncConnection.connect(self.url, autocommit=True) as connection:
            cursor = await connection.execute(statement.encode(), parameters or None)
            return await cursor.fetchall() if cursor.description else []

    async def append(self, *numbers: int) -> None:
        """One transaction with one event for each number."""
        await self.run(
            "INSERT INTO events SELECT 's', n, 'Counted', 1, jsonb_build_object('n', n) FROM unnest(%s::bigint[]) n",
            list(numbers),
        )

    def source(self, **changes: Any) -> Source:
        settings: dict[str, Any] = {
            "postgres_url": self.url,
            "slot": self.name,
            "publication": self.name,
            "tables": ["public.events"],
            "buffer_bytes_max": 4 * MIB,
            "batch_rows_max": 1000,
        }
        source = Source(**(settings | changes))
        self.sources.append(source)
        return source

    async def started(self, after: Position = START, **changes: Any) -> Source:
        source = self.source(**changes)
        await source.prepare()
        await source.start(after)
        return source

    async def slot(self) -> tuple[int, int | None]:
        """How far the slot is confirmed, and which process reads it."""
        ((confirmed, pid),) = await self.run(
            "SELECT (confirmed_flush_lsn - '0/0')::bigint, active_pid FROM pg_replication_slots WHERE slot_name = %s",
            self.name,
        )
        return confirmed, pid

    async def drop_slot(self) -> None:
        async def dropped() -> bool:
            try:
                await self.run(
                    "SELECT pg_terminate_backend(active_pid, 5000), pg_drop_replication_slot(slot_name) "
                    "FROM pg_replication_slots WHERE slot_name = %s",
                    self.name,
                )
            except psycopg.errors.ObjectInUse:  # its reader was back faster
                return False
            return True

        await until(dropped)

    async def close_sources(self) -> None:
        for source in self.sources:
            await source.close()
        self.sources.clear()


async def read_rows(source: Source, count: int) -> tuple[list[int], list[Batch]]:
    """The numbers of the next `count` events, in order, and the batches that they came in."""
    numbers: list[int] = []
    batches: list[Batch] = []
    end = time.monotonic() + DEADLINE_S
    while len(numbers) < count:
        assert time.monotonic() < end, f"only {len(numbers)} of {count} events came"
        handed = await source.next_batch(wait_s=1.0)
        if isinstance(handed, Batch):
            batches.append(handed)
            for table in handed.inserts.values():
                numbers += table.column("version").to_pylist()
    return numbers, batches


def read_transaction(stream: Stream) -> Counter[str]:
    """The kinds of all messages up to the first Commit, received in small pieces."""
    data = bytearray()
    piece = memoryview(bytearray(100))
    kinds: Counter[str] = Counter()
    end = time.monotonic() + DEADLINE_S
    while not kinds["C"]:
        assert time.monotonic() < end
        while count := stream.receive(piece):
            data += piece[:count]
        found = find_messages(np.frombuffer(bytes(data), np.uint8), 0, len(data))
        kinds = Counter(chr(data[start + WAL_HEAD_BYTES]) for start in found.starts)
    return kinds


async def drop_database(server: Database, name: str) -> None:
    """Drop a database with its slots, once the server has noticed that their readers are gone."""

    async def freed() -> bool:
        try:
            await server.run("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s", name)
            await server.run(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s", name
            )
        except psycopg.errors.ObjectInUse:  # a walsender that has not seen its client leave
            return False
        return True

    await until(freed)
    await server.run(f"DROP DATABASE {name} WITH (FORCE)")


@asynccontextmanager
async def new_database(server_url: str) -> AsyncIterator[Database]:
    database = Database(server_url, f"capture_{uuid4().hex[:12]}")
    server = Database(server_url, "postgres")
    await server.run(f"CREATE DATABASE {database.name}")
    await database.run(
        "CREATE TABLE events (stream text NOT NULL, version bigint NOT NULL, type text NOT NULL, "
        "schema_version int NOT NULL, data jsonb NOT NULL, recorded_at timestamptz NOT NULL DEFAULT now())"
    )
    yield database
    await database.close_sources()
    await drop_database(server, database.name)
