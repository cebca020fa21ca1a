"""Dead letters: changes that could not be loaded, kept with their reason and raw bytes until someone decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

import pyarrow as pa

from headrace.errors import Unknown
from headrace.events.position import START, Position
from headrace.warehouse.client import DURABLE, ClickHouse

WAITING, RETRY, LOADED, DISCARDED = "waiting", "retry", "loaded", "discarded"
LIST_MAX = 1000

_LIST = """
SELECT target, lsn, ordinal, batch, status, reason, raw, changed_at
FROM headrace.dead_letters FINAL
WHERE source = {source:String}
  AND ({status:String} = '' OR status = {status:String})
  AND ({lsn:UInt64} = 0 OR (lsn, ordinal) = ({lsn:UInt64}, {ordinal:UInt32}))
ORDER BY lsn, ordinal, target
LIMIT {limit:UInt32}
"""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One change that `target` could not take. `status`: waiting, retry, loaded or discarded."""

    target: str
    position: Position
    batch: int
    reason: str
    raw: bytes
    status: str = WAITING
    changed_at: datetime | None = None


async def write_dead_letters(clickhouse: ClickHouse, source: str, letters: Sequence[DeadLetter]) -> None:
    """Keep the letters, or record a decision on them: the newest row of a position and target counts."""
    if not letters:
        return
    rows = pa.table(
        {
            "source": pa.array([source] * len(letters)),
            "target": pa.array([letter.target for letter in letters]),
            "lsn": pa.array([letter.position.lsn for letter in letters], pa.uint64()),
            "ordinal": pa.array([letter.position.ordinal for letter in letters], pa.uint32()),
            "batch": pa.array([letter.batch for letter in letters], pa.uint64()),
            "status": pa.array([letter.status for letter in letters]),
            "reason": pa.array([letter.reason for letter in letters]),
            "raw": pa.array([letter.raw for letter in letters], pa.binary()),
        }
    )
    # A letter that fails again after a retry is the same row again, and must count: no insert repeats another one.
    settings = {**DURABLE, "insert_deduplication_token": str(uuid4())}
    await clickhouse.insert_arrow("headrace.dead_letters", rows, settings=settings)


async def read_dead_letters(
    clickhouse: ClickHouse, source: str, *, status: str = "", at: Position = START
) -> list[DeadLetter]:
    """At most `LIST_MAX` letters in commit order; of one status, or of all; at one position, or anywhere."""
    parameters = {"source": source, "status": status, "lsn": at.lsn, "ordinal": at.ordinal, "limit": LIST_MAX}
    # `raw` may hold any bytes: Arrow carries them as they are.
    settings = {"output_format_arrow_string_as_string": 0}
    answer = await clickhouse.raw(_LIST, parameters, format="ArrowStream", settings=settings)
    return [
        DeadLetter(
            target=_str(row["target"]),
            position=Position(row["lsn"], row["ordinal"]),
            batch=row["batch"],
            reason=_str(row["reason"]),
            raw=bytes(row["raw"]),
            status=_str(row["status"]),
            changed_at=row["changed_at"],
        )
        for row in pa.ipc.open_stream(answer).read_all().to_pylist()
    ]


async def find_dead_letters(clickhouse: ClickHouse, source: str, position: Position) -> list[DeadLetter]:
    """The letters of one position, one per target. Raises Unknown when there is none."""
    found = await read_dead_letters(clickhouse, source, at=position)
    if not found:
        raise Unknown(
            f"There is no dead letter at {position}.", hint="`headrace dead-letters list` shows those that there are."
        )
    return found


async def count_waiting(clickhouse: ClickHouse, source: str) -> int:
    """How many letters wait for a decision."""
    sql = "SELECT count() FROM headrace.dead_letters FINAL WHERE source = {source:String} AND status = 'waiting'"
    ((count,),) = await clickhouse.rows(sql, {"source": source})
    return int(count)


async def excluded_targets(clickhouse: ClickHouse, source: str) -> set[str]:
    """The targets that must leave out some change."""
    sql = (
        "SELECT DISTINCT target FROM headrace.dead_letters FINAL "
        "WHERE source = {source:String} AND status IN ('waiting', 'discarded')"
    )
    return {row[0] for row in await clickhouse.rows(sql, {"source": source})}


# A subselect of the positions that one target must leave out; parameters `source` and `target`.
EXCLUDED_POSITIONS = (
    "SELECT lsn, ordinal FROM headrace.dead_letters FINAL WHERE source = {source:String} "
    "AND target = {target:String} AND status IN ('waiting', 'discarded')"
)

# The same of rows of mirrored tables, which positions do not tell apart: their hashes, from the lines of the letters.
EXCLUDED_ROWS = (
    "SELECT toUInt64OrZero(JSONExtractString(arrayJoin(splitByChar('\\n', raw)), '_row')) "
    "FROM headrace.dead_letters FINAL WHERE source = {source:String} "
    "AND target = {target:String} AND status IN ('waiting', 'discarded')"
)


def _str(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode()
