"""The answers that several readers share: a page open twice, a hundred clients of one live query.

An answer is shared while it is young enough for the reader who asks, and a query that is already running is joined
instead of run again. An answer never gets younger by being shared: it keeps the watermark it was read at.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any

from headrace.events.position import START, Position
from headrace.queries.answer import Answer

ENTRIES_MAX = 128
ANSWER_BYTES_MAX = 512 * 1024


@dataclass(frozen=True, slots=True)
class _Entry:
    task: asyncio.Task[Answer]
    started_at: float


class AnswerCache:
    """At most `ENTRIES_MAX` answers of at most `ANSWER_BYTES_MAX` bytes each; the longest unused goes first."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._clock = clock

    async def get(
        self,
        key: Hashable,
        run: Callable[[], Coroutine[Any, Any, Answer]],
        *,
        age_max_s: float,
        at_least: Position = START,
    ) -> Answer:
        """An answer under way or begun at most `age_max_s` ago, read at `at_least` or later; else that of `run`.

        Cancelling one reader does not cancel the query that others wait for.
        """
        entry = self._entries.get(key)
        if entry is not None and (not entry.task.done() or self._clock() - entry.started_at < age_max_s):
            answer = await asyncio.shield(entry.task)
            if answer.watermark.position >= at_least:
                if key in self._entries:
                    self._entries.move_to_end(key)
                return answer
        return await self._run(key, run)

    def _run(self, key: Hashable, run: Callable[[], Coroutine[Any, Any, Answer]]) -> Awaitable[Answer]:
        entry = _Entry(asyncio.create_task(run()), self._clock())
        self._entries[key] = entry
        self._entries.move_to_end(key)
        if len(self._entries) > ENTRIES_MAX:
            self._entries.popitem(last=False)
        entry.task.add_done_callback(lambda task: self._settle(key, entry, task))
        return asyncio.shield(entry.task)

    def _settle(self, key: Hashable, entry: _Entry, task: asyncio.Task[Answer]) -> None:
        failed = task.cancelled() or task.exception() is not None
        if (failed or len(task.result().data) > ANSWER_BYTES_MAX) and self._entries.get(key) is entry:
            del self._entries[key]
