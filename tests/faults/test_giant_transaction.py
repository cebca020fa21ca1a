"""One transaction much larger than the memory for capture: loaded in pieces, also when the worker dies in between."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from support.fault_domain import Deposited
from support.fault_load import Acknowledged
from support.fault_proof import assert_whole, wait_for_batches, wait_until_ready
from support.fault_system import TIMEOUT_S, Process, System, running_system
from support.waiting import ROUNDS

from headrace.event_store.append import Appended
from headrace.event_store.event_store import EventStore

EVENTS = 200_000
LIMITS = {"HEADRACE_CAPTURE__BATCH_ROWS_MAX": "5000", "HEADRACE_CAPTURE__BUFFER_BYTES_MAX": str(4 << 20)}
GROWTH_BYTES_MAX = 300 << 20


@pytest.mark.timeout(TIMEOUT_S)
async def test_giant_transaction_is_loaded_once_in_bounded_memory() -> None:
    acknowledged = Acknowledged()
    async with running_system(**LIMITS) as system:
        clickhouse = await system.connect()
        worker = await system.worker()
        async with EventStore(system.postgres.url) as store:
            first = [Deposited(account="a", amount=20, note="small")]
            acknowledged.add(await store.append("account-a", first), first)
            await wait_until_ready(system, clickhouse)
            before_bytes = _peak_bytes(worker)
            await _append_at_once(system, store, acknowledged)
        for _ in range(ROUNDS):
            watermark = await wait_for_batches(system, clickhouse, 1)
            assert watermark.position < acknowledged.position, "it is loaded in pieces"
            await worker.kill()
            worker = await system.worker()
        await assert_whole(system, acknowledged)
        assert _peak_bytes(worker) - before_bytes < GROWTH_BYTES_MAX


async def _append_at_once(system: System, store: EventStore, acknowledged: Acknowledged) -> None:
    """As one transaction, which the event store itself would not make."""
    async with await psycopg.AsyncConnection.connect(system.postgres.url) as connection:
        await connection.execute(
            "INSERT INTO headrace.events (stream, version, type, schema_version, data, metadata) "
            "SELECT 'account-b', n, 'Deposited', 1, "
            "jsonb_build_object('account', 'b', 'amount', n %% 1000, 'note', 'n' || n %% 7), '{}' "
            "FROM generate_series(1, %s::int) n",
            (EVENTS,),
        )
    events = [Deposited(account="b", amount=n % 1000, note=f"n{n % 7}") for n in range(1, EVENTS + 1)]
    types = tuple("Deposited" for _ in events)
    acknowledged.add(Appended("account-b", EVENTS, 1, await store.read_position(), types), events)


def _peak_bytes(process: Process) -> int:
    """The most memory that the process has held."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    (peak_kib,) = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    return peak_kib << 10
