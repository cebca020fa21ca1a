"""Forget: delete a subject's key, and with it the meaning of every personal field of its events.

Appends under way are waited for, and those after it see that the key is gone: so the report names every event, and no
event is written that nobody can ever read. Bulk appends hold the keys that they use themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from psycopg_pool import PoolTimeout

from headrace.errors import Unavailable, Unknown
from headrace.event_store import statements
from headrace.event_store.connection import Connection, Pool


@dataclass(frozen=True, slots=True)
class Trace:
    """The events of one type in one stream that are about a subject: how many, their sealed fields as JSON names them,
    and the number of keyed hashes in them, which stay.
    """

    type: str
    stream: str
    events: int
    fields: tuple[str, ...]
    keyed_hashes: int


@dataclass(frozen=True, slots=True)
class Traces:
    """Where a subject was found, by type and stream. `key`: it had a key, which is now deleted; else it had been
    forgotten before. `snapshots` were deleted too.
    """

    subject: str
    key: bool
    snapshots: int
    found: tuple[Trace, ...]


async def forget(pool: Pool, subject: str, *, dry_run: bool) -> Traces:
    """See EventStore.forget. A dry run does the same and takes it back, so that it says exactly what would happen."""
    try:
        async with pool.connection() as connection, connection.transaction(force_rollback=dry_run):
            traces = await _forget(connection, subject)
    except (psycopg.OperationalError, PoolTimeout) as error:
        raise Unavailable(
            "PostgreSQL failed, or an append of this subject takes too long; whether it is forgotten is unknown.",
            str(error).strip(),
            "Repeat it: it can be done any number of times.",
        ) from error
    if not traces.key and not traces.found:
        raise Unknown(
            f"Nobody is known as {subject[:80]!r}.",
            "There is no key of this subject and no event about it.",
            "A subject is what subject= of the event's class gives; events about it have the tag subject:<subject>.",
        )
    return traces


async def _forget(connection: Connection, subject: str) -> Traces:
    parameters = {"subject": subject}
    await connection.execute(statements.query("lock_subject"), parameters)
    # First the key, then the look: an import that had the key is in by then.
    deleted = await connection.execute(statements.query("delete_subject_key"), parameters)
    rows = await (await connection.execute(statements.query("find_subject"), parameters)).fetchall()
    found = tuple(Trace(kind, stream, events, tuple(names), hashes) for kind, stream, events, names, hashes in rows)
    snapshots = await _delete_snapshots(connection, sorted({trace.stream for trace in found}))
    return Traces(subject, deleted.rowcount > 0, snapshots, found)


async def _delete_snapshots(connection: Connection, streams: list[str]) -> int:
    cursor = await connection.execute(statements.query("find_snapshots"))
    if await cursor.fetchone() != (True,):
        return 0
    return (await connection.execute(statements.query("delete_snapshots"), {"streams": streams})).rowcount
