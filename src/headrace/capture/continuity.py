"""Continuity: whether the log of the server that answers is the one that was loaded up to a position."""

from __future__ import annotations

import asyncio

from headrace.capture.connection import Lost, Refused, connect_replication
from headrace.capture.origin import Origin, read_history, read_origin, why_no_continuation
from headrace.errors import Corrupt, InvalidConfiguration, Unavailable
from headrace.events.position import Position


async def check_origin(url: str, known: Origin | None, after: Position) -> Origin:
    """Where the log is from now. `known` is where it was from that was loaded up to `after`; None: nothing was.

    Raises Corrupt for a server that does not continue it, InvalidConfiguration, Unavailable.
    """
    found, history = await asyncio.to_thread(_read, url)
    if known is not None and (reason := why_no_continuation(found, history, known, after)):
        raise Corrupt(
            "This PostgreSQL server does not continue the log that was loaded.",
            reason,
            "Stop the worker and run `headrace recover`; or let postgres.url name the server that it was.",
        )
    return found


def _read(url: str) -> tuple[Origin, str]:
    try:
        connection = connect_replication(url)
    except Lost as error:
        raise Unavailable("PostgreSQL cannot be reached.", str(error).strip(), "Start it, or wait.") from error
    except Refused as error:
        raise InvalidConfiguration("PostgreSQL does not let us replicate.", str(error).strip()) from error
    try:
        found = read_origin(connection)
        return found, read_history(connection, found.timeline)
    finally:
        connection.close()
