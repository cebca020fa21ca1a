"""The tables that Headrace itself needs in ClickHouse; one CREATE per file in `sql/`."""

from __future__ import annotations

from importlib import resources

from headrace.warehouse.client import ClickHouse

SYSTEM_DATABASE = "headrace"
_STATEMENTS = (
    "create_batches",
    "create_watermarks",
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
        "watermarks",
    ):
        await clickhouse.execute(
            f"DELETE FROM {SYSTEM_DATABASE}.{table} WHERE source = {{source:String}}", {"source": source}
        )
    # Last, because every statement of this client names it as the default.
    await clickhouse.execute(f"DROP DATABASE IF EXISTS `{clickhouse.database}` SYNC")
