"""A mirrored table made by hand: copied once, with a watermark that is always far enough, and no worker beside it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import psycopg

from headrace.capture.source_tables import find_tables
from headrace.capture.table_copy import copy_range
from headrace.events.position import Position
from headrace.mirror.column_type import SETTINGS
from headrace.mirror.shape import shape_of
from headrace.mirror.staged import quoted
from headrace.mirror.table import Table
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.mirrors import READY, StoredMirror
from headrace.warehouse.schema import create_schema
from headrace.warehouse.watermark import write_watermark

FLOOR_LSN = 1000
FAR = Position(1 << 62)


async def make_mirror(clickhouse: ClickHouse, url: str, name: str) -> Table:
    """The mirror of public.`name` as it is now. The source is called like the ClickHouse database."""
    await create_schema(clickhouse)
    source = clickhouse.database
    (described,) = await find_tables(url, [f"public.{name}"])
    shape = shape_of(described, {})
    stored = StoredMirror(
        name, "public", name, described.oid, READY, shape.to_json(), floor_lsn=FLOOR_LSN, stem=f"{name}_{described.oid}"
    )
    table = Table(clickhouse=clickhouse, source=source, stored=stored)
    await table.save()
    await table.make()
    for leaf in described.leaves:
        chunks = copy_range(url, leaf, [column.name for column in shape.columns], 0, None)
        await clickhouse.insert_select(table.objects.copy(FLOOR_LSN), chunks, settings=SETTINGS)
    if not shape.key:
        await table.finish_copy("")
    await table.publish()
    await write_watermark(clickhouse, source, batch=1, position=FAR, committed_at=datetime.now(UTC))
    return table


async def plant(clickhouse: ClickHouse, table: Table, where: str, changes: str = "", *, deleted: bool = False) -> None:
    """Spoil the rows that meet a condition: with other values, `SQL AS column, …`, or by leaving them out.

    Their version stays as low as that of a change that is long applied.
    """
    objects = table.objects
    # Chosen first, changed then: a condition must not see the new values.
    chosen = f"(SELECT * FROM {objects.rows} FINAL WHERE {where})"
    replaced = f"* REPLACE ({changes})" if changes else "*"
    names = ", ".join(quoted(column.name) for column in objects.shape.columns)
    await clickhouse.execute(
        f"INSERT INTO {objects.rows} ({names}, _version, _is_deleted) "
        f"SELECT {names}, _version + 1, {int(deleted)} FROM (SELECT {replaced} FROM {chosen})"
    )


async def run_sql(url: str, *statements: str) -> list[tuple[Any, ...]]:
    """Run statements, each by itself; the rows of the last one."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        for statement in statements:
            cursor = await connection.execute(statement.encode())
        return await cursor.fetchall() if cursor.description else []


def paused(stored: StoredMirror) -> StoredMirror:
    """The same table while it is not ready."""
    return replace(stored, state="paused")
