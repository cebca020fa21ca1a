"""Bring a database to the schema that this version of the package needs; doing it again changes nothing.

Numbered migrations are applied once and never edited afterwards; functions are replaced whenever their file changed.
Nothing here may drop data.
"""

from __future__ import annotations

import psycopg

from headrace.errors import Corrupt, InvalidConfiguration
from headrace.event_store import statements
from headrace.event_store.statements import Script
from headrace.telemetry import logger

log = logger(__name__)

# Any fixed number will do: it only has to be the same in every process that migrates.
LOCK_KEY = 0x6865_6164_7261_6365


async def migrate(connection: psycopg.AsyncConnection[tuple[object, ...]]) -> list[str]:
    """Apply what this database lacks, in one transaction, and return the names of what was applied.

    Two processes that start at once take turns. Raises InvalidConfiguration without the right to create the schema,
    Corrupt when an applied migration differs from its file, or the database is of a newer version of this package.
    """
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK_KEY,))
            await connection.execute(statements.query("create_migrations"))
            rows = await (await connection.execute(statements.query("find_migrations"))).fetchall()
            missing = plan({str(name): str(checksum) for name, checksum in rows})
            for script in missing:
                await connection.execute(script.text)
                await connection.execute(
                    statements.query("record_migration"), {"name": script.name, "checksum": script.checksum}
                )
    except psycopg.errors.InsufficientPrivilege as error:
        raise InvalidConfiguration(
            "This PostgreSQL user may not create the schema headrace.",
            str(error).strip(),
            "Grant it once: GRANT CREATE ON DATABASE … TO …; or run `headrace doctor` for the list.",
        ) from error
    if missing:
        log.info("event_store_migrated", applied=[script.name for script in missing])
    return [script.name for script in missing]


def plan(applied: dict[str, str]) -> list[Script]:
    """What to apply to a database that has `applied`, name to checksum. Raises Corrupt when the two contradict."""
    migrations = statements.scripts("migrations")
    for script in migrations:
        if applied.get(script.name, script.checksum) != script.checksum:
            raise Corrupt(
                f"{script.name} was edited after it had been applied to this database.",
                f"Applied {applied[script.name][:12]}, in this package {script.checksum[:12]}.",
                "Install the version that made this database, or restore the file.",
            )
    known = {script.name for script in migrations}
    newer = sorted(name for name in applied if name.startswith("migrations/") and name not in known)
    if newer:
        raise Corrupt(
            "This database was migrated by a newer version of Headrace.",
            f"Unknown here: {', '.join(newer)}.",
            "Upgrade this installation of Headrace.",
        )
    missing = [script for script in migrations if script.name not in applied]
    changed = [script for script in statements.scripts("functions") if applied.get(script.name) != script.checksum]
    return missing + changed
