"""What came of comparing mirrored tables with their sources, and how far a comparison is that was stopped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import uuid4

import pyarrow as pa

from headrace.warehouse.client import DURABLE, ClickHouse

RUNNING, STOPPED, CLEAN, DIFFERENT, UNSETTLED = "running", "stopped", "clean", "different", "unsettled"
RUNS_KEPT = 10
"""Of each table; what older ones found is forgotten."""

_COLUMNS = (
    "name, run, stem, generation, began_at, state, phase, after_key, rows, missing, extra, changed, unsettled, "
    "revision, written_at"
)
_READ = f"""
SELECT {_COLUMNS}
FROM headrace.mirror_verifications FINAL
WHERE source = {{source:String}}
ORDER BY name, began_at DESC, run
LIMIT 1 BY name
"""
_READ_DIFFERENCES = """
SELECT key, kind, columns
FROM headrace.mirror_differences FINAL
WHERE source = {source:String} AND name = {name:String} AND run = {run:String} AND key > {after:Array(String)}
ORDER BY key
LIMIT {rows_max:UInt64}
"""
_OLD = """
SELECT run FROM headrace.mirror_verifications FINAL
WHERE source = {source:String} AND name = {name:String}
ORDER BY began_at DESC, run
LIMIT 1000 OFFSET {kept:UInt64}
"""


@dataclass(frozen=True, slots=True)
class Verification:
    """One comparison. `name` is what the table is called in ClickHouse; `rows` are those of the source read so far.

    `state`: running, or stopped: `phase` and `after_key` say where it goes on; clean; different: some rows differ;
    unsettled: none does, but some changed all the time.
    """

    name: str
    run: str
    stem: str
    generation: int
    began_at: datetime
    state: str = RUNNING
    phase: str = ""
    after_key: tuple[str, ...] = ()
    rows: int = 0
    missing: int = 0
    extra: int = 0
    changed: int = 0
    unsettled: int = 0
    revision: int = 0
    written_at: datetime | None = None

    @property
    def differences(self) -> int:
        return self.missing + self.extra + self.changed


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that differs. `columns` are named for some of those that are changed."""

    key: tuple[str, ...]
    kind: str
    columns: tuple[str, ...] = ()


async def read_verifications(clickhouse: ClickHouse, source: str) -> dict[str, Verification]:
    """The latest comparison of every table, by its name in ClickHouse."""
    found = {}
    for row in await clickhouse.rows(_READ, {"source": source}):
        name, run, stem, generation, began_at, state, phase, after_key, rows, missing, extra, changed, unsettled = row[
            :13
        ]
        found[name] = Verification(
            name,
            run,
            stem,
            generation,
            _utc(began_at),
            state,
            phase,
            tuple(after_key),
            rows,
            missing,
            extra,
            changed,
            unsettled,
            revision=row[13],
            written_at=_utc(row[14]),
        )
    return found


async def write_verification(clickhouse: ClickHouse, source: str, verification: Verification) -> Verification:
    """Write the next revision and give it back."""
    written = replace(verification, revision=verification.revision + 1, written_at=datetime.now(UTC))
    row = {
        "source": pa.array([source]),
        "name": pa.array([written.name]),
        "run": pa.array([written.run]),
        "revision": pa.array([written.revision], pa.uint64()),
        "stem": pa.array([written.stem]),
        "generation": pa.array([written.generation], pa.uint32()),
        "state": pa.array([written.state]),
        "phase": pa.array([written.phase]),
        "after_key": pa.array([list(written.after_key)], pa.list_(pa.string())),
        "rows": pa.array([written.rows], pa.uint64()),
        "missing": pa.array([written.missing], pa.uint64()),
        "extra": pa.array([written.extra], pa.uint64()),
        "changed": pa.array([written.changed], pa.uint64()),
        "unsettled": pa.array([written.unsettled], pa.uint64()),
        "began_at": pa.array([written.began_at], pa.timestamp("us", "UTC")),
        "written_at": pa.array([written.written_at], pa.timestamp("us", "UTC")),
    }
    await clickhouse.insert_arrow("headrace.mirror_verifications", pa.table(row), settings=DURABLE)
    return written


async def read_differences(
    clickhouse: ClickHouse, source: str, verification: Verification, *, after: Sequence[str] = (), rows_max: int
) -> list[Difference]:
    """The first rows that differ, in the order of the texts of their keys."""
    parameters = {
        "source": source,
        "name": verification.name,
        "run": verification.run,
        "after": list(after),
        "rows_max": rows_max,
    }
    rows = await clickhouse.rows(_READ_DIFFERENCES, parameters)
    return [Difference(tuple(key), kind, tuple(columns)) for key, kind, columns in rows]


async def write_differences(
    clickhouse: ClickHouse, source: str, verification: Verification, found: Sequence[Difference]
) -> None:
    """Write down rows that differ. Repeating it writes the same rows, of which one stays each."""
    if not found:
        return
    row = {
        "source": pa.array([source] * len(found)),
        "name": pa.array([verification.name] * len(found)),
        "run": pa.array([verification.run] * len(found)),
        "key": pa.array([list(each.key) for each in found], pa.list_(pa.string())),
        "kind": pa.array([each.kind for each in found]),
        "columns": pa.array([list(each.columns) for each in found], pa.list_(pa.string())),
    }
    settings = {**DURABLE, "insert_deduplication_token": str(uuid4())}
    await clickhouse.insert_arrow("headrace.mirror_differences", pa.table(row), settings=settings)


async def forget_verifications(clickhouse: ClickHouse, source: str, name: str) -> None:
    """Forget all but the last `RUNS_KEPT` comparisons of a table."""
    old = await clickhouse.rows(_OLD, {"source": source, "name": name, "kept": RUNS_KEPT})
    if old:
        runs = ", ".join(f"'{run}'" for (run,) in old)
        for table in ("mirror_differences", "mirror_verifications"):
            await clickhouse.execute(
                f"DELETE FROM headrace.{table} WHERE source = {{source:String}} AND name = {{name:String}} "
                f"AND run IN ({runs})",
                {"source": source, "name": name},
            )


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
