"""`headrace mirror status`, and following a copy until its tables are ready."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from rich.markup import escape

from headrace.capture.source_tables import find_tables
from headrace.cli.connections import open_clickhouse_at
from headrace.cli.output import AsJson, Folder, load_settings, note, print_facts, print_json, print_rows, progress, run
from headrace.errors import Conflict, InvalidConfiguration
from headrace.mirror.obstacles import find_obstacles
from headrace.mirror.survey import CopyProgress, Survey, TableSurvey, survey
from headrace.runtime.databases import open_databases
from headrace.settings import Settings
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.mirrors import COPYING, QUARANTINED

_LOOK_EVERY_S: Final = 0.5


def status(project: Folder = Path(), as_json: AsJson = False) -> None:
    """Show every mirrored table and the replication slot; tables that are named and cannot be mirrored, and why."""
    settings = load_settings(project)
    found, obstacles = run(_status(settings))
    if as_json:
        print_json(
            {
                "tables": [_facts_of(each) for each in found.tables],
                "slot": _slot(found, settings),
                "obstacles": obstacles,
            }
        )
        return
    _print_tables(found.tables)
    for each in found.tables:
        if each.copy:
            note(f"{escape(each.stored.full_name)} is being copied: {_describe(each.copy)}.")
    print_facts({name.replace("_", " "): value for name, value in _slot(found, settings).items()}, as_json=False)
    for obstacle in obstacles:
        note(escape(f"{obstacle['table']} is not mirrored: {obstacle['reason']} {obstacle['hint']}"))


async def follow(clickhouse: ClickHouse, source: str, url: str, slot: str, tables: Sequence[str]) -> None:
    """Show the copies of `tables` (schema.table) until each is ready. Raises Conflict when one is quarantined."""
    with progress() as bars:
        tasks = {name: bars.add_task(name, total=None, rate="") for name in tables}
        left = set(tables)
        while left:
            found = {each.stored.full_name: each for each in (await survey(clickhouse, source, url, slot)).tables}
            for name in sorted(left):
                each = found.get(name)
                if each is None or each.stored.state == QUARANTINED:
                    raise Conflict(f"{name} was not copied.", each.stored.problem if each else "It was removed.")
                if each.copy:
                    bars.update(
                        tasks[name],
                        completed=each.copy.bytes,
                        total=each.copy.bytes_total,
                        rate=_describe(each.copy),
                    )
                if each.stored.state != COPYING:
                    left.discard(name)
            await asyncio.sleep(_LOOK_EVERY_S if left else 0)
    for name in tables:
        note(f"{name} is ready.")


async def _status(settings: Settings) -> tuple[Survey, list[dict[str, str]]]:
    async with open_databases(settings) as databases:
        url = databases.addresses.postgres_url
        clickhouse = await open_clickhouse_at(databases.addresses.clickhouse_url, settings)
        try:
            found = await survey(clickhouse, settings.project, url, settings.slot)
        finally:
            await clickhouse.close()
        return found, await _obstacles(url, settings)


async def _obstacles(url: str, settings: Settings) -> list[dict[str, str]]:
    try:
        named = await find_tables(url, settings.mirror.tables)
    except InvalidConfiguration as error:
        return [{"table": ", ".join(settings.mirror.tables), "reason": error.message, "hint": error.hint}]
    found = await find_obstacles(url, named, settings.slot, settings.mirror.table)
    return [{"table": each.name, "reason": each.reason, "hint": each.hint} for each in found]


def _facts_of(each: TableSurvey) -> dict[str, Any]:
    copy, verified = each.copy, each.verified
    return {
        "table": each.stored.full_name,
        "name": each.stored.name,
        "state": each.stored.state,
        "problem": each.stored.problem,
        "rows": each.rows,
        "waiting": each.waiting,
        "lag_bytes": each.lag.bytes,
        "lag_s": each.lag.s,
        "copy": copy
        and {
            "rows": copy.rows,
            "bytes": copy.bytes,
            "bytes_total": copy.bytes_total,
            "fraction": copy.fraction,
            "bytes_per_s": copy.bytes_per_s,
            "left_s": copy.left_s,
        },
        "verified": verified and {"state": verified.state, "at": verified.written_at, "rows": verified.rows},
    }


def _print_tables(tables: Sequence[TableSurvey]) -> None:
    header = ["table", "in ClickHouse", "state", "rows", "waiting", "lag, bytes", "lag, s", "verified", "problem"]
    rows = []
    for each in tables:
        stored, verified = each.stored, each.verified
        at = f"{verified.state}, {verified.written_at:%Y-%m-%d %H:%M}" if verified and verified.written_at else ""
        lag = (each.lag.bytes, each.lag.s)
        rows.append([stored.full_name, stored.name, stored.state, each.rows, each.waiting, *lag, at, stored.problem])
    print_rows(header, rows, as_json=False)


def _slot(found: Survey, settings: Settings) -> dict[str, Any]:
    """The slot, and the limits that are set for it."""
    health = found.slot
    return {
        "slot": settings.slot,
        "wal_status": health.wal_status if health else "there is no such slot",
        "kept_bytes": health and health.kept_bytes,
        "unconfirmed_bytes": health and health.unconfirmed_bytes,
        "safe_wal_bytes": health and health.safe_wal_bytes,
        "kept_bytes_max": health and health.kept_bytes_max,
        "warn_bytes": settings.mirror.slot_warn_bytes,
        "drop_bytes": settings.mirror.slot_drop_bytes,
        "lag_bytes": found.lag.bytes,
        "lag_s": found.lag.s,
        "worker_heard_s": found.heard_s,
    }


def _describe(copy: CopyProgress) -> str:
    parts = [f"{copy.rows:,} rows", f"{copy.bytes / 1e6:,.1f} MB", f"{copy.fraction:.0%}"]
    if copy.bytes_per_s is not None:
        parts.append(f"{copy.bytes_per_s / 1e6:,.1f} MB/s")
    if copy.left_s is not None:
        parts.append(f"{timedelta(seconds=round(copy.left_s))} left")
    return ", ".join(parts)
