"""Supervisor: keeps child processes running, and stops them in the reverse order of their start."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from headrace.errors import Error, Unavailable
from headrace.telemetry import logger

log = logger(__name__)

BACKOFF_S = (0.1, 0.5, 2.0, 5.0)
FAILURES_MAX = 10
# A child that ran this long before it ended has earned a fresh count of failures.
STEADY_S = 60.0
STOP_MAX_S = 20.0
# Tells a role that its standard input is the pipe from its supervisor.
_CHILD = "_HEADRACE_CHILD"


class Child(Protocol):
    """A process that can be started again: both embedded databases, and `Role`."""

    async def start(self) -> object: ...
    async def wait(self) -> int: ...
    async def stop(self) -> None: ...


class Role:
    """One `headrace <verb>` as a child process, in a process group of its own: Ctrl-C reaches the parent alone."""

    def __init__(self, verb: str, *arguments: str, root: Path, environ: Mapping[str, str] | None = None) -> None:
        self.name = verb
        self._command = [sys.executable, "-m", "headrace", verb, "--project", str(root), *arguments]
        self._environ = {**os.environ, **(environ or {}), _CHILD: "1"}
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def start(self) -> None:
        # A role ends with its parent: its end of this pipe closes when the parent is gone, however it went.
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            start_new_session=True,
            env=self._environ,
        )

    async def wait(self) -> int:
        assert self._process is not None, "started before it is waited for"
        return await self._process.wait()

    async def stop(self) -> None:
        """Ask it to end; by force after `STOP_MAX_S` seconds."""
        if self._process is None or self._process.returncode is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._process.wait(), STOP_MAX_S)
        except TimeoutError:
            log.warning("role_killed", role=self.name, after_s=STOP_MAX_S)
            self._process.kill()
            await self._process.wait()


async def keep_running(name: str, child: Child, *, failures_max: float = FAILURES_MAX) -> None:
    """Start `child` again whenever it ends. Raises Unavailable after `failures_max` quick failures; cancel to stop."""
    failures = 0
    while True:
        started = time.monotonic()
        code = await child.wait()
        failures = 0 if time.monotonic() - started > STEADY_S else failures
        reason = f"exit code {code}"
        while reason:
            failures += 1
            log.error("child_ended", child=name, reason=reason, failures=failures)
            if failures > failures_max:
                raise Unavailable(f"{name} failed {failures} times in a row.", reason, "Its messages are above.")
            await asyncio.sleep(BACKOFF_S[min(failures, len(BACKOFF_S)) - 1])
            reason = await _start(child)


async def _start(child: Child) -> str:
    """Start it; the reason why it did not start, or nothing."""
    try:
        await child.start()
    except Error as error:  # also a port or a lock that the one that died still holds for a moment
        return str(error)
    return ""


@asynccontextmanager
async def keeping(
    children: Sequence[tuple[str, Child]],
    *,
    failures_max: float = FAILURES_MAX,
    on_failure: Callable[[], None] = lambda: None,
) -> AsyncIterator[None]:
    """Keep started children running for as long as the block runs. Does not stop them.

    When one cannot be kept running it is logged, and `on_failure` is called; the others go on.
    """

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("child_given_up", reason=str(error))
            on_failure()

    tasks = [asyncio.create_task(keep_running(name, child, failures_max=failures_max)) for name, child in children]
    for task in tasks:
        task.add_done_callback(ended)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def stop_on_signals(stop: asyncio.Event) -> None:
    """Set `stop` on SIGINT and SIGTERM; a second Ctrl-C changes nothing: stopping is already bounded in time."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)


def stop_with_parent(stop: asyncio.Event) -> None:
    """In a role that a supervisor started: set `stop` when the supervisor is gone and its end of the pipe closes."""
    if os.environ.get(_CHILD) == "1":
        loop = asyncio.get_running_loop()
        standard_input = sys.stdin.fileno()

        def closed() -> None:
            loop.remove_reader(standard_input)
            stop.set()

        loop.add_reader(standard_input, closed)
