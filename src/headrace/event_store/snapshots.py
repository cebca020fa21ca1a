"""Snapshots as rows: saved states of streams, which nothing depends on."""

from __future__ import annotations

from typing import NamedTuple

import psycopg
from psycopg_pool import PoolTimeout

from headrace.errors import Unavailable
from headrace.event_store import statements
from headrace.event_store.connection import Pool, unreachable
from headrace.event_store.read import fetch


class SnapshotKey(NamedTuple):
    """Whose state it is: a stream's, of the state class `state`, by the code with this `fingerprint`."""

    stream: str
    state: str
    fingerprint: int


class Snapshot(NamedTuple):
    """A state after the event of `version`, as its class encodes it."""

    version: int
    data: bytes


async def read_snapshot(pool: Pool, key: SnapshotKey) -> Snapshot | None:
    """See EventStore.read_snapshot."""
    rows = await fetch(pool, "read_snapshot", key._asdict())
    return Snapshot(rows[0][0], bytes(rows[0][1])) if rows else None


async def write_snapshot(pool: Pool, key: SnapshotKey, snapshot: Snapshot) -> None:
    """See EventStore.write_snapshot."""
    try:
        async with pool.connection() as connection:
            await connection.execute(statements.query("write_snapshot"), {**key._asdict(), **snapshot._asdict()})
    except (psycopg.Error, PoolTimeout) as error:
        raise Unavailable("A snapshot was not saved.", unreachable(error).detail, "Nothing depends on it.") from error
