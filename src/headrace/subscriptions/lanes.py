"""Lanes: work in its order per key, at the same time across keys; and how far the work as a whole is. No I/O."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from headrace.event_store.follow import Checkpoint

Job = Callable[[], Awaitable[None]]


class Lanes:
    """One lane per key that has work. The group's tasks are the lanes; what a job raises ends the group."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._lanes: dict[str, deque[Job]] = {}

    def add(self, key: str, job: Job) -> None:
        """Do it after all that was added for this key before."""
        lane = self._lanes.get(key)
        if lane is not None:
            lane.append(job)
            return
        self._lanes[key] = deque([job])
        self._group.create_task(self._run(key))

    async def _run(self, key: str) -> None:
        lane = self._lanes[key]
        while lane:
            await lane.popleft()()
        del self._lanes[key]


class Mark:
    """An event on its way, and the checkpoint behind it."""

    __slots__ = ("after", "done")

    def __init__(self, after: Checkpoint, *, done: bool = False) -> None:
        self.after = after
        self.done = done


class Progress:
    """Events end in any order; the checkpoint passes one only when all before it have ended too."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.handled = 0
        self._marks: deque[Mark] = deque()

    @property
    def waiting(self) -> int:
        """How many events are on their way, or have ended before one that is."""
        return len(self._marks)

    def expect(self, after: Checkpoint) -> Mark:
        """The next event in order."""
        mark = Mark(after)
        self._marks.append(mark)
        return mark

    def reach(self, checkpoint: Checkpoint) -> None:
        """Nothing more comes before this checkpoint."""
        self._marks.append(Mark(checkpoint, done=True))
        self._advance()

    def end(self, mark: Mark) -> None:
        """This event is handled or set aside."""
        mark.done = True
        self.handled += 1
        self._advance()

    def _advance(self) -> None:
        while self._marks and self._marks[0].done:
            self.checkpoint = self._marks.popleft().after
