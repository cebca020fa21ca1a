"""The replication slot and its publication: made when missing, and refused when they cannot be what we need.

PostgreSQL keeps the log for the slot from here on, so a slot is never dropped here, except one that was made a moment
ago and turned out to be of no use. Where a new slot begins is written into the publication's comment: it is the proof,
later, that nothing was confirmed before the read models knew of it.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from headrace.capture.backlog import EVENTS_TABLE, LSN_MAX
from headrace.capture.connection import Lost, Refused, SlotAddress
from headrace.capture.new_slot import NewSlot, create_slot
from headrace.capture.server import ALREADY_THERE, Connection, check_settings, connect, read_row, read_sql
from headrace.errors import AlreadyRunning, Corrupt, Error, InvalidConfiguration, Unavailable
from headrace.events.position import START, Position
from headrace.telemetry import logger

log = logger(__name__)

_POLL_S = 0.05
_BEGINS = re.compile(r"headrace: slot (\S+) begins at (\S+) behind (\S+)")
_PLUGIN = "pgoutput"


@dataclass(frozen=True, slots=True)
class Prepared:
    """What `prepare_slot` found. `begins_at` is where the slot began; `created`: it did so just now. `snapshot` is
    PostgreSQL's text of what had been committed before.
    """

    begins_at: int
    snapshot: str
    created: bool
    wal_sender_timeout_s: float


async def prepare_slot(address: SlotAddress, *, tables: Sequence[str], takeover_s: float) -> Prepared:
    """Check the server, make publication and slot if they are missing. Safe to repeat.

    `takeover_s` is how long to wait for a slot that another connection holds: after a crash the server needs a moment
    to notice. Raises InvalidConfiguration, AlreadyRunning, Corrupt for a slot that PostgreSQL gave up, Unavailable.
    """
    async with connect(address.url) as connection:
        server = await check_settings(connection)
        comment = await _prepare_publication(connection, address, tables)
        slot = await _read_slot(connection, address)
        begin = _read_begin(address, comment)
        if slot is not None and begin is None:
            if comment != _making(address):
                raise _foreign(address)
            # Its maker was killed before it could say where it begins; nothing was read from it.
            await _wait_until_free(connection, address, takeover_s)
            await connection.execute(read_sql("drop_slot"), {"slot": address.slot})
            slot = None
        created = slot is None or begin is None
        if created:
            if EVENTS_TABLE in tables:
                await _check_numbers(connection)
            begin = await _create_slot(connection, address)
        assert begin is not None
        await _wait_until_free(connection, address, takeover_s)
        return Prepared(begin.begins_at, begin.snapshot, created, server["wal_sender_timeout_ms"] / 1000)


async def check_resume(address: SlotAddress, prepared: Prepared, after: Position) -> int:
    """Make sure that the log goes on right behind `after`; return how far the slot is confirmed. Raises Corrupt.

    PostgreSQL itself starts a slot that is ahead without a word, and the changes between are gone.
    """
    async with connect(address.url) as connection:
        slot = await _read_slot(connection, address)
        if slot is None:
            raise _missing(address)
        confirmed, current = int(slot["confirmed_lsn"]), int(slot["current_lsn"])
        # Only START and the backlog stand below a slot's begin. A place in the log does not: a slot that begins behind
        # it was made anew, also when the process that made it was killed before it could find out.
        expected = prepared.begins_at if after.lsn <= LSN_MAX else after.lsn + 1
        if prepared.created and after != START:
            await connection.execute(read_sql("drop_slot"), {"slot": address.slot})
            raise _gap(address, after, "The slot was missing, and a new one holds nothing of what was before it.")
        if confirmed > expected:
            raise _gap(address, after, f"The slot is confirmed up to {Position(confirmed)} already.")
        if after.lsn >= current:
            raise _gap(address, after, f"The log ends at {Position(current)}: was the database restored or replaced?")
        return confirmed


async def explain_refusal(address: SlotAddress, sqlstate: str, message: str) -> Error:
    """Why the server ended the stream for good, as the error that tells what to do."""
    try:
        async with connect(address.url) as connection:
            await check_settings(connection)
            slot = await _read_slot(connection, address)
            if slot is None:
                return _missing(address)
            if sqlstate == "55006":
                return in_use(address, slot["active_pid"])
            if sqlstate == "42704":
                return await _explain_publication(connection, address, message)
    except Error as error:
        return error
    return Unavailable("PostgreSQL ended the replication stream.", f"{message} (SQLSTATE {sqlstate or 'none'})")


async def _explain_publication(connection: Connection, address: SlotAddress, message: str) -> Error:
    """PostgreSQL looks a publication up as it was when the change was made, so it can exist and be missing."""
    if await _read_publication(connection, address) is None:
        return InvalidConfiguration(
            f"The publication {address.publication!r} does not exist any more.",
            message,
            "Without it the slot cannot be read: stop the worker and run `headrace recover`.",
        )
    return InvalidConfiguration(
        f"The slot {address.slot!r} is older than the publication {address.publication!r}.",
        message,
        "Stop the worker and run `headrace recover`.",
    )


async def _prepare_publication(connection: Connection, address: SlotAddress, tables: Sequence[str]) -> str | None:
    """Make the publication, or add to it what is missing; returns its comment."""
    publication = await _read_publication(connection, address)
    name = sql.Identifier(address.publication)
    if publication is None:
        statement = sql.SQL("CREATE PUBLICATION {} FOR TABLE {} WITH (publish_via_partition_root = true)")
        try:
            await connection.execute(statement.format(name, _identifiers(tables)))
            log.info("publication_created", publication=address.publication, tables=list(tables))
            return None
        except ALREADY_THERE:  # another process was faster
            publication = await _read_publication(connection, address) or {}
    if not publication["inserts"]:
        raise InvalidConfiguration(
            f"The publication {address.publication!r} leaves out inserts.",
            hint=f"Run ALTER PUBLICATION {address.publication} SET (publish = 'insert, update, delete, truncate');",
        )
    if missing := [table for table in tables if table not in publication["tables"]]:
        await connection.execute(sql.SQL("ALTER PUBLICATION {} ADD TABLE {}").format(name, _identifiers(missing)))
        log.info("publication_extended", publication=address.publication, tables=missing)
    comment: str | None = publication["comment"]
    return comment


async def check_numbers(url: str) -> None:
    """Whether a new slot could be told from the events before it. Raises Corrupt when it could not."""
    async with connect(url) as connection:
        await _check_numbers(connection)


async def _check_numbers(connection: Connection) -> None:
    """What lies before the slot is told by transaction numbers: those of another server would hide events."""
    if (await read_row(connection, "read_future"))["is_restored"]:
        raise Corrupt(
            "The event store was restored from another server: its transaction numbers are not this server's.",
            "Events that are older than the slot could not be told from later ones, and would be left out.",
            "Once, while nothing writes: ALTER TABLE headrace.events DISABLE TRIGGER append_only; "
            "UPDATE headrace.events SET transaction_id = pg_current_xact_id(); "
            "ALTER TABLE headrace.events ENABLE TRIGGER append_only;",
        )


async def _create_slot(connection: Connection, address: SlotAddress) -> NewSlot:
    """Make the slot, and write down where it begins: what lies before is read from the tables."""
    await _note(connection, address, _making(address))
    try:
        begin = await asyncio.to_thread(create_slot, address)
    except Lost as error:
        raise Unavailable("PostgreSQL cannot be reached.", str(error).strip(), "Start it, or wait.") from error
    except Refused as error:
        if error.sqlstate == "42710":
            raise AlreadyRunning(
                f"Another process made the slot {address.slot!r} at this moment.", hint="Start again."
            ) from error
        raise InvalidConfiguration(
            "PostgreSQL refuses to make a replication slot.", str(error), "Raise max_replication_slots, or drop one."
        ) from error
    place = f"begins at {Position(begin.begins_at)} behind {begin.snapshot}"
    await _note(connection, address, f"headrace: slot {address.slot} {place}")
    log.info("slot_created", slot=address.slot, begins_at=str(Position(begin.begins_at)))
    return begin


async def _note(connection: Connection, address: SlotAddress, text: str) -> None:
    """Write something down about the slot; PostgreSQL has no comments on slots, so it stands at the publication."""
    statement = sql.SQL("COMMENT ON PUBLICATION {} IS {}")
    await connection.execute(statement.format(sql.Identifier(address.publication), sql.Literal(text)))


def _making(address: SlotAddress) -> str:
    return f"headrace: making slot {address.slot}"


def _read_begin(address: SlotAddress, comment: str | None) -> NewSlot | None:
    """Where the slot began, as its maker wrote it down."""
    note = _BEGINS.fullmatch(comment or "")
    if note is None:
        return None
    if note[1] != address.slot:
        raise InvalidConfiguration(
            f"The publication {address.publication!r} belongs to the slot {note[1]!r}.",
            f"Here the slot is {address.slot!r}.",
            "Use one publication for each slot.",
        )
    return NewSlot(Position.parse(note[2]).lsn, note[3])


async def _wait_until_free(connection: Connection, address: SlotAddress, takeover_s: float) -> None:
    deadline = time.monotonic() + takeover_s
    while (slot := await _read_slot(connection, address)) and slot["active_pid"]:
        if time.monotonic() > deadline:
            raise in_use(address, slot["active_pid"])
        await asyncio.sleep(_POLL_S)


async def _read_slot(connection: Connection, address: SlotAddress) -> dict[str, Any] | None:
    """The slot, None when there is none. Raises for a slot that we cannot read from."""
    rows = await (await connection.execute(read_sql("read_slot"), {"slot": address.slot})).fetchall()
    if not rows:
        return None
    slot = rows[0]
    database = connection.info.dbname
    if slot["plugin"] != _PLUGIN or slot["database"] != database or slot["temporary"]:
        raise InvalidConfiguration(
            f"The replication slot {address.slot!r} belongs to something else.",
            f"Plugin {slot['plugin']}, database {slot['database']}; expected {_PLUGIN}, {database}.",
            "Name another slot in capture.slot.",
        )
    if slot["wal_status"] == "lost" or slot["confirmed_lsn"] is None:
        raise Corrupt(
            f"PostgreSQL gave up the replication slot {address.slot!r}: the log it needs is gone.",
            f"wal_status is {slot['wal_status']}, invalidation_reason {slot['invalidation_reason'] or 'unknown'}; see "
            "max_slot_wal_keep_size, and from PostgreSQL 18 on idle_replication_slot_timeout.",
            "Stop the worker and run `headrace recover`.",
        )
    return slot


async def _read_publication(connection: Connection, address: SlotAddress) -> dict[str, Any] | None:
    cursor = await connection.execute(read_sql("read_publication"), {"publication": address.publication})
    return await cursor.fetchone()


def _identifiers(tables: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(*table.split(".", 1)) for table in tables)


def _missing(address: SlotAddress) -> Corrupt:
    return Corrupt(
        f"The replication slot {address.slot!r} does not exist any more.",
        "What was committed since it was dropped cannot be read from the log.",
        "Stop the worker and run `headrace recover`.",
    )


def _foreign(address: SlotAddress) -> InvalidConfiguration:
    return InvalidConfiguration(
        f"There is a replication slot {address.slot!r} that Headrace did not make.",
        "Where it begins is unknown, so events could be missing; it may belong to something else.",
        f"Name another in capture.slot; or, if it is free, SELECT pg_drop_replication_slot('{address.slot}');",
    )


def in_use(address: SlotAddress, pid: int | None) -> AlreadyRunning:
    """The error for a slot that somebody else reads."""
    return AlreadyRunning(
        f"The replication slot {address.slot!r} is in use by another connection, PostgreSQL process {pid}.",
        hint="Stop the other worker; SELECT * FROM pg_stat_replication shows where it runs.",
    )


def _gap(address: SlotAddress, after: Position, detail: str) -> Corrupt:
    return Corrupt(
        f"The log does not go on where the read models stopped, at {after}.",
        f"{detail} Slot {address.slot!r}.",
        "Stop the worker and run `headrace recover`; to go on would leave changes out.",
    )
