"""Start a PostgreSQL program, wait for what it does, and read what its last words mean. No state is kept here."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from headrace.embedded.postgres_install import Account
from headrace.errors import AlreadyRunning, InvalidConfiguration, Unavailable


def spawn(command: list[str], cwd: Path, account: Account | None, output: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a PostgreSQL program in its own session, so that a Ctrl-C in the terminal is ours to handle."""
    try:
        return subprocess.Popen(
            command,
            cwd=cwd,
            # Nothing of the caller's: a stray PGDATA or PGPORT would win over what we pass.
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            umask=0o077,
        )
    except OSError as error:
        raise InvalidConfiguration(
            f"{Path(command[0]).name} could not be started.",
            f"{command[0]}: {error}.",
            "Run as an ordinary user, or set [postgres] url to a server of your own.",
        ) from error


def data_argument(data: Path, account: Account | None) -> str:
    return str(data) if account is None else "/proc/self/cwd"


def failure(said: str, data: Path, port: int) -> AlreadyRunning | Unavailable:
    """What the server's last words mean."""
    if "No space left on device" in said or "Disk quota exceeded" in said:
        return Unavailable(
            "The disk is full: PostgreSQL cannot run.",
            f"Folder {data}.\n{said.strip()}",
            "Free some space, then retry.",
        )
    if "Address already in use" in said:
        return AlreadyRunning(
            f"Port {port} is in use by another process.",
            hint=f"Find it with `ss -ltnp sport = :{port}`, or choose another port; 0 takes a free one.",
        )
    return Unavailable("PostgreSQL did not start.", said.strip(), f"Its log is {data.with_name(data.name + '.log')}.")


async def until(condition: Callable[[], bool], deadline_s: float, every_s: float = 0.01) -> bool:
    """Poll until it holds: works for processes that are not our children, and under every event loop."""
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() >= end:
            return False
        await asyncio.sleep(every_s)
    return True
