"""Reading ahead: the next batch is cut while the one before is loaded, if it can be a full one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from headrace.bus.batch import Batch

_GATHER_S, _PAUSE_S = 0.25, 0.02


class ReadAhead:
    """`take` gives the next batch if it is full by now, None if not; it looks again when `news` is set. `received` is
    how far the log was received.
    """

    def __init__(
        self, *, take: Callable[[], Awaitable[Batch | None]], news: asyncio.Event, received: Callable[[], int]
    ) -> None:
        self._take = take
        self._news = news
        self._received = received
        self._task: asyncio.Task[Batch] | None = None
        self.hurry = True
        """Whether somebody waits for whatever comes; while it is read ahead, nobody does."""

    def begin(self) -> None:
        self._task = asyncio.create_task(self._read())

    async def end(self, *, behind: bool) -> Batch | None:
        """The batch that was read ahead, if it is full, or will be soon; no task is left behind.

        `behind`: changes come so late that they need not hurry, and larger batches catch up faster. The batch is then
        waited for, unless that takes longer than `_GATHER_S`, or nothing more comes for `_PAUSE_S`. Being cancelled
        leaves it to the next call: reading ahead on, unnoticed, would take what nobody gets then.
        """
        if (task := self._task) is None:
            return None
        deadline, received = time.monotonic() + _GATHER_S, -1
        while behind and not task.done() and time.monotonic() < deadline:
            if received == (received := self._received()):
                break
            await asyncio.wait({task}, timeout=_PAUSE_S)
        await self.stop()
        return None if task.cancelled() else task.result()

    async def stop(self) -> None:
        """Read ahead no more. What was taken and not handed out is kept by who takes."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None

    async def _read(self) -> Batch:
        self.hurry = False
        try:
            while True:
                self._news.clear()
                if (batch := await self._take()) is not None:
                    return batch
                await self._news.wait()
        finally:
            self.hurry = True
