"""A short connection to the server that is captured from, and what it must be to be captured from at all.

Errors of PostgreSQL become those of this package here, with what to do about them. The replication stream has a
connection of its own kind, in `connection`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from headrace.capture.column_types import SESSION
from headrace.capture.connection import CONNECT_MAX_S, KEEPALIVES, refused_sqlstate
from headrace.errors import InvalidConfiguration, Unavailable

VERSION_MIN = 14
STATEMENT_MAX_S = 60
_WAL_LEVEL_HINT = (
    "Run ALTER SYSTEM SET wal_level = 'logical'; and restart PostgreSQL. Amazon RDS and Aurora: set "
    "rds.logical_replication = 1 in the parameter group and reboot. Google Cloud SQL: set the flag "
    "cloudsql.logical_decoding = on."
)

# The second when the other has not committed yet at that moment.
ALREADY_THERE = (psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation)

Connection = psycopg.AsyncConnection[dict[str, Any]]


@asynccontextmanager
async def connect(url: str) -> AsyncIterator[Connection]:
    """A connection whose statements commit by themselves, end after `STATEMENT_MAX_S`, and return dicts.

    Its settings are those of the replication stream, so that a value has the same text here and there. Raises
    InvalidConfiguration and Unavailable, also for what fails within.
    """
    settings = {**SESSION, "statement_timeout": f"{STATEMENT_MAX_S}s"}
    try:
        connection = await psycopg.AsyncConnection.connect(
            make_conninfo(
                url,
                connect_timeout=CONNECT_MAX_S,
                application_name="headrace capture",
                client_encoding="UTF8",
                gssencmode="disable",  # as in `connection`: a copy reads the socket
                **KEEPALIVES,
            ),
            autocommit=True,
            row_factory=dict_row,
        )
        async with connection:
            await connection.execute("; ".join(f"SET {name} = '{value}'" for name, value in settings.items()).encode())
            yield connection
    except psycopg.errors.QueryCanceled as error:
        raise Unavailable(
            f"PostgreSQL did not answer within {STATEMENT_MAX_S} s.",
            str(error),
            "A new slot waits for all running transactions: look for long ones in pg_stat_activity.",
        ) from error
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ConfigurationLimitExceeded) as error:
        raise InvalidConfiguration(
            "PostgreSQL refuses to set up replication.", str(error), "Grant the right, or raise max_replication_slots."
        ) from error
    except psycopg.errors.UndefinedTable as error:
        raise InvalidConfiguration("A table to capture does not exist.", str(error), "Create it first.") from error
    except psycopg.InternalError as error:  # such as two that alter the same at once
        raise Unavailable(
            "PostgreSQL failed within itself.", str(error).strip(), "Try again; its log may say more."
        ) from error
    except psycopg.OperationalError as error:
        if refused_sqlstate(error):
            raise InvalidConfiguration(
                "PostgreSQL does not let us in.", str(error).strip(), "Correct postgres.url or the role."
            ) from error
        raise Unavailable("PostgreSQL cannot be reached.", str(error).strip(), "Start it, or wait.") from error


async def check_server(url: str) -> None:
    """Whether changes can be captured from this server at all. Changes nothing.

    Raises InvalidConfiguration for its version, wal_level, a standby or missing rights; Unavailable.
    """
    async with connect(url) as connection:
        await check_settings(connection)


async def check_settings(connection: Connection) -> dict[str, Any]:
    """The row of `read_server.sql`. Raises InvalidConfiguration when changes cannot be captured from this server."""
    server = await read_row(connection, "read_server")
    if server["version"] < VERSION_MIN * 10_000:
        raise InvalidConfiguration(
            f"PostgreSQL {server['version'] // 10_000} is too old.",
            f"Capture needs {VERSION_MIN} or later.",
            "Upgrade it.",
        )
    if server["is_standby"]:
        raise InvalidConfiguration("This PostgreSQL is a standby.", hint="Let postgres.url name the primary.")
    if server["wal_level"] != "logical":
        raise InvalidConfiguration(f"wal_level is {server['wal_level']}, not logical.", hint=_WAL_LEVEL_HINT)
    if server["switched_off"]:
        raise InvalidConfiguration(
            f"{' and '.join(server['switched_off'])} of PostgreSQL is 0: nothing can replicate.",
            hint="Raise it by one for each reader, 10 is the default, and restart PostgreSQL.",
        )
    if not server["may_replicate"]:
        raise InvalidConfiguration(
            f"The role {server['role']} may not replicate.",
            hint=f"Run ALTER ROLE {server['role']} REPLICATION; Amazon RDS: GRANT rds_replication TO {server['role']};",
        )
    return server


async def read_row(connection: Connection, name: str, /, **parameters: object) -> dict[str, Any]:
    """The one row that the statement in `sql/<name>.sql` returns."""
    row = await (await connection.execute(read_sql(name), parameters or None)).fetchone()
    assert row is not None
    return row


def read_sql(name: str) -> sql.SQL:
    """The statement in `sql/<name>.sql`."""
    return sql.SQL((resources.files(__package__) / "sql" / f"{name}.sql").read_text())
