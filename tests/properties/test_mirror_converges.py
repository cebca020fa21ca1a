"""Whatever an application does to its tables, their mirrors are equal to them, and the change streams add up."""

from __future__ import annotations

from random import Random

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from support.mirror_load import Writer, create_tables
from support.mirror_side import mirror_side
from support.mirror_workload import Workload, draw_tables

from headrace.embedded.clickhouse.process import EmbeddedClickHouse
from headrace.embedded.postgres import EmbeddedPostgres

# An example starts a worker and waits until its tables are ready.
SETTINGS = settings(
    deadline=None,
    max_examples=2,  # tests/faults/test_mirror_converges.py has the same workloads, and kills besides
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
PARTS, PART_TRANSACTIONS = 3, 12
DRAW = st.randoms(use_true_random=False)


@SETTINGS
@given(draw=DRAW, schema_changes=st.booleans(), rows_before=st.booleans())
async def test_a_mirror_equals_its_source(
    postgres_server: EmbeddedPostgres,
    clickhouse_server: EmbeddedClickHouse,
    migrated: str,
    draw: Random,
    schema_changes: bool,
    rows_before: bool,
) -> None:
    """Compared in between too: what is compared late may have been wrong before."""
    tables = draw_tables(draw)
    names = [table.name for table in tables]
    async with mirror_side(postgres_server.url, clickhouse_server.url, migrated, names) as side:
        await create_tables(side.url, tables)
        writer = Writer(side.url)
        workload = Workload(draw, tables, schema_changes=schema_changes, big_rows=2_000)
        try:
            if rows_before:
                await writer.run(workload.transactions(PART_TRANSACTIONS))
            side.start()
            await side.mirrored.wait_until_ready()
            for _ in range(PARTS):
                await writer.run(workload.transactions(PART_TRANSACTIONS))
                await side.assert_whole(from_empty=not (schema_changes or rows_before), resync=schema_changes)
        except AssertionError:
            note("\n".join(statement + ";" for table in tables for statement in table.create()))
            note("\n".join(map(str, writer.history)))
            raise
