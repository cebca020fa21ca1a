"""`headrace doctor`: what a start needs, checked one by one, each with what to do."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path

import typer
from rich.markup import escape

from headrace.capture.server import check_server
from headrace.cli.output import AsJson, Folder, load_settings, note, print_json, run
from headrace.dashboards.definition import check_columns
from headrace.errors import Error, Unavailable
from headrace.event_store.connection import connect
from headrace.queries.execute import Executor
from headrace.runtime.databases import Addresses, Databases, open_databases
from headrace.runtime.health import WORKER_SILENT_MAX_S
from headrace.runtime.listener import listen
from headrace.runtime.project import Project
from headrace.settings import Settings
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.watermark import NOTHING, WatermarkReader, read_watermark

DISK_FREE_MIN_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Finding:
    """One check. `detail` is what was found; `hint` what to do when it is not `ok`."""

    check: str
    ok: bool
    detail: str
    hint: str = ""


def doctor(project: Folder = Path(), as_json: AsJson = False) -> None:
    """Check the project, this machine and both databases. Exit code 1 when something is wrong."""
    findings = run(_examine(load_settings(project)))
    if as_json:
        print_json([{"check": f.check, "ok": f.ok, "detail": f.detail, "hint": f.hint} for f in findings])
    for finding in findings if not as_json else []:
        note(f"{'[green]ok[/]  ' if finding.ok else '[red]bad[/] '} {finding.check:<12} {escape(finding.detail)}")
        if not finding.ok and finding.hint:
            note(f"                  → {escape(finding.hint)}")
    raise typer.Exit(0 if all(finding.ok for finding in findings) else 1)


async def _examine(settings: Settings) -> list[Finding]:
    findings = [_versions(), _disk(settings), await _check("project", partial(_project, settings))]
    try:
        async with open_databases(settings) as databases:
            findings += await _examine_databases(settings, databases)
    except Error as error:
        findings.append(Finding("databases", False, f"{error.message} {error.detail}", error.hint))
    return findings


async def _examine_databases(settings: Settings, databases: Databases) -> list[Finding]:
    addresses = databases.addresses
    findings = [
        await _check("postgres", partial(_postgres, addresses)),
        await _check("clickhouse", partial(_clickhouse, settings, addresses)),
        await _check("dashboards", partial(_dashboards, settings, addresses)),
    ]
    if databases.owned:
        findings.append(await _check("capture", partial(_capture, settings, addresses)))
        findings.append(await _check("http port", partial(_port, settings)))
    else:
        findings.append(await _check("worker", partial(_worker, settings, addresses)))
    return findings


async def _check(name: str, look: Callable[[], Awaitable[str]]) -> Finding:
    try:
        return Finding(name, True, await look())
    except Error as error:
        return Finding(name, False, f"{error.message} {error.detail}".strip(), error.hint)


def _versions() -> Finding:
    python = platform.python_version()
    return Finding("versions", sys.version_info >= (3, 11), f"headrace {version('headrace')}, Python {python}")


def _disk(settings: Settings) -> Finding:
    free = shutil.disk_usage(settings.root).free
    return Finding(
        "disk", free >= DISK_FREE_MIN_BYTES, f"{free / 1e9:.1f} GB free at {settings.root}", "Make room: 1 GB at least."
    )


async def _project(settings: Settings) -> str:
    project = Project.load(settings)
    return f"{settings.project}: {len(project.domain.commands)} commands, {len(project.catalog)} queries"


async def _postgres(addresses: Addresses) -> str:
    connection = await connect(addresses.postgres_url)
    try:
        return f"PostgreSQL {connection.info.server_version // 10_000} answers"
    finally:
        await connection.close()


async def _clickhouse(settings: Settings, addresses: Addresses) -> str:
    clickhouse = await ClickHouse.connect(addresses.clickhouse_url, database=settings.database)
    try:
        ((found,),) = await clickhouse.rows("SELECT version()")
        return f"ClickHouse {found} answers"
    finally:
        await clickhouse.close()


async def _dashboards(settings: Settings, addresses: Addresses) -> str:
    project = Project.load(settings)
    clickhouse = await ClickHouse.connect(addresses.clickhouse_url, database=settings.database)
    try:
        watermarks = WatermarkReader(clickhouse=clickhouse, source=settings.project)
        executor = Executor(clickhouse=clickhouse, watermarks=watermarks, limits=settings.query)
        await check_columns(project.dashboards, project.catalog, executor)
    finally:
        await clickhouse.close()
    return f"{len(project.dashboards)} pages name columns that their queries have"


async def _capture(settings: Settings, addresses: Addresses) -> str:
    await check_server(addresses.postgres_url)
    return f"logical replication works; slot {settings.slot}"


async def _worker(settings: Settings, addresses: Addresses) -> str:
    clickhouse = await ClickHouse.connect(addresses.clickhouse_url, database=settings.database)
    try:
        watermark = await read_watermark(clickhouse, settings.project)
    finally:
        await clickhouse.close()
    if watermark is NOTHING:
        return "has loaded nothing yet"
    silent_s = (datetime.now(UTC) - watermark.written_at).total_seconds()
    if silent_s > WORKER_SILENT_MAX_S:
        raise Unavailable(f"The worker was last heard {silent_s:.0f} s ago.", hint="Start `headrace worker`.")
    return f"at {watermark.position}, last heard {watermark.written_at:%H:%M:%S} UTC"


async def _port(settings: Settings) -> str:
    listen(settings.http.host, settings.http.port).close()
    return f"{settings.http.host}:{settings.http.port} is free"
