"""Turns: commands of one stream, or one tag, are decided one after the other in one process.

Side by side, all but one of them would be decided in vain: 1,000 reactions into one stream took 34 s that way, and take
4 s in turn, on the same two busy cores. Other processes are not waited for: whoever is slower decides again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """A queue for each stream or tag that has commands at this moment."""

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}
        self._waiting: dict[str, int] = {}

    @asynccontextmanager
    async def take(self, name: str) -> AsyncIterator[None]:
        """Wait for those that came before; the next one's turn is when the block ends."""
        lock = self._locks.setdefault(name, asyncio.Lock())
        self._waiting[name] = self._waiting.get(name, 0) + 1
        try:
            async with lock:
                yield
        finally:
            self._waiting[name] -= 1
            if not self._waiting[name]:
                del self._waiting[name], self._locks[name]
