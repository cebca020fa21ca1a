"""A new slot, and exactly what had been committed before it: the stream begins where the snapshot ends.

Both come from one command, so no event can fall between them, nor stand on both sides. PostgreSQL's documentation:
CREATE_REPLICATION_SLOT with USE_SNAPSHOT, in "Streaming Replication Protocol".
"""

from __future__ import annotations

from typing import NamedTuple

from psycopg import pq
from psycopg.pq.abc import PGresult

from headrace.capture.connection import Lost, SlotAddress, connect_replication, raise_server_error
from headrace.events.position import Position


class NewSlot(NamedTuple):
    """`begins_at` is the LSN of its first change; `snapshot` is PostgreSQL's text of what was visible before it."""

    begins_at: int
    snapshot: str


def create_slot(address: SlotAddress) -> NewSlot:
    """Create the slot. Waits until every transaction that is running now has ended. Blocks; raises Lost and Refused."""
    connection = connect_replication(address.url)
    try:
        run = connection.pgconn.exec_
        _checked(run(b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"))
        # From 17 on a standby that takes over can have the slot as well.
        options = "(SNAPSHOT 'use', FAILOVER true)" if connection.info.server_version >= 170_000 else "USE_SNAPSHOT"
        created = _checked(run(f'CREATE_REPLICATION_SLOT "{address.slot}" LOGICAL pgoutput {options}'.encode()))
        seen = _checked(run(b"SELECT pg_current_snapshot()::text"))
        _checked(run(b"COMMIT"))
        begins_at = Position.parse((created.get_value(0, 1) or b"").decode()).lsn
        return NewSlot(begins_at, (seen.get_value(0, 0) or b"").decode())
    finally:
        connection.close()


def _checked(result: PGresult) -> PGresult:
    if result.status in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK):
        return result
    sqlstate, message = result.error_field(pq.DiagnosticField.SQLSTATE), result.get_error_message().strip()
    if sqlstate:
        raise_server_error(sqlstate.decode(), message)
    raise Lost(message)  # without a code it is libpq that says so
