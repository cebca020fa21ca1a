"""How the system is, asked of both databases: positions, lag, read models, reactors, dead letters."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from headrace.errors import Error
from headrace.event_store.event_store import EventStore
from headrace.events.position import Position
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.dead_letters import count_waiting
from headrace.warehouse.definitions import DROPPED, FAILED, read_definitions
from headrace.warehouse.watermark import NOTHING, read_watermark

# A worker vouches every second, also when there is nothing to do; this much later it is missed.
WORKER_SILENT_MAX_S = 10.0


@dataclass(frozen=True, slots=True)
class Health:
    """What is asked. Both stores may be away: that is a finding, not a failure."""

    store: EventStore
    clickhouse: ClickHouse
    source: str


@dataclass(slots=True)
class Status:
    """What was found. `lag_bytes` is log that is committed and not in the read models yet."""

    events_visible: int | None = None
    position: str = ""
    watermark: str = ""
    lag_bytes: int | None = None
    worker_age_s: float | None = None
    batch: int | None = None
    read_models: dict[str, str] = field(default_factory=dict)
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
    except Error as error:
        status.problems.append(error.message)
    try:
        watermark = await _read_side(health, status)
    except Error as error:
        status.problems.append(error.message)
    if position is not None and watermark is not None:
        status.lag_bytes = max(0, position.lsn - watermark.lsn)
    return status


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
    status.dead_letters = await count_waiting(health.clickhouse, health.source)
    return watermark.position
