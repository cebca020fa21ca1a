"""Rows of a source table in the order of its key, or by their keys: what a comparison with the mirror reads.

Each statement is short and has a snapshot of its own. Keys are the text that PostgreSQL writes. What a row's hash is
made of is the caller's: an SQL expression over the row, which is called `source`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import sql

from headrace.capture.personal import Personal
from headrace.capture.personal_copy import protect_rows
from headrace.capture.server import Connection, connect, read_row, read_sql
from headrace.capture.source_tables import SourceTable
from headrace.errors import Conflict, InvalidConfiguration

Key = tuple[str, ...]

_SETTINGS: Final = (
    "SET statement_timeout = '300s'",
    "SET row_security = off",  # an error instead of a part of the rows
    "SET enable_seqscan = off",  # without statistics the planner would read the whole table for each page
    "SET enable_bitmapscan = off",
    "SET enable_hashjoin = off",
    "SET enable_mergejoin = off",
)


@dataclass(frozen=True, slots=True)
class KeyColumn:
    """`type_name` is how SQL names the type; `byte_order`: texts are ordered by their bytes."""

    name: str
    type_name: str
    byte_order: bool


@dataclass(frozen=True, slots=True)
class Page:
    """Rows that follow each other. `total` is the sum of their hashes, `last` the key of the last one, None: no row.

    `listed` has for each row a JSON array of the texts of its key and its hash, a line each. Every commit that can be
    seen in it has a position below `end_lsn`.
    """

    rows: int
    total: int
    last: Key | None
    listed: str
    end_lsn: int


class SourceRows:
    """The rows of one table that meet a condition, through one connection. `row_hash` is an expression of type bigint,
    `where` the condition; empty: all rows.
    """

    def __init__(
        self, url: str, connection: Connection, table: SourceTable, key: Sequence[KeyColumn], row_hash: str, where: str
    ) -> None:
        self._url = url
        self._connection = connection
        self._table = table
        self.key = tuple(key)
        self._where = where.replace("%", "%%")
        self._row_hash = sql.SQL(row_hash.replace("%", "%%"))  # statements with parameters take % for one

    async def page(self, after: Key | None, upto: Key | None, *, rows_max: int | None, listed: bool) -> Page:
        """The rows behind `after` up to and with `upto`, None: no bound, in the order of the index; all, or the first.

        `listed`: with the list of them, which is empty otherwise.
        """
        bounds = [self._bound(">", "after")] if after is not None else []
        bounds += [self._bound("<=", "upto")] if upto is not None else []
        where = sql.SQL("WHERE {}").format(sql.SQL(" AND ").join(bounds)) if bounds else sql.SQL("")
        parameters: dict[str, Any] = {"rows_max": rows_max}
        parameters |= {f"after{place}": text for place, text in enumerate(after or ())}
        parameters |= {f"upto{place}": text for place, text in enumerate(upto or ())}
        statement = read_sql("read_page").format(
            keys=self._keys(),
            named=self._named(),
            hash=self._row_hash,
            table=self._from(),
            where=where,
            last=sql.SQL(", ").join(self._texts()),
            listed=self._listed(listed=listed),
        )
        return await self._read(statement, parameters)

    async def by_key(self, keys: Sequence[Key]) -> Page:
        """Those of the rows with these keys that there are, listed in no order."""
        parameters = {f"wanted{place}": [key[place] for key in keys] for place in range(len(self.key))}
        statement = read_sql("read_keyed").format(
            named=self._named(),
            hash=self._row_hash,
            table=self._from(),
            wanted=self._wanted(),
            on=self._on(),
            listed=self._listed(listed=True),
        )
        return await self._read(statement, parameters)

    async def whole(self) -> tuple[int, int, int]:
        """How many rows there are, the sum of their hashes, and the end of the log behind what was seen."""
        statement = sql.SQL("SELECT count(*) AS rows, coalesce(sum({}), 0) AS total FROM {}").format(
            self._row_hash, self._from()
        )
        row = await self._row(statement, {})
        return row["rows"], int(row["total"]), await self._end()

    async def column_hashes(self, keys: Sequence[Key], texts: Sequence[str]) -> dict[Key, list[str]]:
        """For rows with these keys, the md5 of each of the `texts`, expressions over the row; empty for NULL."""
        parameters = {f"wanted{place}": [key[place] for key in keys] for place in range(len(self.key))}
        hashes = sql.SQL(", ").join(
            sql.SQL("coalesce(md5({}), '')").format(sql.SQL(text.replace("%", "%%"))) for text in texts
        )
        statement = read_sql("read_column_hashes").format(
            key=sql.SQL(", ").join(sql.SQL(f"wanted.w{place}") for place in range(len(self.key))),
            hashes=hashes,
            table=self._from(),
            wanted=self._wanted(),
            on=self._on(),
        )
        async with self._translated():
            rows = await (await self._connection.execute(statement, parameters)).fetchall()
        return {tuple(row["key"]): row["hashes"] for row in rows}

    async def copy_by_key(self, keys: Sequence[Key], columns: Sequence[str], personal: Personal) -> bytes:
        """The rows with these keys as COPY's text format, with their personal columns replaced."""
        parameters = {f"wanted{place}": [key[place] for key in keys] for place in range(len(self.key))}
        listed = sql.SQL(", ").join(sql.SQL("source.{}").format(_identifier(name)) for name in columns)
        statement = read_sql("copy_keyed").format(
            columns=listed, table=self._from(), wanted=self._wanted(), on=self._on()
        )
        async with self._translated(), self._connection.cursor() as cursor, cursor.copy(statement, parameters) as copy:
            rows = b"".join([bytes(piece) async for piece in copy])
        return await protect_rows(rows, columns, personal, self._table.full_name, self._url)

    async def _read(self, statement: sql.Composed, parameters: dict[str, Any]) -> Page:
        row = await self._row(statement, parameters)
        last = tuple(row["last"]) if row["last"] else None
        return Page(row["rows"], int(row["total"]), last, row["listed"] or "", await self._end())

    async def _row(self, statement: sql.Composed, parameters: dict[str, Any]) -> dict[str, Any]:
        async with self._translated():
            row = await (await self._connection.execute(statement, parameters)).fetchone()
        assert row is not None
        return row

    async def _end(self) -> int:
        end_lsn: int = (await read_row(self._connection, "read_log_end"))["end_lsn"]
        return end_lsn

    @asynccontextmanager
    async def _translated(self) -> AsyncIterator[None]:
        try:
            yield
        except (
            psycopg.errors.UndefinedTable,
            psycopg.errors.UndefinedColumn,
            psycopg.errors.UndefinedFunction,
            psycopg.DataError,  # a key that its column cannot read, whose type is another one now
            psycopg.IntegrityError,
        ) as error:
            raise Conflict(
                f"{self._table.full_name} changed while it was read.", str(error), "Repeat it from the start."
            ) from error
        except psycopg.errors.InsufficientPrivilege as error:
            raise InvalidConfiguration(
                f"The role may not read all of {self._table.full_name}.",
                str(error),
                f"GRANT SELECT ON {self._table.full_name} to it; where row level security is on, let it BYPASSRLS.",
            ) from error

    # parts

    def _from(self) -> sql.Composable:
        only = sql.SQL("ONLY ") if self._table.kind == "r" else sql.SQL("")
        table = sql.SQL("{}{}").format(only, _identifier(self._table.schema, self._table.name))
        if self._where:
            table = sql.SQL("(SELECT * FROM {} WHERE {}\n)").format(table, sql.SQL(self._where))
        return sql.SQL("{} AS source").format(table)

    def _column(self, column: KeyColumn) -> sql.Composable:
        return sql.SQL("source.{}").format(_identifier(column.name))

    def _keys(self) -> sql.Composable:
        return sql.SQL(", ").join(self._column(each) for each in self.key)

    def _named(self) -> sql.Composable:
        return sql.SQL(", ").join(
            sql.SQL("{} AS {}").format(self._column(each), sql.Identifier(f"r{place}"))
            for place, each in enumerate(self.key)
        )

    def _texts(self) -> list[sql.Composable]:
        return [sql.SQL(f"format('%%s', r{place})") for place in range(len(self.key))]

    def _listed(self, *, listed: bool) -> sql.Composable:
        if not listed:
            return sql.SQL("''")
        values = sql.SQL(", ").join([*self._texts(), sql.SQL("h::text")])
        return sql.SQL("string_agg(json_build_array({})::text, E'\\n')").format(values)

    def _bound(self, operator: str, name: str) -> sql.Composable:
        values = sql.SQL(", ").join(
            sql.SQL("CAST({} AS {})").format(sql.Placeholder(f"{name}{place}"), sql.SQL(each.type_name))
            for place, each in enumerate(self.key)
        )
        return sql.SQL("({}) {} ({})").format(self._keys(), sql.SQL(operator), values)

    def _wanted(self) -> sql.Composable:
        arrays = sql.SQL(", ").join(
            sql.SQL("{}::text[]").format(sql.Placeholder(f"wanted{place}")) for place in range(len(self.key))
        )
        names = sql.SQL(", ").join(sql.Identifier(f"w{place}") for place in range(len(self.key)))
        return sql.SQL("(SELECT DISTINCT * FROM unnest({}) AS given ({})) AS wanted").format(arrays, names)

    def _on(self) -> sql.Composable:
        return sql.SQL(" AND ").join(
            sql.SQL("{} = CAST(wanted.{} AS {})").format(
                self._column(each), sql.Identifier(f"w{place}"), sql.SQL(each.type_name)
            )
            for place, each in enumerate(self.key)
        )


@asynccontextmanager
async def open_rows(
    url: str, table: SourceTable, key: Sequence[str], row_hash: str, *, where: str = ""
) -> AsyncIterator[SourceRows]:
    """A connection that reads the rows of a table that meet `where`. Raises Unavailable, InvalidConfiguration,
    Conflict.
    """
    async with connect(url) as connection:
        await connection.execute("; ".join(_SETTINGS).encode())
        cursor = await connection.execute(read_sql("read_key_columns"), {"oid": table.oid, "names": list(key)})
        columns = [KeyColumn(**row) for row in await cursor.fetchall()]
        yield SourceRows(url, connection, table, columns, row_hash, where)


def _identifier(*names: str) -> sql.Identifier:
    """For statements with parameters, which take % for one."""
    return sql.Identifier(*(name.replace("%", "%%") for name in names))
