"""Which tables are in the log for us: the publication, and a second one for tables without a key.

PostgreSQL refuses an application's UPDATE of a table without a replica identity once a publication publishes updates
of it. A table that is only ever appended to is therefore published by a publication that publishes none, so that
mirroring it can break nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

import psycopg
from psycopg import sql

from headrace.capture.server import Connection, connect, read_row, read_sql
from headrace.capture.stream_floor import wait_for_writers
from headrace.errors import InvalidConfiguration
from headrace.events.position import Position
from headrace.telemetry import logger

log = logger(__name__)

_STORED_SINCE = 180_000  # the version from which on a publication can have generated columns
_READABLE = re.compile(r"headrace: readable from (\S+)")
ALL = "insert, update, delete, truncate"
APPENDS = "insert, truncate"


def appends_publication(publication: str) -> str:
    """What the publication for tables that are only appended to is called."""
    return f"{publication}_appends"


async def publish(url: str, publication: str, oids: Collection[int], *, appends: bool = False) -> None:
    """Add these tables to the publication, which is made if it is missing; a repeat changes nothing.

    `appends`: to the one for tables that are only appended to; that one must be read too, see `appends_begin`.
    The first such call waits for all transactions that write. Takes a weak lock of each table, which waits for VACUUM
    and for changes of its schema, not for readers and writers. Raises InvalidConfiguration when the role may not, or
    the publication does not publish what it should; Unavailable.
    """
    name, operations = (appends_publication(publication), APPENDS) if appends else (publication, ALL)
    async with connect(url) as connection:
        await _prepare(connection, name, operations, note_begin=appends)
        rows = await (
            await connection.execute(read_sql("read_unpublished"), {"oids": list(oids), "publication": name})
        ).fetchall()
        for row in rows:
            table = sql.Identifier(row["schema"], row["name"])
            try:
                await connection.execute(
                    sql.SQL("ALTER PUBLICATION {} ADD TABLE {}").format(sql.Identifier(name), table)
                )
            except psycopg.errors.DuplicateObject:  # another process was faster
                continue
            log.info("table_published", publication=name, table=f"{row['schema']}.{row['name']}")


async def unpublish(url: str, publication: str, oids: Collection[int]) -> None:
    """Take these tables out of both publications; those that are in neither, or do not exist any more, change nothing.

    Raises InvalidConfiguration when the role may not; Unavailable.
    """
    names = [publication, appends_publication(publication)]
    async with connect(url) as connection:
        cursor = await connection.execute(read_sql("read_published"), {"oids": list(oids), "publications": names})
        for row in await cursor.fetchall():
            table = sql.Identifier(row["schema"], row["name"])
            statement = sql.SQL("ALTER PUBLICATION {} DROP TABLE {}")
            try:
                await connection.execute(statement.format(sql.Identifier(row["publication"]), table))
            except psycopg.errors.UndefinedObject:  # another process was faster
                continue
            log.info("table_unpublished", publication=row["publication"], table=f"{row['schema']}.{row['name']}")


async def appends_begin(url: str, publication: str) -> int | None:
    """From where on in the log the publication for appended tables can be read; None: it is not made.

    PostgreSQL looks a publication up as it was when a change was made, and finds none before that place. Raises
    Unavailable.
    """
    async with connect(url) as connection:
        row = await _read(connection, appends_publication(publication))
    note = _READABLE.fullmatch(row["comment"] or "") if row else None
    return Position.parse(note[1]).lsn if note else None


async def published(url: str, publication: str, oids: Collection[int]) -> set[int]:
    """Those of the tables that are in one of the two publications by name. Raises Unavailable."""
    names = [publication, appends_publication(publication)]
    async with connect(url) as connection:
        cursor = await connection.execute(read_sql("read_published"), {"oids": list(oids), "publications": names})
        return {row["oid"] for row in await cursor.fetchall()}


async def _prepare(connection: Connection, name: str, operations: str, *, note_begin: bool) -> None:
    row = await _read(connection, name)
    if row is None:
        await _create(connection, name, operations)
        row = await _read(connection, name)
    assert row is not None
    if set(row["operations"]) != set(operations.split(", ")) or not row["via_root"]:
        raise InvalidConfiguration(
            f"The publication {name!r} does not publish what it should.",
            f"It publishes {', '.join(row['operations'])}; publish_via_partition_root = {row['via_root']}.",
            f"Run ALTER PUBLICATION {name} SET (publish = '{operations}', publish_via_partition_root = true);",
        )
    if row["generated"] == "n":
        await connection.execute(
            sql.SQL("ALTER PUBLICATION {} SET (publish_generated_columns = stored)").format(sql.Identifier(name))
        )
    if note_begin and not _READABLE.fullmatch(row["comment"] or ""):
        # The log is read with the catalog as it was at each change, and a transaction that is open now may have made
        # changes before there was the publication. When those have ended, all commits from here on are of later ones.
        # A maker that is killed before it comes here leaves this to the next.
        await wait_for_writers(connection)
        end = Position((await read_row(connection, "read_log_end"))["end_lsn"])
        comment = sql.SQL("COMMENT ON PUBLICATION {} IS {}")
        await connection.execute(comment.format(sql.Identifier(name), sql.Literal(f"headrace: readable from {end}")))


async def _create(connection: Connection, name: str, operations: str) -> None:
    generated = ", publish_generated_columns = stored" if connection.info.server_version >= _STORED_SINCE else ""
    statement = f"CREATE PUBLICATION {{}} WITH (publish = '{operations}', publish_via_partition_root = true{generated})"
    try:
        await connection.execute(sql.SQL(statement).format(sql.Identifier(name)))
    except psycopg.errors.DuplicateObject:  # another process was faster
        return
    log.info("publication_created", publication=name)


async def _read(connection: Connection, name: str) -> dict[str, Any] | None:
    return await (await connection.execute(read_sql("read_operations"), {"publication": name})).fetchone()
