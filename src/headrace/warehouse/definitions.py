"""Which streams and tables a source has: their statements, and how far each of them is.

The table is also how a change is asked for: anyone may write a row with the state `wanted` or `unwanted`; the worker,
the only one that changes read models, carries it out and writes the state that it reached.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pyarrow as pa

from headrace.warehouse.client import DURABLE, ClickHouse

WANTED, FILLING, READY, FAILED, UNWANTED, DROPPED = "wanted", "filling", "ready", "failed", "unwanted", "dropped"

_READ = """
SELECT name, revision, statement, fingerprint, state, applied_batch, problem
FROM headrace.definitions FINAL
WHERE source = {source:String}
ORDER BY name
"""


@dataclass(frozen=True, slots=True)
class StoredDefinition:
    """One stream or table. `applied_batch` is the last batch applied while filling; a ready one keeps up by itself."""

    name: str
    statement: str
    fingerprint: str
    state: str
    applied_batch: int = 0
    problem: str = ""
    revision: int = 0


async def read_definitions(clickhouse: ClickHouse, source: str) -> dict[str, StoredDefinition]:
    """The newest row of every name, dropped ones too: a name that returns goes on with its revisions."""
    rows = await clickhouse.rows(_READ, {"source": source})
    return {
        name: StoredDefinition(name, statement, fingerprint, state, applied, problem, revision)
        for name, revision, statement, fingerprint, state, applied, problem in rows
    }


async def write_definition(clickhouse: ClickHouse, source: str, definition: StoredDefinition) -> StoredDefinition:
    """Write the next revision of a definition and give it back."""
    written = replace(definition, revision=definition.revision + 1)
    row = {
        "source": pa.array([source]),
        "name": pa.array([written.name]),
        "revision": pa.array([written.revision], pa.uint64()),
        "statement": pa.array([written.statement]),
        "fingerprint": pa.array([written.fingerprint]),
        "state": pa.array([written.state]),
        "applied_batch": pa.array([written.applied_batch], pa.uint64()),
        "problem": pa.array([written.problem]),
    }
    await clickhouse.insert_arrow("headrace.definitions", pa.table(row), settings=DURABLE)
    return written
