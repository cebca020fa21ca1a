"""The event log in ClickHouse: rows go in once, whatever is killed in between."""

from __future__ import annotations

from uuid import uuid4

import pyarrow as pa

from headrace.errors import InvalidConfiguration
from headrace.warehouse.client import DURABLE, ClickHouse
from headrace.warehouse.plan import Plan

TARGET = "events"
SCHEMA = pa.schema(
    [
        ("stream", pa.string()),
        ("version", pa.uint64()),
        ("type", pa.string()),
        ("schema_version", pa.uint32()),
        ("data", pa.string()),
        ("metadata", pa.string()),
        ("recorded_at", pa.timestamp("us", "UTC")),
        ("_lsn", pa.uint64()),
        ("_ordinal", pa.uint32()),
    ]
)


def log_rows(plan: Plan, events: pa.Table) -> pa.Table:
    """The captured events as rows of the log, each with the number of its batch. Raises InvalidConfiguration."""
    absent = [name for name in SCHEMA.names if name not in events.column_names]
    if absent:
        raise InvalidConfiguration(
            "PostgreSQL's headrace.events lacks columns that the event log needs.",
            f"Missing: {', '.join(absent)}.",
            "Run a newer `headrace` against it: the event store's migrations add them.",
        )
    rows = events.select(SCHEMA.names).cast(SCHEMA)
    return rows.append_column("_batch", pa.repeat(pa.scalar(plan.batch, pa.uint64()), rows.num_rows))


async def insert_events(clickhouse: ClickHouse, plan: Plan, rows: pa.Table, *, verify: bool) -> None:
    """Add the batch's rows to the log as one insert.

    A repeat against a live server adds nothing, thanks to the token. `verify` is for repeats after a crash, when
    tokens prove nothing: only events that the log does not hold yet are inserted, under a token of its own, since the
    first attempt may have left its token behind and not all of its rows.
    """
    if verify:
        rows = await _missing(clickhouse, plan, rows)
    if rows.num_rows == 0:
        return
    attempt = uuid4()
    token = f"{plan.token(TARGET)}:{attempt}" if verify else plan.token(TARGET)
    await clickhouse.insert_arrow(
        f"`{clickhouse.database}`.{TARGET}",
        rows,
        settings={**DURABLE, "insert_deduplication_token": token},
        query_id=f"headrace:{plan.source}:{TARGET}:{plan.batch}:{attempt}",
    )


async def _missing(clickhouse: ClickHouse, plan: Plan, rows: pa.Table) -> pa.Table:
    """The rows whose position this batch has not brought yet."""
    sql = f"SELECT _lsn, _ordinal FROM `{clickhouse.database}`.{TARGET} WHERE _batch = {{batch:UInt64}}"
    held = pa.ipc.open_stream(await clickhouse.raw(sql, {"batch": plan.batch}, format="ArrowStream")).read_all()
    if held.num_rows == 0:
        return rows
    keys = ["_lsn", "_ordinal"]
    joined = rows.join(held, keys=keys, join_type="left anti")
    return joined.select(rows.column_names).sort_by([(key, "ascending") for key in keys])
