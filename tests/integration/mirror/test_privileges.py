"""The mirror under a role that has the grants of the how-to and no others."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from psycopg.conninfo import make_conninfo
from support.capture_side import Database
from support.documentation import ROOT
from support.mirror_proof import Mirrored
from support.mirror_side import MirrorSide, mirror_side
from support.waiting import until

from headrace.embedded.clickhouse.process import EmbeddedClickHouse
from headrace.embedded.postgres import EmbeddedPostgres
from headrace.errors import AlreadyRunning
from headrace.runtime.databases import Addresses
from headrace.runtime.project import Project
from headrace.runtime.recovery import recover
from headrace.settings import Settings

HOW_TO = ROOT / "docs" / "how-to" / "mirror-a-database.md"
TABLES = ["public.t", "billing.invoices"]


def documented_grants(role: str, owner: str, database: str) -> str:
    """What the how-to tells an administrator to run, for these names."""
    block = re.search(r"```sql\n(CREATE ROLE .*?)```", HOW_TO.read_text(), re.DOTALL)
    assert block is not None
    named = re.sub(r"\bheadrace\b", role, re.sub(r"\bshop_owner\b", owner, block[1].replace("…", "secret")))
    return re.sub(r"\bDATABASE shop\b", f"DATABASE {database}", named)


@pytest.fixture
async def roles(postgres_server: EmbeddedPostgres) -> AsyncIterator[tuple[str, str]]:
    """The names of the mirror's role, which is not made yet, and of the application's."""
    role, owner = (f"{name}_{uuid4().hex[:8]}" for name in ("mirror", "owner"))
    server = Database(postgres_server.url, "postgres")
    await server.run(f"CREATE ROLE {owner}")
    yield role, owner
    await server.run(f"DROP ROLE IF EXISTS {role}")
    await server.run(f"DROP ROLE {owner}")


async def test_the_documented_grants_are_enough(
    postgres_server: EmbeddedPostgres, clickhouse_server: EmbeddedClickHouse, roles: tuple[str, str]
) -> None:
    """To begin, to follow, and to recover. The application's tables belong to a role of its own."""
    role, owner = roles
    async with mirror_side(postgres_server.url, clickhouse_server.url, "template0", TABLES) as application:
        await application.run(
            f"CREATE SCHEMA billing AUTHORIZATION {owner}; GRANT CREATE ON SCHEMA public TO {owner}; "
            f"SET ROLE {owner}; CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 1), (2, 2); "
            "CREATE TABLE billing.invoices (id int PRIMARY KEY); RESET ROLE"
        )
        await application.run(documented_grants(role, owner, application.mirrored.source))
        await application.run(f"SELECT 1 / (NOT rolsuper)::int FROM pg_roles WHERE rolname = '{role}'")
        url = make_conninfo(application.url, user=role, password="secret")
        mirrored = Mirrored(url, application.clickhouse, application.mirrored.source, TABLES)
        side = MirrorSide(mirrored, application.root, application.clickhouse_url)
        try:
            side.start()
            await side.mirrored.wait_until_ready()
            await application.run(
                "UPDATE t SET n = 3; INSERT INTO billing.invoices VALUES (1); DELETE FROM t WHERE id = 1"
            )
            await side.assert_whole(from_empty=False)
            await side.stop()

            async def recovered() -> bool:
                try:
                    await recover(Project.load(Settings.load(side.root)), Addresses(url, side.clickhouse_url))
                except AlreadyRunning:  # the server has not seen the worker leave
                    return False
                return True

            await until(recovered)
            side.start()
            await side.assert_whole(from_empty=False)
        finally:
            await side.stop()


async def test_an_array_can_be_the_key(
    postgres_server: EmbeddedPostgres, clickhouse_server: EmbeddedClickHouse, migrated: str
) -> None:
    """ClickHouse does not sort by arrays whose elements may be NULL; the key is kept as text."""
    async with mirror_side(postgres_server.url, clickhouse_server.url, migrated, ["public.t"]) as side:
        await side.run("CREATE TABLE t (k int[] PRIMARY KEY, n int); INSERT INTO t VALUES ('{1,NULL}', 1), ('{}', 2)")
        side.start()
        await side.mirrored.wait_until_ready()
        await side.run("UPDATE t SET n = 5 WHERE n = 1; DELETE FROM t WHERE n = 2; UPDATE t SET k = '{1,3}'")
        await side.assert_whole(from_empty=False)
