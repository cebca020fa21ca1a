"""Asking the worker for a change of a mirrored table, and waiting for its answer: nobody else changes one."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Final

from headrace.errors import Conflict, Unavailable
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.mirrors import MirrorRequest, read_requests, write_request
from headrace.warehouse.watermark import read_watermark

_WORKER_SILENT_MAX_S: Final = 30.0
_POLL_S: Final = 0.2


async def ask_worker(clickhouse: ClickHouse, source: str, name: str, wish: str) -> None:
    """Ask for `wish` of the table `name` (schema.table), and wait until it is carried out.

    Raises Conflict when the worker refuses or has another request for the table, Unavailable when it is silent: the
    request stays, and a worker that starts later carries it out.
    """
    if (pending := await _request(clickhouse, source, name)) is not None and pending.wish:
        raise Conflict(f"The worker is already asked to {pending.wish} {name}.", hint="Try again when it has.")
    await write_request(clickhouse, source, MirrorRequest(name, wish))
    began = time.monotonic()
    while (request := await _request(clickhouse, source, name)) is not None and request.wish:
        written_at = (await read_watermark(clickhouse, source)).written_at
        silent_s = (datetime.now(UTC) - written_at).total_seconds()
        if min(silent_s, time.monotonic() - began) > _WORKER_SILENT_MAX_S:
            raise Unavailable(
                "The worker does not answer.",
                f"It last wrote a watermark at {written_at.isoformat()}.",
                f"Start `headrace worker`: it will {wish} {name} then.",
            )
        await asyncio.sleep(_POLL_S)
    if request is not None and request.answer:
        raise Conflict(f"{name}: the worker did not {wish} it.", request.answer)


async def _request(clickhouse: ClickHouse, source: str, name: str) -> MirrorRequest | None:
    return next((each for each in await read_requests(clickhouse, source) if each.name == name), None)
