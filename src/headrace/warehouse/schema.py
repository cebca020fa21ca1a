"""The tables that Headrace itself needs in ClickHouse; one CREATE per file in `sql/`."""

from __future__ import annotations

from importlib import resources

from headrace.warehouse.client import ClickHouse

SYSTEM_DATABASE = "headrace"
_NEXT_BATCH = """
INSERT INTO headrace.batches (source, batch)
SELECT {source:String}, 2 + greatest(
    (SELECT max(batch) FROM headrace.batches WHERE source = {source:String}),
    (SELECT max(batch) FROM headrace.watermarks WHERE source = {source:String})
)
"""
_AT_START = """
INSERT INTO headrace.watermarks (source, batch)
SELECT source, max(batch) FROM headrace.batches WHERE source = {source:String} GROUP BY source
"""
_STATEMENTS = (
    "create_batches",
    "create_watermarks",
    "create_origins",
    "create_dead_letters",
    "create_definitions",
    "create_events",
    "create_mirrors",
    "create_mirror_ranges",
    "create_mirror_requests",
    "create_mirror_verifications",
    "create_mirror_differences",
)


async def create_schema(clickhouse: ClickHouse) -> None:
    """Make what is missing. Safe to repeat, and to run from several processes at once."""
    await clickhouse.execute(f"CREATE DATABASE IF NOT EXISTS {SYSTEM_DATABASE}")
    folder = resources.files(__package__) / "sql"
    for name in _STATEMENTS:
        await clickhouse.execute((folder / f"{name}.sql").read_text(), {"database": clickhouse.database})


async def forget_position(clickhouse: ClickHouse, source: str) -> None:
    """Let the next worker load everything again beside what is there: the event log is empty afterwards, the watermark
    at the start. Repeating it does the same.

    Batches go on being numbered: change streams hold those that were, and none may come again. So a plan with the next
    number stands in for them while there is no watermark: a worker that sees it alone refuses to start.
    """
    await clickhouse.execute(_NEXT_BATCH, {"source": source})
    # Made anew, not emptied: with the tokens of its inserts, a page of events that comes again would be left out.
    await clickhouse.execute(f"DROP TABLE IF EXISTS `{clickhouse.database}`.events SYNC")
    await create_schema(clickhouse)
    for table in ("dead_letters", "origins", "watermarks"):
        await clickhouse.execute(
            f"DELETE FROM {SYSTEM_DATABASE}.{table} WHERE source = {{source:String}}", {"source": source}
        )
    await clickhouse.execute(_AT_START, {"source": source})


async def forget_source(clickhouse: ClickHouse, source: str) -> None:
    """Drop everything that was loaded for `source`: its database, and its rows in the tables above. Safe to repeat."""
    # The watermark goes after the data: cut off in between, a worker refuses to start instead of loading twice.
    await clickhouse.execute(f"DROP TABLE IF EXISTS `{clickhouse.database}`.events SYNC")
    for table in (
        "definitions",
        "mirrors",
        "mirror_ranges",
        "mirror_requests",
        "mirror_verifications",
        "mirror_differences",
        "dead_letters",
        "batches",
        "origins",
        "watermarks",
    ):
        await clickhouse.execute(
            f"DELETE FROM {SYSTEM_DATABASE}.{table} WHERE source = {{source:String}}", {"source": source}
        )
    # Last, because every statement of this client names it as the default.
    await clickhouse.execute(f"DROP DATABASE IF EXISTS `{clickhouse.database}` SYNC")
