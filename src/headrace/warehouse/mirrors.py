"""Which PostgreSQL tables a source mirrors, how far each is, and what is asked of them.

Only the worker writes the state of a table. Others write requests, which the worker answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import uuid4

import pyarrow as pa

from headrace.warehouse.client import DURABLE, ClickHouse

COPYING, READY, PAUSED, QUARANTINED = "copying", "ready", "paused", "quarantined"
# Removed by somebody, and not to come back by itself; gone because PostgreSQL dropped or renamed it.
REMOVED, GONE = "removed", "gone"
WISHES = ("add", "remove", "pause", "resume", "resync", "repair")

_READ = """
SELECT name, revision, generation, schema_name, table_name, oid, state, shape, floor_lsn, filenode, snapshot,
       since_batch, applied_batch, problem, stem
FROM headrace.mirrors FINAL
WHERE source = {source:String}
ORDER BY name
"""
_READ_RANGES = """
SELECT leaf, page_begin, page_end, rows, bytes, copied_at
FROM headrace.mirror_ranges FINAL
WHERE source = {source:String} AND stem = {stem:String} AND generation = {generation:UInt32}
"""
_READ_REQUESTS = """
SELECT name, wish, answer
FROM headrace.mirror_requests FINAL
WHERE source = {source:String}
ORDER BY name
"""


@dataclass(frozen=True, slots=True)
class StoredMirror:
    """One mirrored table. `name` is what it is called in ClickHouse; the names of the tables behind it begin with
    `stem`, which stays when the table gets another name.

    `generation` numbers its copies: a resync makes the next one. `shape` is JSON, known to the mirror alone. The copy
    includes every commit up to `floor_lsn`, behind which changes count, and which is 0 while it is not known;
    `filenode` is the file that it reads. A table without a key is copied in one `snapshot`, as PostgreSQL writes it.
    The change stream begins with `since_batch`, which is 0 as long as the table was not live. Staged changes are
    applied up to `applied_batch`; a ready table is as far as the watermark.
    """

    name: str
    schema_name: str
    table_name: str
    oid: int
    state: str
    shape: str
    generation: int = 1
    floor_lsn: int = 0
    filenode: int = 0
    snapshot: str = ""
    since_batch: int = 0
    applied_batch: int = 0
    problem: str = ""
    stem: str = ""
    revision: int = 0

    @property
    def full_name(self) -> str:
        return f"{self.schema_name}.{self.table_name}"

    @property
    def in_service(self) -> bool:
        """Whether it is mirrored still."""
        return self.state not in (REMOVED, GONE)


@dataclass(frozen=True, slots=True)
class CopiedRange:
    """Pages `page_begin` up to and without `page_end` of a table or partition, brought over. `copied_at` is when
    ClickHouse wrote it down, None before that.
    """

    leaf: int
    page_begin: int
    page_end: int
    rows: int
    bytes: int
    copied_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class MirrorRequest:
    """`wish` is what is asked of the table `name`, empty when it was carried out; `answer` is why it was not."""

    name: str
    wish: str
    answer: str = ""


async def read_mirrors(clickhouse: ClickHouse, source: str) -> dict[str, StoredMirror]:
    """The newest row of every name, removed ones too: a name that returns goes on with its generations."""
    rows = await clickhouse.rows(_READ, {"source": source})
    return {
        row[0]: StoredMirror(
            name=row[0],
            revision=row[1],
            generation=row[2],
            schema_name=row[3],
            table_name=row[4],
            oid=row[5],
            state=row[6],
            shape=row[7],
            floor_lsn=row[8],
            filenode=row[9],
            snapshot=row[10],
            since_batch=row[11],
            applied_batch=row[12],
            problem=row[13],
            stem=row[14],
        )
        for row in rows
    }


async def write_mirror(clickhouse: ClickHouse, source: str, mirror: StoredMirror) -> StoredMirror:
    """Write the next revision of a table's state and give it back."""
    written = replace(mirror, revision=mirror.revision + 1)
    row = {
        "source": pa.array([source]),
        "name": pa.array([written.name]),
        "revision": pa.array([written.revision], pa.uint64()),
        "generation": pa.array([written.generation], pa.uint32()),
        "schema_name": pa.array([written.schema_name]),
        "table_name": pa.array([written.table_name]),
        "oid": pa.array([written.oid], pa.uint32()),
        "state": pa.array([written.state]),
        "shape": pa.array([written.shape]),
        "floor_lsn": pa.array([written.floor_lsn], pa.uint64()),
        "filenode": pa.array([written.filenode], pa.uint64()),
        "snapshot": pa.array([written.snapshot]),
        "since_batch": pa.array([written.since_batch], pa.uint64()),
        "applied_batch": pa.array([written.applied_batch], pa.uint64()),
        "problem": pa.array([written.problem]),
        "stem": pa.array([written.stem]),
    }
    await clickhouse.insert_arrow("headrace.mirrors", pa.table(row), settings=DURABLE)
    return written


async def read_ranges(clickhouse: ClickHouse, source: str, mirror: StoredMirror) -> list[CopiedRange]:
    """The ranges that the copy of this generation has brought over."""
    parameters = {"source": source, "stem": mirror.stem, "generation": mirror.generation}
    rows = await clickhouse.rows(_READ_RANGES, parameters)
    return [
        CopiedRange(leaf, page_begin, page_end, count, size, copied_at.replace(tzinfo=UTC))
        for leaf, page_begin, page_end, count, size, copied_at in rows
    ]


async def write_ranges(clickhouse: ClickHouse, source: str, mirror: StoredMirror, done: Sequence[CopiedRange]) -> None:
    """Write down that these ranges are brought over. Repeating it writes the same rows, of which one stays each."""
    count = len(done)
    row = {
        "source": pa.array([source] * count),
        "stem": pa.array([mirror.stem] * count),
        "generation": pa.array([mirror.generation] * count, pa.uint32()),
        "leaf": pa.array([each.leaf for each in done], pa.uint32()),
        "page_begin": pa.array([each.page_begin for each in done], pa.uint64()),
        "page_end": pa.array([each.page_end for each in done], pa.uint64()),
        "rows": pa.array([each.rows for each in done], pa.uint64()),
        "bytes": pa.array([each.bytes for each in done], pa.uint64()),
    }
    await clickhouse.insert_arrow("headrace.mirror_ranges", pa.table(row), settings=DURABLE)


async def read_requests(clickhouse: ClickHouse, source: str) -> list[MirrorRequest]:
    """The newest request for every table, carried out or not."""
    return [MirrorRequest(*row) for row in await clickhouse.rows(_READ_REQUESTS, {"source": source})]


async def write_request(clickhouse: ClickHouse, source: str, request: MirrorRequest) -> None:
    """Ask for something, or say what became of it."""
    row = {
        "source": pa.array([source]),
        "name": pa.array([request.name]),
        "wish": pa.array([request.wish]),
        "answer": pa.array([request.answer]),
    }
    settings = {**DURABLE, "insert_deduplication_token": str(uuid4())}
    await clickhouse.insert_arrow("headrace.mirror_requests", pa.table(row), settings=settings)
