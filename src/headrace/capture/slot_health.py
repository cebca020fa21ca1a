"""How a replication slot fares: whether its log is safe, and how much of it the server keeps because of us."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from headrace.capture.server import connect, read_sql


@dataclass(frozen=True, slots=True)
class SlotHealth:
    """`wal_status` is reserved, extended, unreserved or lost; `safe_wal_bytes` how much more log may be written before
    the slot is lost, None without a limit. `kept_bytes` of log are kept for the slot, `unconfirmed_bytes` of them are
    not confirmed; the server keeps `kept_bytes_max` at most, None: no limit. `inactive_since` is None on servers before
    17 and while it is read. `spilled_bytes` of transactions larger than logical_decoding_work_mem went to disk since
    the statistics were reset.
    """

    wal_status: str | None
    safe_wal_bytes: int | None
    kept_bytes: int | None
    unconfirmed_bytes: int | None
    kept_bytes_max: int | None
    active_pid: int | None
    inactive_since: datetime | None
    spilled_bytes: int


async def slot_health(url: str, slot: str) -> SlotHealth | None:
    """None when there is no such slot. Raises Unavailable."""
    async with connect(url) as connection:
        row = await (await connection.execute(read_sql("read_slot_health"), {"slot": slot})).fetchone()
        return SlotHealth(**row) if row else None
