"""A worker that kills itself: `python dying_worker.py FOLDER STEP N` dies where STEP is announced for the N-th time.

STEP is a step of the load protocol, or how its name begins. The databases come from HEADRACE_ variables.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from itertools import count
from pathlib import Path

from headrace.runtime.databases import Addresses
from headrace.runtime.supervisor import stop_with_parent
from headrace.runtime.worker import run_worker
from headrace.settings import Settings
from headrace.telemetry import configure


async def main(folder: Path, step: str, occurrence: int) -> None:
    settings = Settings.load(folder)
    assert settings.postgres.url is not None
    assert settings.clickhouse.url is not None
    stop = asyncio.Event()
    stop_with_parent(stop)
    seen = count(1)

    def die(announced: str) -> None:
        if announced.startswith(step) and next(seen) == occurrence:
            os.kill(os.getpid(), signal.SIGKILL)

    await run_worker(settings, Addresses(settings.postgres.url, settings.clickhouse.url), stop, on_step=die)


if __name__ == "__main__":
    configure()
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
