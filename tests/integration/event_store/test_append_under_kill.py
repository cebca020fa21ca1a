"""PostgreSQL is killed under load, again and again: what was acknowledged is there, once."""

from __future__ import annotations

import asyncio
import os
import signal
from uuid import uuid4

import pytest

from headrace.embedded.postgres import EmbeddedPostgres
from headrace.errors import Unavailable
from headrace.event_store.append import Appended
from headrace.event_store.event_store import EventStore
from headrace.events.event import Event, Metadata

ROUNDS = 3
WRITERS = 16


class Written(Event):
    n: int


async def test_acknowledged_appends_survive_kills_of_the_server_once_each(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    server = EmbeddedPostgres(tmp_path_factory.mktemp("killed") / "postgres")
    acknowledged: dict[str, list[int]] = {}
    acknowledgements = asyncio.Semaphore(0)
    stopping = asyncio.Event()

    async def write(store: EventStore, writer: int) -> None:
        """Repeat each append under its command id until it is acknowledged, as a client with a key would."""
        stream, n = f"writer-{writer}", 0
        while not stopping.is_set():
            n += 1
            metadata = Metadata(command_id=uuid4())
            appended: Appended | None = None
            while appended is None:
                try:
                    appended = await store.append(stream, [Written(n=n)], metadata=metadata)
                except Unavailable:
                    await asyncio.sleep(0)  # the store itself waits for a connection
            acknowledged.setdefault(stream, []).append(appended.version)
            acknowledgements.release()

    try:
        async with EventStore(await server.start()) as store:
            writers = [asyncio.create_task(write(store, number)) for number in range(WRITERS)]
            for _ in range(ROUNDS):
                async with asyncio.timeout(60):
                    for _ in range(500):
                        await acknowledgements.acquire()
                os.kill(server.pid, signal.SIGKILL)
                await server.wait()
                await server.stop()
                await server.start()
            stopping.set()
            await asyncio.gather(*writers)
            for stream, versions in acknowledged.items():
                stored = [event.version async for event in store.read_stream(stream)]
                assert versions == stored == list(range(1, len(stored) + 1))
    finally:
        stopping.set()
        await server.stop()
