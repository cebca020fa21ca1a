"""Source tables: which tables of PostgreSQL can be mirrored, and everything about one that its mirror depends on.

A description is what the catalog said at one moment. Nothing here changes anything, and nothing decides what a mirror
looks like.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from headrace.capture.server import Connection, connect, read_sql
from headrace.errors import InvalidConfiguration
from headrace.telemetry import logger

log = logger(__name__)

TypeKind = Literal["base", "enum", "composite", "range", "multirange", "array", "pseudo"]
_KINDS: dict[str, TypeKind] = {
    "b": "base",
    "e": "enum",
    "c": "composite",
    "r": "range",
    "m": "multirange",
    "p": "pseudo",
}


@dataclass(frozen=True, slots=True)
class SourceType:
    """A type that is not a domain. `name` is the catalog's (int4, numeric, _text), `element` an array's element type.

    `typmod` holds what stands in parentheses behind the type, as PostgreSQL encodes it; -1: nothing does. An array has
    that of its elements. `delimiter` stands between the elements when the values of this type are an array's.
    """

    oid: int
    schema: str
    name: str
    kind: TypeKind
    typmod: int
    delimiter: str = ","
    element: SourceType | None = None


@dataclass(frozen=True, slots=True)
class SourceColumn:
    """A column. `oid` and `typmod` are those of the declared type, which may be a domain; `type` is what it stands for.

    `attnum` stays the same for the life of the column, whatever it is called. `key`: part of the table's `key`.
    `missing` is the text of the value that rows have that are older than the column, None when that is null, or when
    the table was written anew for it: a default that is computed for each row does that.
    """

    name: str
    attnum: int
    oid: int
    typmod: int
    type: SourceType
    not_null: bool
    key: bool
    generated: bool
    has_default: bool
    missing: str | None


@dataclass(frozen=True, slots=True)
class Leaf:
    """A table that has rows of its own: an ordinary table, or a partition. Its rows are copied by pages.

    `kind` is r, or f for a foreign table; `persistence` p, u or t for permanent, unlogged, temporary. `identity` and
    `key` decide what the log has of a row before its change, also where changes are published as the root's.
    `filenode` changes when the table is written anew (TRUNCATE, VACUUM FULL, CLUSTER, a rewriting ALTER TABLE).
    """

    oid: int
    schema: str
    name: str
    kind: str
    persistence: str
    identity: str
    key: tuple[str, ...]
    filenode: int
    pages: int
    rows_estimate: int

    @property
    def full_name(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class SourceTable:
    """An ordinary table (`kind` r) or a partitioned one with all its leaves (p).

    `identity` is the replica identity: d the primary key, i an index, f the whole row, n nothing. `key` are the columns
    of the primary key or that index, in its order; () when there is none, and for f, which has no index. `primary_key`
    is () as well when it can be deferred. `columns` are those that logical replication sends, by attnum. `rls`: row
    level security is on. `rows_estimate` is 0 for a table that was never analyzed.
    """

    oid: int
    schema: str
    name: str
    kind: str
    identity: str
    columns: tuple[SourceColumn, ...]
    key: tuple[str, ...]
    primary_key: tuple[str, ...]
    leaves: tuple[Leaf, ...]
    rls: bool

    @property
    def full_name(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def partitions(self) -> tuple[Leaf, ...]:
        """The leaves of a partitioned table; () for an ordinary one."""
        return self.leaves if self.kind == "p" else ()

    @property
    def filenode(self) -> int:
        """Of an ordinary table; of a partitioned one a number that changes when any leaf's does, or the leaves do."""
        if self.kind == "r":
            return self.leaves[0].filenode
        return zlib.crc32(";".join(sorted(f"{leaf.oid}:{leaf.filenode}" for leaf in self.leaves)).encode())

    @property
    def pages(self) -> int:
        return sum(leaf.pages for leaf in self.leaves)

    @property
    def rows_estimate(self) -> int:
        return sum(leaf.rows_estimate for leaf in self.leaves)


async def find_tables(url: str, patterns: Sequence[str], *, exclude: Sequence[str] = ()) -> list[SourceTable]:
    """The tables that `patterns` name and `exclude` does not, by name. In both, `*` stands for anything in a part.

    `public.orders`, `public.*` and `*.*` are patterns. What cannot be mirrored is left out of a pattern with `*`, and
    logged: views, foreign, temporary and unlogged tables, and those of extensions. A partition is left out because its
    root covers it. Raises InvalidConfiguration for a name without `*` that cannot be mirrored or does not exist, and
    for what is not a pattern; Unavailable.
    """
    wanted, unwanted = [_compile(pattern) for pattern in patterns], [_compile(pattern) for pattern in exclude]
    async with connect(url) as connection:
        rows = await (await connection.execute(read_sql("list_tables"), {})).fetchall()
        names = {f"{row['schema']}.{row['name']}": row for row in rows}
        for pattern in patterns:
            if "*" not in pattern:
                _check_named(pattern, names.get(pattern))
        oids = []
        for name, row in names.items():
            if any(p.fullmatch(name) for p in unwanted) or not any(p.fullmatch(name) for p in wanted):
                continue
            reason = None if name in patterns else _reason_against(row)
            if reason is None:
                oids.append(row["oid"])
            elif row["kind"] in "rp":
                log.info("table_left_out", table=name, reason=reason)
        return await _describe(connection, oids)


