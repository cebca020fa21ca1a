"""Obstacles: what keeps a table from being mirrored, and what to run against each.

All of it is found before anything is changed, so that a mirror that begins does not end at the first UPDATE.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headrace.capture.publication import appends_publication
from headrace.capture.server import connect, read_row, read_sql
from headrace.capture.source_tables import Leaf, SourceTable


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why the table `name` cannot be mirrored as it is, and the statement or setting that changes it."""

    oid: int
    name: str
    reason: str
    hint: str


async def find_obstacles(
    url: str,
    tables: Sequence[SourceTable],
    publication: str,
    *,
    appends: Collection[int] = (),
    filtered: Collection[int] = (),
) -> list[Obstacle]:
    """Everything that is in the way, in the order of `tables`; [] when they can be mirrored.

    `appends` are the oids of the tables that are only ever appended to: those need no key; `filtered` of those that are
    published with a condition for rows. Looks at keys, partitions, and what the role of `url` may do. Raises
    Unavailable.
    """
    names = [publication, appends_publication(publication)]
    async with connect(url) as connection:
        cursor = await connection.execute(
            read_sql("read_obstacles"), {"oids": [table.oid for table in tables], "publications": names}
        )
        rows = await cursor.fetchall()
        publishers = {name: await read_row(connection, "read_publisher", publication=name) for name in names}
    found = []
    for table in tables:
        own = [row for row in rows if row["root_oid"] == table.oid]
        publisher = publishers[names[table.oid in appends]]
        pairs = [] if table.oid in appends else _against_identity(table)
        pairs += _against_leaves(table) + _against_rights(own, publisher, filtered=table.oid in filtered)
        found += [Obstacle(table.oid, table.full_name, reason, hint) for reason, hint in pairs]
    return found


def _against_identity(table: SourceTable) -> list[tuple[str, str]]:
    """Without the old key in the log, an update or a delete says nothing about which row it changed."""
    if table.identity != "f" and not table.key:
        return [
            (
                "It has no key by which the log could name a changed row.",
                f"Run ALTER TABLE {table.full_name} REPLICA IDENTITY FULL; or … USING INDEX with a unique index over "
                "columns that are NOT NULL; or, if it is only appended to, set append_only = true in its settings.",
            )
        ]
    return [
        (
            f"The log has not what it needs of the partition {leaf.full_name}: replica identity {leaf.identity}.",
            f"Run ALTER TABLE {leaf.full_name} REPLICA IDENTITY {'DEFAULT' if table.identity == 'd' else 'FULL'};",
        )
        for leaf in table.partitions
        if not _covers(leaf, table)
    ]


def _covers(leaf: Leaf, table: SourceTable) -> bool:
    """Whether the log has of the leaf's old rows what is sent as its root's: the leaf's own identity decides that."""
    return leaf.identity == "f" or (table.identity != "f" and set(leaf.key) >= set(table.key))


def _against_leaves(table: SourceTable) -> list[tuple[str, str]]:
    foreign = [leaf.full_name for leaf in table.leaves if leaf.kind == "f"]
    unlogged = [leaf.full_name for leaf in table.leaves if leaf.persistence == "u"]
    return [
        *((f"{name} is a foreign table: its changes are not in the log.", f"Detach {name}.") for name in foreign),
        *((f"{name} is unlogged.", f"Run ALTER TABLE {name} SET LOGGED;") for name in unlogged),
    ]


def _against_rights(
    rows: Sequence[Mapping[str, Any]], publisher: Mapping[str, Any], *, filtered: bool
) -> list[tuple[str, str]]:
    """`rows` are those of `read_obstacles.sql` for a table and its leaves, the table's first."""
    found = []
    for row in rows:
        name, role = row["name"], row["role"]
        if not row["may_use_schema"]:
            found.append(
                (f"{role} may not use the schema of {name}.", f"GRANT USAGE ON SCHEMA {row['schema']} TO {role};")
            )
        if not row["may_select"]:
            found.append((f"{role} may not read {name}.", f"GRANT SELECT ON {name} TO {role};"))
        elif row["rls_active"]:
            hint = f"Run ALTER ROLE {role} BYPASSRLS; as a superuser."
            found.append((f"Row level security hides rows of {name} from {role}.", hint))
    for table in rows[:1]:
        if table["has_column_list"] or (table["has_filter"] and not filtered):
            hint = f"Run ALTER PUBLICATION … DROP TABLE {table['name']}; and let it be added again."
            found.append(("The publication has only some of its columns or rows.", hint))
        if filtered and not table["can_filter"]:
            found.append(("Rows can be chosen by a condition from PostgreSQL 15 on.", "Take `where` out."))
        if filtered or not table["published"]:
            found += _against_publishing(table, publisher)
    return found


def _against_publishing(table: Mapping[str, Any], publisher: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = []
    role = table["role"]
    if publisher["owns"] is None and not publisher["may_create"]:
        hint = f"GRANT CREATE ON DATABASE {publisher['database']} TO {role};"
        found.append((f"{role} may not make a publication.", hint))
    if publisher["owns"] is False:
        found.append((f"{role} does not own the publication.", f"Run ALTER PUBLICATION … OWNER TO {role};"))
    if not table["owns"]:
        hint = (
            f"GRANT {table['owner']} TO {role}; or let a superuser run ALTER PUBLICATION … ADD TABLE {table['name']};"
        )
        found.append((f"Only {table['owner']}, its owner, may publish it.", hint))
    return found
