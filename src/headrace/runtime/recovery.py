"""Recovery: go on with a new slot when the old one, or its server, is gone; nothing may be lost, nothing may be twice.

What was committed between the old slot and a new one is in no log, and on another server the log may tell another
story. So everything is loaded again: mirrored tables are copied beside their rows, which stay readable until then, and
events come from their table below the new slot's snapshot (decision 6). Here all of it is only asked for, in an order
in which a cut leaves a worker that refuses to start. The next worker does it, as it does after any crash.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from headrace.capture.connection import SlotAddress
from headrace.capture.slot import check_numbers
from headrace.capture.slot_removal import drop_slot, refuse_slot
from headrace.capture.source_tables import find_tables
from headrace.errors import InvalidConfiguration
from headrace.read_models.deploy import Deployer
from headrace.read_models.model import ReadModels
from headrace.runtime.databases import Addresses
from headrace.runtime.project import Project
from headrace.runtime.worker import migrate_store
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.mirrors import COPYING, PAUSED, StoredMirror, read_mirrors, write_mirror
from headrace.warehouse.schema import create_schema, forget_position


@dataclass(frozen=True, slots=True)
class Recovery:
    """What the next worker copies again: `tables`, each schema.table; `events` in the event store are loaded anew."""

    tables: list[str]


async def recover(project: Project, addresses: Addresses) -> Recovery:
    """Drop the slot, and let the next worker make another and load everything again. Repeating it begins anew.

    Raises AlreadyRunning while a worker reads the slot, or when one started meanwhile; InvalidConfiguration, Corrupt
    when the event store was restored from another server and its transaction numbers are not this server's;
    Unavailable.
    """
    settings, url = project.settings, addresses.postgres_url
    address = SlotAddress(url, settings.slot, settings.slot)
    await migrate_store(url)  # on another server perhaps nobody did
    await check_numbers(url)
    await drop_slot(address)
    clickhouse = await ClickHouse.connect(addresses.clickhouse_url, database=settings.database)
    try:
        await create_schema(clickhouse)
        tables = await _ask_for_copies(clickhouse, settings.project, url)
        deployer = Deployer(
            clickhouse=clickhouse,
            source=settings.project,
            models=ReadModels(),
            event_types=project.domain.events.by_name(),
        )
        await deployer.refill(project.domain.events.by_name())
        await forget_position(clickhouse, settings.project)
    finally:
        await clickhouse.close()
    # A worker that started meanwhile made a slot first, and may know the tables as they were before.
    await refuse_slot(address)
    return Recovery(tables)


async def _ask_for_copies(clickhouse: ClickHouse, source: str, url: str) -> list[str]:
    """Every table that is mirrored is to be copied beside what is there; a paused one when it goes on."""
    mirrors = [each for each in (await read_mirrors(clickhouse, source)).values() if each.in_service]
    oids = await _oids(url, mirrors)
    for each in mirrors:
        state = each.state if each.state == PAUSED else COPYING
        oid = oids.get(each.full_name, each.oid)
        await write_mirror(clickhouse, source, replace(each, state=state, oid=oid, floor_lsn=0, problem=""))
    return [each.full_name for each in mirrors]


async def _oids(url: str, mirrors: list[StoredMirror]) -> Mapping[str, int]:
    """PostgreSQL's numbers of the tables now: on another server they are not those that were known."""
    found: dict[str, int] = {}
    for each in mirrors:
        try:
            found |= {table.full_name: table.oid for table in await find_tables(url, [each.full_name])}
        except InvalidConfiguration:  # dropped, or renamed: whoever copies it finds out
            continue
    return found
