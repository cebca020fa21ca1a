"""The domain gets a new version over a loaded event log, and the worker is killed at every step of the rewrite."""

from __future__ import annotations

import signal

import msgspec
import pytest
from support.fault_load import Acknowledged, append_many
from support.fault_proof import assert_read_models_equal_their_definitions, read_stored, wait_until_ready
from support.fault_system import TIMEOUT_S, running_system
from support.waiting import DEADLINE_S

from headrace.warehouse.dead_letters import read_dead_letters
from headrace.warehouse.watermark import WatermarkReader

STEPS = ("log_copied_to", "log_copied", "read_models_marked", "log_exchanged", "watermark_written")
EVENTS = 20_000
IN_CENTS = """
from headrace import upcaster


@upcaster(Deposited, 1)
def to_cents(data: dict) -> dict:
    return {**data, "amount": data["amount"] * 100}
"""


@pytest.mark.timeout(TIMEOUT_S)
async def test_the_event_log_is_rewritten_once_whatever_step_the_worker_dies_at() -> None:
    acknowledged = Acknowledged()
    async with running_system() as system:
        clickhouse = await system.connect()
        await append_many(system, acknowledged, EVENTS)
        worker = await system.worker()
        reader = WatermarkReader(clickhouse=clickhouse, source=system.settings.project)
        await reader.wait_for(acknowledged.position, timeout_s=DEADLINE_S)
        await wait_until_ready(system, clickhouse)
        await worker.stop()

        domain = system.root / "domain.py"
        domain.write_text(domain.read_text().replace("Deposited(Event)", "Deposited(Event, version=2)") + IN_CENTS)
        await append_many(system, acknowledged, 1000)  # of version 1, by a process that has the domain of before
        for step in STEPS:
            dying = await system.dying_worker(step, 1)
            assert await dying.wait() == -signal.SIGKILL, dying.log.read_text()[-4000:]

        await system.worker()
        await reader.wait_for(acknowledged.position, timeout_s=DEADLINE_S)
        await wait_until_ready(system, clickhouse)
        loaded = await clickhouse.rows(
            f"SELECT stream, version, type, schema_version, JSONExtractInt(data, 'amount') "
            f"FROM `{clickhouse.database}`.events ORDER BY stream, version"
        )
        assert [tuple(row) for row in loaded] == [
            (stream, version, kind, 2, msgspec.json.decode(data)["amount"] * 100)
            for stream, version, kind, _, data, *_ in await read_stored(system)
        ]
        assert not await read_dead_letters(clickhouse, system.settings.project)
        await assert_read_models_equal_their_definitions(system, clickhouse)
