"""The two databases of a project: addresses that are given, or embedded ones that some process owns.

The first process that needs an embedded database starts it and owns it; others attach. Ownership is a file lock, so
it ends with its owner, however that ends.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import math
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO
from urllib.parse import quote

from headrace.embedded.clickhouse.process import EmbeddedClickHouse
from headrace.embedded.postgres import EmbeddedPostgres
from headrace.errors import InvalidConfiguration, Unavailable
from headrace.runtime.supervisor import Child, keeping
from headrace.settings import Settings

# The user that ClickHouse's own clients assume when none is named.
CLICKHOUSE_USER = "default"
_ATTACH_MAX_S = 30.0
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where this project's databases answer. Both hold passwords: never print them."""

    postgres_url: str
    clickhouse_url: str


@dataclass(slots=True)
class Databases:
    """The addresses, and the embedded children when this process owns them; `attached`: another process does."""

    addresses: Addresses
    postgres: EmbeddedPostgres | None = None
    clickhouse: EmbeddedClickHouse | None = None
    attached: bool = False

    @property
    def owned(self) -> bool:
        return self.postgres is not None or self.clickhouse is not None


@asynccontextmanager
async def open_databases(settings: Settings) -> AsyncIterator[Databases]:
    """Attach to the project's databases, starting embedded ones when nobody else runs them.

    Those that were started are kept running, and stopped on the way out, ClickHouse first: it only ever follows
    PostgreSQL.
    """
    if settings.postgres.url and settings.clickhouse.url:
        yield Databases(Addresses(settings.postgres.url, settings.clickhouse.url))
        return
    _make_data_folder(settings.data)
    with (settings.data / "owner.lock").open("a+") as lock:
        if not _try_lock(lock):
            running = await _attach(settings.data / "addresses.json")
            postgres_url = settings.postgres.url or running.postgres_url
            yield Databases(Addresses(postgres_url, settings.clickhouse.url or running.clickhouse_url), attached=True)
            return
        (settings.data / "addresses.json").unlink(missing_ok=True)
        async with AsyncExitStack() as stack:
            databases = await _start(settings, stack)
            _write_addresses(settings.data / "addresses.json", databases.addresses)
            children: list[tuple[str, Child]] = []
            if databases.postgres is not None:
                children.append(("postgres", databases.postgres))
            if databases.clickhouse is not None:
                children.append(("clickhouse", databases.clickhouse))
            # Without end: a full disk is made room on, and then they go on by themselves.
            await stack.enter_async_context(keeping(children, failures_max=math.inf))
            yield databases


async def _start(settings: Settings, stack: AsyncExitStack) -> Databases:
    postgres = clickhouse = None
    postgres_url, clickhouse_url = settings.postgres.url, settings.clickhouse.url
    if postgres_url is None:
        postgres = EmbeddedPostgres(settings.data / "postgres")
        postgres_url = await postgres.start()
        stack.push_async_callback(postgres.stop)
    if clickhouse_url is None:
        clickhouse = EmbeddedClickHouse(
            settings.data / "clickhouse",
            user=CLICKHOUSE_USER,
            port=settings.clickhouse.port,
            password=settings.clickhouse.password or "",
            memory_bytes_max=settings.clickhouse.memory_bytes_max,
        )
        url = await clickhouse.start()
        clickhouse_url = url.replace(
            "://", f"://{CLICKHOUSE_USER}:{quote(settings.clickhouse.password or '', safe='')}@"
        )
        stack.push_async_callback(clickhouse.stop)
    return Databases(Addresses(postgres_url, clickhouse_url), postgres, clickhouse)


def _make_data_folder(data: Path) -> None:
    try:
        data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidConfiguration(f"The data folder cannot be made: {data}.", str(error)) from error
    ignore = data / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n")


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write_addresses(path: Path, addresses: Addresses) -> None:
    staged = path.with_suffix(".new")
    with open(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(asdict(addresses), file)
    staged.replace(path)


async def _attach(path: Path) -> Addresses:
    """The owner's addresses; it writes them once its databases answer."""
    for _ in range(int(_ATTACH_MAX_S / _POLL_S)):
        if path.exists():
            return Addresses(**json.loads(path.read_text()))
        await asyncio.sleep(_POLL_S)
    raise Unavailable(
        "Another process of this project holds the embedded databases, but they do not answer.",
        f"Waited {_ATTACH_MAX_S:g} s for {path}.",
        "Stop that process, or look at what it says.",
    )
