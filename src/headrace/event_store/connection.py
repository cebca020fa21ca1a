"""Connections to the event store's PostgreSQL: checked once, set up alike, their failures in our own words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg.adapt import Buffer, Loader
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from headrace.errors import InvalidConfiguration, Unavailable

Connection = psycopg.AsyncConnection[tuple[Any, ...]]
Pool = AsyncConnectionPool[Connection]

VERSION_MIN = 140_000
_CONNECT_MAX_S = 10
_STATEMENT_MAX_S = 30
_LOCK_MAX_S = 5

# An acknowledged append survives power loss whatever the server's default is; stronger settings stay.
#
# Every page is read along an index and in its order. Left alone, the planner guesses that the conditions keep next to
# nothing (of a new table, it knows nothing), and reads and sorts all that is left for each page. What is off costs
# 10,000,000,000 in its eyes: enough for it to compile every statement to machine code, and to plan each anew each time.
_SESSION = f"""
SET default_transaction_isolation = 'read committed';
SET statement_timeout = '{_STATEMENT_MAX_S}s';
SET lock_timeout = '{_LOCK_MAX_S}s';
SET timezone = 'UTC';
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SET enable_sort = off;
SET jit = off;
SET plan_cache_mode = force_generic_plan;
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', 'local');
""".encode()


class _RawLoader(Loader):
    """Leaves JSON as bytes: msgspec decodes it, once and into its type."""

    def load(self, data: Buffer) -> bytes:
        return bytes(data)


async def connect(url: str) -> Connection:
    """One connection in autocommit, checked: reachable, version 14 or later, UTF-8, writable. The caller closes it."""
    try:
        connection = await psycopg.AsyncConnection.connect(url, autocommit=True, connect_timeout=_CONNECT_MAX_S)
    except psycopg.OperationalError as error:
        raise unreachable(error) from error
    except psycopg.ProgrammingError as error:
        raise InvalidConfiguration(
            "The address of PostgreSQL is not one.", hint="Write [postgres] url as postgresql://user:password@host/db."
        ) from error
    try:
        await _check(connection)
        await configure(connection)
    except BaseException as error:
        await connection.close()
        if isinstance(error, psycopg.OperationalError):  # it was lost as soon as it stood
            raise unreachable(error) from error
        raise
    return connection


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    """As `connect`, for as long as the block lasts. When it is lost meanwhile, the block ends with Unavailable."""
    connection = await connect(url)
    try:
        yield connection
    except psycopg.OperationalError as error:
        raise unreachable(error) from error
    finally:
        await connection.close()


def create_pool(url: str, size: int) -> Pool:
    """A pool of `size` connections at most, not yet open."""
    return AsyncConnectionPool(
        url,
        connection_class=psycopg.AsyncConnection[tuple[Any, ...]],
        kwargs={"autocommit": True, "connect_timeout": _CONNECT_MAX_S},
        configure=configure,
        min_size=min(2, size),
        max_size=size,
        open=False,
        timeout=_CONNECT_MAX_S,
        reconnect_timeout=60,
        name="event_store",
    )


async def configure(connection: Connection) -> None:
    """What every connection of the event store has in common."""
    await connection.execute(_SESSION)
    for name in ("json", "jsonb"):
        connection.adapters.register_loader(name, _RawLoader)


def unreachable(error: psycopg.Error | PoolTimeout) -> Unavailable:
    """Nothing was sent: PostgreSQL cannot be reached or refuses the connection."""
    return Unavailable(
        "PostgreSQL cannot be reached; nothing was written.",
        str(error).strip(),
        "Check that it runs and that [postgres] url is right; then retry.",
    )


async def _check(connection: Connection) -> None:
    version = connection.info.server_version
    if version < VERSION_MIN:
        raise InvalidConfiguration(
            f"PostgreSQL {version // 10_000} is too old; Headrace needs {VERSION_MIN // 10_000} or later.",
            f"At {connection.info.host}:{connection.info.port}.",
            "Upgrade it, or leave [postgres] url out to use the embedded one.",
        )
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise InvalidConfiguration(
            f"The database is encoded in {encoding}; the event store needs UTF8.",
            f"Database {connection.info.dbname} at {connection.info.host}:{connection.info.port}.",
            "Create one: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0.",
        )
    if connection.info.parameter_status("in_hot_standby") == "on":
        raise InvalidConfiguration(
            "This PostgreSQL is a read-only standby.", hint="Point [postgres] url at the primary server."
        )
