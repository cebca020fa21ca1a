"""Steps that run at the same time, of which none may go on when the caller has heard of a failure."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable


async def side_by_side(steps: Iterable[Awaitable[None]]) -> None:
    """Run the steps side by side; wait for every one of them before the first failure is raised."""
    for outcome in await asyncio.gather(*steps, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
