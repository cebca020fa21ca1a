"""A server that outlived its owner: find it by its data folder, and end it before the next one starts."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from headrace.embedded.postgres_program import until
from headrace.telemetry import logger

log = logger(__name__)

_FAST_MAX_S = 10.0
_IMMEDIATE_MAX_S = 5.0


def _pid_file(data: Path) -> list[str]:
    """The lines of postmaster.pid: 1 pid, 4 port, 8 status (PostgreSQL's storage-file-layout)."""
    try:
        return (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []


def is_ready(data: Path, pid: int) -> bool:
    lines = _pid_file(data)
    return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"


def _servers_in(data: Path) -> set[int]:
    """The PostgreSQL processes that work in this data folder, found by what they are and not by a stored number."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "comm").read_text().strip() == "postgres" and (entry / "cwd").samefile(data):
                found.add(int(entry.name))
        except OSError:
            continue  # ended meanwhile, or another user's
    return found


async def end_orphans(data: Path) -> None:
    """Stop a server that outlived its owner. The caller holds the lock, so nobody else can mean to run it.

    A leftover postmaster.pid goes as well: PostgreSQL would believe it when its number belongs to another process by
    now. Without /proc this is left to PostgreSQL's own check.
    """
    if sys.platform != "linux":
        return
    lines = _pid_file(data)
    orphans = _servers_in(data)
    if orphans:
        log.warning("postgres_orphan_stopped", pids=sorted(orphans), data=str(data))
    postmaster = {int(lines[0])} & orphans if lines and lines[0].isdigit() else set()
    for number, deadline_s, targets in (
        (signal.SIGINT, _FAST_MAX_S, postmaster),
        (signal.SIGQUIT, _IMMEDIATE_MAX_S, orphans),
        (signal.SIGKILL, _IMMEDIATE_MAX_S, orphans),
    ):
        for pid in targets & _servers_in(data):
            os.kill(pid, number)
        if await until(lambda: not _servers_in(data), deadline_s if targets else 0):
            break
    _remove_leftovers(data)


def _remove_leftovers(data: Path) -> None:
    for leftover in (data / "postmaster.pid", *data.glob(".s.PGSQL.*")):
        leftover.unlink(missing_ok=True)
