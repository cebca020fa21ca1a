"""Waiting without hanging: for a database that is away, and for the signal to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from random import random
from typing import Any, TypeVar

from headrace.errors import Unavailable
from headrace.telemetry import logger

log = logger(__name__)

BACKOFF_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)

Result = TypeVar("Result")


async def waiting(what: str, work: Callable[[], Awaitable[Result]]) -> Result:
    """Do the work; while a database is away, say so, back off and do it again."""
    attempt = 0
    while True:
        try:
            return await work()
        except Unavailable as error:
            pause_s = BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)] * (0.5 + random())
            log.warning(f"{what}_waits", attempt=attempt, pause_s=round(pause_s, 2), reason=str(error))
            await asyncio.sleep(pause_s)
            attempt += 1


async def until_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, Result]) -> Result | None:
    """Do the work and return its result; None when `stop` is set first, the work cancelled. Raises what it raised."""
    stopped, working = asyncio.create_task(stop.wait()), asyncio.create_task(work)
    try:
        await asyncio.wait([stopped, working], return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return _result(working)
        return None
    finally:
        for task in (stopped, working):
            task.cancel()
        await asyncio.gather(stopped, working, return_exceptions=True)


def _result(task: asyncio.Task[Result]) -> Result:
    """What the task returned or raised; of a group of failures the first, for the others followed from it."""
    try:
        return task.result()
    except ExceptionGroup as group:
        raise group.exceptions[0] from group
