"""Which tables are in the log for us: the publication, and a second one for tables without a key.

PostgreSQL refuses an application's UPDATE of a table without a replica identity once a publication publishes updates
of it. A table that is only ever appended to is therefore published by a publication that publishes none, so that
mirroring it can break nothing.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import psycopg
from psycopg import sql

from headrace.capture.server import ALREADY_THERE, STATEMENT_MAX_S, Connection, connect, read_row, read_sql
from headrace.capture.stream_floor import wait_for_writers
from headrace.errors import InvalidConfiguration, Unavailable
from headrace.events.position import Position
from headrace.telemetry import logger

log = logger(__name__)

_STORED_SINCE = 180_000  # the version from which on a publication can have generated columns
_READABLE = re.compile(r"headrace: readable from (\S+)")
ALL = "insert, update, delete, truncate"
APPENDS = "insert, truncate"
_WRONG_CLASSES = ("0A", "22", "42")  # not supported, not a value, not a condition: trying again changes nothing
_WRONG_PUBLICATION = "55000"  # it is for all tables


def appends_publication(publication: str) -> str:
    """What the publication for tables that are only appended to is called."""
    return f"{publication}_appends"


async def publish(url: str, publication: str, oids: Collection[int], *, appends: bool = False, where: str = "") -> None:
    """Add these tables to the publication, which is made if it is missing; a repeat changes nothing.

    `appends`: to the one for tables that are only appended to; that one must be read too, see `appends_begin`.
    `where` is a condition in SQL, as trusted as the configuration that it is from; a row that begins or ceases to meet
    it is inserted or deleted in the log that we read. Empty: all rows, also where there was a condition before.
    The first call with `appends` waits for all transactions that write. Takes a weak lock of each table, which waits
    for VACUUM and for changes of its schema, not for readers and writers. Raises InvalidConfiguration when the role may
    not, the publication does not publish what it should, or the condition is none that could stand; Unavailable.
    """
    name, other, operations = publication, appends_publication(publication), ALL
    if appends:
        name, other, operations = other, name, APPENDS
    async with connect(url) as connection:
        async with _alone(connection, name):
            await _prepare(connection, name, operations)
        if appends:
            await _note_begin(connection, name)
        rows = await (
            await connection.execute(
                read_sql("read_publishing"), {"oids": list(oids), "publication": name, "other": other}
            )
        ).fetchall()
        for row in rows:
            if row["published"] and not (where or row["filtered"] or row["by_name_in_other"]):
                continue
            try:
                await _replace(connection, name, other, row, where)
            except ALREADY_THERE:  # another process was faster
                continue
            log.info("table_published", publication=name, table=_full_name(row), where=where or None)


async def _publish(connection: Connection, name: str, row: Mapping[str, Any], where: str) -> None:
    """Add a table, in the place of how it was published before. Whoever reads the log sees no moment between."""
    publication, table = sql.Identifier(name), sql.Identifier(row["schema"], row["name"])
    condition = sql.SQL(f" WHERE ({where}\n)" if where else "")
    async with connection.transaction():
        if row["by_name"]:
            with suppress(psycopg.errors.UndefinedObject):  # another process was faster
                async with connection.transaction():
                    await connection.execute(sql.SQL("ALTER PUBLICATION {} DROP TABLE {}").format(publication, table))
        try:
            await connection.execute(
                sql.SQL("ALTER PUBLICATION {} ADD TABLE {}{}").format(publication, table, condition)
            )
            if where:  # a constant that its column cannot hold is found now, not where the log is read
                await connection.execute(sql.SQL("EXPLAIN SELECT FROM {}{}").format(table, condition))
        except (*ALREADY_THERE, psycopg.errors.InsufficientPrivilege):
            raise
        except psycopg.Error as error:
            state = error.sqlstate or ""
            if not where or not (state[:2] in _WRONG_CLASSES or state == _WRONG_PUBLICATION):
                raise
            raise wrong_filter(_full_name(row), where, str(error)) from error


async def _replace(connection: Connection, name: str, other: str, row: Mapping[str, Any], where: str) -> None:
    """As `_publish`, and out of the other publication: each row is sent that one of the two publishes."""
    try:
        if row["by_name_in_other"]:
            await _drop(connection, other, row)
        await _publish(connection, name, row, where)
        names = {"publications": [name, other], "oids": [row["oid"]]}
        if where and await (await connection.execute(read_sql("read_unfiltered"), names)).fetchone():
            raise wrong_filter(
                _full_name(row), where, "A publication of ours has all its rows, by schema or for all tables."
            )
    except InvalidConfiguration:
        if row["filtered"]:  # the condition before may be one for which PostgreSQL refuses updates by now
            await _drop(connection, name, row)
        raise


async def _drop(connection: Connection, name: str, row: Mapping[str, Any]) -> None:
    statement = sql.SQL("ALTER PUBLICATION {} DROP TABLE {}")
    try:
        await connection.execute(statement.format(sql.Identifier(name), sql.Identifier(row["schema"], row["name"])))
    except psycopg.errors.UndefinedObject:  # another process was faster
        return
    log.info("table_unpublished", publication=name, table=_full_name(row))


def _full_name(row: Mapping[str, Any]) -> str:
    return f"{row['schema']}.{row['name']}"


def wrong_filter(table: str, where: str, detail: str) -> InvalidConfiguration:
    """The error for a condition that cannot choose the rows of `table`."""
    return InvalidConfiguration(
        f"The rows of {table} cannot be chosen by: {where}",
        detail,
        f'Correct `where` of [mirror.table."{table}"] in headrace.toml, and restart the worker.',
    )


async def unpublish(url: str, publication: str, oids: Collection[int]) -> None:
    """Take these tables out of both publications; those that are in neither, or do not exist any more, change nothing.

    Raises InvalidConfiguration when the role may not; Unavailable.
    """
    names = [publication, appends_publication(publication)]
    async with connect(url) as connection:
        cursor = await connection.execute(read_sql("read_published"), {"oids": list(oids), "publications": names})
        for row in await cursor.fetchall():
            await _drop(connection, row["publication"], row)


async def appends_begin(url: str, publication: str) -> int | None:
    """From where on in the log the publication for appended tables can be read; None: it is not made.

    PostgreSQL looks a publication up as it was when a change was made, and finds none before that place. Raises
    Unavailable.
    """
    async with connect(url) as connection:
        return await _read_begin(connection, appends_publication(publication))


async def published(url: str, publication: str, oids: Collection[int]) -> set[int]:
    """Those of the tables that are in one of the two publications by name. Raises Unavailable."""
    names = [publication, appends_publication(publication)]
    async with connect(url) as connection:
        cursor = await connection.execute(read_sql("read_published"), {"oids": list(oids), "publications": names})
        return {row["oid"] for row in await cursor.fetchall()}


async def unfiltered(url: str, publication: str, oids: Collection[int]) -> set[int]:
    """Those of the tables whose condition for rows is gone, or that are published no more. Raises Unavailable."""
    names = [publication, appends_publication(publication)]
    async with connect(url) as connection:
        cursor = await connection.execute(read_sql("read_unfiltered"), {"oids": list(oids), "publications": names})
        return {row["oid"] for row in await cursor.fetchall()}


@asynccontextmanager
async def _alone(connection: Connection, name: str) -> AsyncIterator[None]:
    """PostgreSQL refuses one of two that set an option of a publication at the same time."""
    try:
        await connection.execute(read_sql("lock_publication"), {"publication": name})
    except psycopg.errors.QueryCanceled as error:
        raise Unavailable(
            f"Another process has been changing the publication {name!r} for {STATEMENT_MAX_S} s.",
            str(error),
            "Look in pg_locks for who holds its advisory lock.",
        ) from error
    yield  # after an error the connection is closed, and with it the lock is gone
    await connection.execute(read_sql("unlock_publication"), {"publication": name})


async def _prepare(connection: Connection, name: str, operations: str) -> None:
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


async def _note_begin(connection: Connection, name: str) -> None:
    """Note once from where on the publication can be read.

    The log is read with the catalog as it was at each change, and a transaction that is open now may have made changes
    before there was the publication. When those have ended, all commits from here on are of later ones. A maker that is
    killed before it comes here leaves this to the next. The first note stays: a later one would hide, from a reader
    that begins between the two, what was published since the first.
    """
    if await _read_begin(connection, name) is not None:
        return
    await wait_for_writers(connection)
    async with _alone(connection, name):
        if await _read_begin(connection, name) is None:
            end = Position((await read_row(connection, "read_log_end"))["end_lsn"])
            comment = sql.SQL("COMMENT ON PUBLICATION {} IS {}")
            await connection.execute(
                comment.format(sql.Identifier(name), sql.Literal(f"headrace: readable from {end}"))
            )


async def _read_begin(connection: Connection, name: str) -> int | None:
    row = await _read(connection, name)
    note = _READABLE.fullmatch(row["comment"] or "") if row else None
    return Position.parse(note[1]).lsn if note else None


async def _create(connection: Connection, name: str, operations: str) -> None:
    generated = ", publish_generated_columns = stored" if connection.info.server_version >= _STORED_SINCE else ""
    statement = f"CREATE PUBLICATION {{}} WITH (publish = '{operations}', publish_via_partition_root = true{generated})"
    try:
        await connection.execute(sql.SQL(statement).format(sql.Identifier(name)))
    except ALREADY_THERE:  # another process was faster
        return
    log.info("publication_created", publication=name)


async def _read(connection: Connection, name: str) -> dict[str, Any] | None:
    return await (await connection.execute(read_sql("read_operations"), {"publication": name})).fetchone()
