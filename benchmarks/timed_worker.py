"""A worker that writes down when it took each step, for `freshness`: the clock is the same for all processes."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import pyarrow as pa
import uvloop

from headrace.runtime.databases import open_databases
from headrace.runtime.supervisor import stop_on_signals
from headrace.runtime.worker import run_worker
from headrace.settings import Settings
from headrace.telemetry import configure


async def main(root: Path, steps: Path) -> None:
    stop = asyncio.Event()
    stop_on_signals(stop)
    settings = Settings.load(root)
    with steps.open("w", buffering=1) as file:
        async with open_databases(settings) as databases:
            await run_worker(
                settings, databases.addresses, stop, on_step=lambda step: print(time.perf_counter(), step, file=file)
            )


if __name__ == "__main__":
    pa.scalar(0)  # imports pandas where it is installed, which takes a second: a part of starting, not of loading
    configure("warning")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
