"""Waiting for what becomes true by itself."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable

# How often each fault happens in one run. `HEADRACE_FAULT_ROUNDS=20` is what a release has to pass.
ROUNDS = int(os.environ.get("HEADRACE_FAULT_ROUNDS", "1"))
DEADLINE_S = 90.0 + 10 * ROUNDS  # what is still to be loaded grows with the rounds
_PAUSE_MIN_S, _PAUSE_MAX_S = 0.01, 0.2


async def until(condition: Callable[[], Awaitable[bool]], deadline_s: float = DEADLINE_S) -> None:
    """Wait until the condition holds; fail at the deadline.

    It is looked at less and less often: asking is work for the servers that are waited for.
    """
    end = time.monotonic() + deadline_s
    pause_s = _PAUSE_MIN_S
    while not await condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 1.5, _PAUSE_MAX_S)
