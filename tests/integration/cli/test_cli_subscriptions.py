"""`headrace reactor` and `headrace subscriptions` from the command line, on databases that are given."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from support import reactor_domain
from support.fault_system import Process
from support.reacting import numbers_of, write
from support.running_project import headrace
from support.waiting import until

from headrace.embedded.clickhouse.process import EmbeddedClickHouse
from headrace.event_store.event_store import EventStore

REACTORS = """
from domain import Copy, Written
from headrace import reactor


@reactor("copies")
def copies(event: Written):
    assert event.number != 13
    yield Copy(topic=event.topic, number=event.number)
"""


async def test_a_subscription_from_its_first_event_to_each_request(
    store: EventStore, url: str, clickhouse_server: EmbeddedClickHouse, tmp_path: Path
) -> None:
    extra = {"HEADRACE_POSTGRES__URL": url, "HEADRACE_CLICKHOUSE__URL": clickhouse_server.url}
    (tmp_path / "headrace.toml").write_text('project = "copying"\n')
    (tmp_path / "domain.py").write_text(Path(reactor_domain.__file__).read_text())
    (tmp_path / "reactors.py").write_text(REACTORS)

    async def ask(*verb: str, code: int = 0) -> Any:
        done = await asyncio.to_thread(headrace, "subscriptions", *verb, "--json", folder=tmp_path, extra=extra)
        assert done.returncode == code, done.stdout + done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    async def copied(*numbers: int) -> None:
        async def seen() -> bool:
            return await numbers_of(store, "copy-a") == list(numbers)

        await until(seen)

    log = tmp_path / "reactor.log"
    command = Path(pytest.__file__).parents[4] / "bin" / "headrace"
    process = await Process.start(str(command), "reactor", "--project", str(tmp_path), log=log, environ=extra)
    try:
        await write(store, "a", 1, 2)
        await copied(1, 2)
        (row,) = await ask("list")
        assert (row["subscription"], row["state"], row["dead letters"]) == ("copies", "active", 0)

        assert await ask("pause", "copies") == {"subscription": "copies", "state": "paused"}
        await write(store, "a", 13, 14)
        (row,) = await ask("list")
        assert (row["state"], row["lag"]) == ("paused", 2)
        assert await ask("resume", "copies") == {"subscription": "copies", "state": "active"}

        async def set_aside() -> bool:
            return len(await store.subscriptions.letters()) == 2

        await until(set_aside)
        letters = await ask("dead-letters", "copies")
        assert [(each["key"], each["version"], each["status"]) for each in letters] == [
            ("notes-a", 3, "waiting"),
            ("notes-a", 4, "waiting"),
        ]
        assert await ask("retry", "copies") == {"subscription": "copies", "asked": 2}
        assert await ask("discard", "copies", "notes-a") == {"subscription": "copies", "key": "notes-a", "behind": 1}
        await copied(1, 2, 14)
        assert (await ask("discard", "copies", "notes-a", code=2))["error"] == "Unknown"
        assert await ask("discard", "copies") == {"subscription": "copies", "removed": 0}
        assert await ask("reset", "copies") == {"subscription": "copies"}
        assert (await ask("reset", "others", code=2))["message"] == "No subscription is called 'others'."
        await process.stop()
    finally:
        await process.end()