async def describe_table(url: str, oid: int) -> SourceTable | None:
    """The table as it is now, None when there is none with this oid. Raises Unavailable."""
    async with connect(url) as connection:
        tables = await _describe(connection, [oid])
        return tables[0] if tables else None


async def describe_tables(url: str, oids: Collection[int]) -> list[SourceTable]:
    """Those of the tables that still exist, by name. Raises Unavailable."""
    async with connect(url) as connection:
        return await _describe(connection, oids)


def _compile(pattern: str) -> re.Pattern[str]:
    schema, dot, name = pattern.partition(".")
    if not (schema and dot and name):
        raise InvalidConfiguration(
            f"Not a name of tables: {pattern!r}.", "It has the form schema.table; * stands for anything.", "Correct it."
        )
    # What stands before the first dot is the schema: a star in it must not swallow that dot.
    parts = ("[^.]*".join(re.escape(piece) for piece in schema.split("*")), ".*".join(map(re.escape, name.split("*"))))
    return re.compile(r"\.".join(parts), re.DOTALL)


def _check_named(name: str, row: Mapping[str, Any] | None) -> None:
    """Raises InvalidConfiguration for a table that was asked for by its name and cannot be mirrored."""
    if row is None:
        raise InvalidConfiguration(
            f"There is no table {name} that could be mirrored.",
            "PostgreSQL's own schemas and the schema headrace are not mirrored.",
            "Correct the name, or create the table.",
        )
    reason = _reason_against(row)
    if reason and not row["extension"]:
        hint = f"Mirror {row['root']} instead." if row["root"] else "Leave it out."
        if row["persistence"] == "u":
            hint = f"Run ALTER TABLE {name} SET LOGGED;"
        raise InvalidConfiguration(f"{name} cannot be mirrored: it is {reason}.", hint=hint)


def _reason_against(row: Mapping[str, Any]) -> str | None:
    if row["kind"] not in "rp":
        return {"v": "a view", "m": "a materialized view", "f": "a foreign table"}[row["kind"]]
    if row["persistence"] != "p":
        return "unlogged" if row["persistence"] == "u" else "temporary"
    if row["root"]:
        return f"a partition of {row['root']}"
    if row["extension"]:
        return f"part of the extension {row['extension']}"
    return None


async def _describe(connection: Connection, oids: Collection[int]) -> list[SourceTable]:
    rows = await (await connection.execute(read_sql("describe_tables"), {"oids": list(oids)})).fetchall()
    type_oids = {column["oid"] for row in rows for column in row["columns"]}
    cursor = await connection.execute(read_sql("read_types"), {"oids": sorted(type_oids)})
    types = {row["oid"]: row for row in await cursor.fetchall()}
    return [_read_table(row, types) for row in rows]


def _read_table(row: Mapping[str, Any], types: Mapping[int, Mapping[str, Any]]) -> SourceTable:
    key = tuple(row["key"])
    columns = tuple(
        SourceColumn(type=_resolve(types, column["oid"], column["typmod"]), key=column["name"] in key, **column)
        for column in row["columns"]
    )
    leaves = tuple(Leaf(**(leaf | {"key": tuple(leaf["key"])})) for leaf in row["leaves"])
    return SourceTable(
        oid=row["oid"],
        schema=row["schema"],
        name=row["name"],
        kind=row["kind"],
        identity=row["identity"],
        columns=columns,
        key=key,
        primary_key=tuple(row["primary_key"]),
        leaves=leaves,
        rls=row["rls"],
    )


def _resolve(types: Mapping[int, Mapping[str, Any]], oid: int, typmod: int) -> SourceType:
    """What the type stands for: domains are replaced by what they are over, also inside of arrays."""
    row = types[oid]
    if row["kind"] == "d":
        return _resolve(types, row["domain_of"], row["domain_typmod"])
    element = _resolve(types, row["array_of"], typmod) if row["array_of"] else None
    kind = "array" if element else _KINDS[row["kind"]]
    return SourceType(oid, row["schema"], row["name"], kind, typmod, row["delimiter"], element)
