"""How the system is, asked of both databases: positions, lag, read models, mirrored tables, reactors, dead letters."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from headrace.capture.slot_health import slot_health
from headrace.errors import Error
from headrace.event_store.event_store import EventStore
from headrace.events.position import START, Position
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.dead_letters import count_waiting
from headrace.warehouse.definitions import DROPPED, FAILED, read_definitions
from headrace.warehouse.mirrors import QUARANTINED, read_mirrors
from headrace.warehouse.watermark import NOTHING, read_watermark

# A worker vouches every second, also when there is nothing to do; this much later it is missed.
WORKER_SILENT_MAX_S = 10.0


@dataclass(frozen=True, slots=True)
class Health:
    """What is asked. Both stores may be away: that is a finding, not a failure."""

    store: EventStore
    clickhouse: ClickHouse
    source: str
    postgres_url: str
    slot: str


@dataclass(slots=True)
class Status:
    """What was found. `lag_bytes` is log that is committed and not in the read models yet; `slot_kept_bytes` is what
    PostgreSQL keeps of it for the slot, `slot_status` its wal_status, empty when there is no slot.
    """

    events_visible: int | None = None
    position: str = ""
    watermark: str = ""
    lag_bytes: int | None = None
    worker_age_s: float | None = None
    batch: int | None = None
    read_models: dict[str, str] = field(default_factory=dict)
    tables: dict[str, str] = field(default_factory=dict)
    slot_status: str = ""
    slot_kept_bytes: int | None = None
    dead_letters: int | None = None
    subscriptions: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def ready(self) -> bool:
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        return {"ready": self.ready, **asdict(self)}


async def read_health(health: Health) -> Status:
    """Ask both databases; what fails becomes a line of `problems`."""
    status = Status()
    position = watermark = None
    try:
        position = await health.store.read_position()
        status.position = str(position)
        await _reactors(health, status)
        if slot := await slot_health(health.postgres_url, health.slot):
            status.slot_status, status.slot_kept_bytes = slot.wal_status or "", slot.kept_bytes
    except Error as error:
        status.problems.append(error.message)
    try:
        watermark = await _read_side(health, status)
    except Error as error:
        status.problems.append(error.message)
    if position is not None and watermark is not None:
        status.lag_bytes = max(0, position.lsn - watermark.lsn)
        if watermark != START:
            _judge_slot(health, status)
    return status


def _judge_slot(health: Health, status: Status) -> None:
    """What was loaded in part needs its slot to go on."""
    if status.slot_status in ("", "lost"):
        status.problems.append(f"The replication slot {health.slot} is lost; run `headrace recover`.")
    elif status.slot_status == "unreserved":
        status.problems.append(f"PostgreSQL is about to give up the replication slot {health.slot}.")


async def _reactors(health: Health, status: Status) -> None:
    for each in await health.store.subscriptions.read():
        letters = f", {each.dead_letters} dead letters" if each.dead_letters else ""
        status.subscriptions[each.name] = each.state + letters
        if each.problem:
            status.problems.append(f"The reactor {each.name} has paused itself: {each.problem}")


async def _read_side(health: Health, status: Status) -> Position:
    watermark = await read_watermark(health.clickhouse, health.source)
    status.watermark, status.batch = str(watermark.position), watermark.batch
    if watermark is NOTHING:
        status.problems.append("No worker has loaded anything yet.")
        return watermark.position
    status.worker_age_s = round((datetime.now(UTC) - watermark.written_at).total_seconds(), 3)
    if status.worker_age_s > WORKER_SILENT_MAX_S:
        status.problems.append(f"The worker was last heard {status.worker_age_s:.0f} s ago.")
    ((status.events_visible,),) = await health.clickhouse.rows(
        f"SELECT count() FROM `{health.clickhouse.database}`.events"
    )
    definitions = await read_definitions(health.clickhouse, health.source)
    status.read_models = {each.name: each.state for each in definitions.values() if each.state != DROPPED}
    failed = [name for name, state in status.read_models.items() if state == FAILED]
    status.problems += [f"The read model {name} has failed; see `headrace sql 'DESCRIBE {name}'`." for name in failed]
    for table in (await read_mirrors(health.clickhouse, health.source)).values():
        if table.in_service:
            status.tables[table.full_name] = table.state
            if table.state == QUARANTINED:
                status.problems.append(f"The mirrored table {table.full_name} is quarantined: {table.problem}")
    status.dead_letters = await count_waiting(health.clickhouse, health.source)
    return watermark.position
