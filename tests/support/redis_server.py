"""Debian's Redis for one test: on a socket in a folder of its own, with every write on disk before it is answered."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from redis import ConnectionError
from redis.asyncio import Redis
from support.fault_system import Process
from support.waiting import until

SERVER = shutil.which("redis-server")


class RedisServer:
    """Kill it and start it again at will; what it has answered stays. The folder's path is short, as sockets want."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: Process | None = None
        self.url = f"unix://{folder}/redis.sock"

    async def start(self) -> None:
        """Start it and wait until it answers. Skips the test when there is none."""
        if SERVER is None:
            pytest.skip("the Redis view is not tested: no redis-server is installed (apt-get install redis-server)")
        durable = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        place = ["--dir", str(self._folder), "--unixsocket", "redis.sock", "--port", "0"]
        log = self._folder / "redis.log"
        self._process = await Process.start(SERVER, *place, *durable, log=log, environ={})
        async with Redis.from_url(self.url) as client:

            async def answers() -> bool:
                try:
                    return bool(await client.ping())
                except ConnectionError:  # not listening yet, or reading its file
                    return False

            await until(answers)

    async def kill(self) -> None:
        """As `kill -9` does."""
        assert self._process is not None
        await self._process.kill()

    def forget(self) -> None:
        """Its file is lost, while it does not run."""
        shutil.rmtree(self._folder / "appendonlydir")

    async def end(self) -> None:
        """Whatever it does, it is gone afterwards."""
        if self._process is not None:
            await self._process.end()
