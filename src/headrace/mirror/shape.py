"""Shape: the columns of a mirrored table, as the stream sends them, and what they are in ClickHouse. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property

import msgspec

from headrace.bus.batch import Definition
from headrace.capture.personal import DROP, KINDS
from headrace.capture.source_tables import SourceTable
from headrace.capture.source_tables import SourceType as CatalogType
from headrace.errors import Error, InvalidConfiguration
from headrace.mirror.column_type import ColumnType, SourceType
from headrace.mirror.type_mapping import column_type

RESERVED = frozenset(
    {"_operation", "_sign", "_lsn", "_ordinal", "_batch", "_xid", "_committed_at", "_version", "_is_deleted"}
)


class Column(msgspec.Struct, frozen=True, dict=True):
    """One column. `attnum` is PostgreSQL's number of it, which survives a new name; `choice` is the user's, if any."""

    name: str
    attnum: int
    oid: int
    typmod: int
    type: SourceType
    not_null: bool
    choice: str | None = None
    low_cardinality: bool = False
    codec: str = ""

    @cached_property
    def target(self) -> ColumnType:
        target = column_type(self.type, not_null=self.not_null, choice=self.choice)
        if self.low_cardinality and target.clickhouse == "String":
            return replace(target, clickhouse="LowCardinality(String)")
        return target

    def declared(self, *, key: bool) -> str:
        """Its type in ClickHouse. All but keys and arrays can be NULL: a table may lose its NOT NULL at any time."""
        return self.target.declaration(nullable=not key)

    def defined(self, *, key: bool) -> str:
        """Its type as a table that is kept has it, with how it is compressed."""
        return self.declared(key=key) + (f" CODEC({self.codec})" if self.codec else "")


class Shape(msgspec.Struct, frozen=True, dict=True):
    """The columns in PostgreSQL's order, and the names of those that make the key; no key: the whole row counts.

    `order_by` is another order of the key, `partition_by` an expression over it; empty: as the key, and none.
    `left_out` are personal columns that are not mirrored. `where` is the condition of mirrored rows; empty: all.
    """

    columns: tuple[Column, ...]
    key: tuple[str, ...]
    order_by: tuple[str, ...] = ()
    partition_by: str = ""
    left_out: tuple[str, ...] = ()
    where: str = ""

    @property
    def personal(self) -> dict[str, str]:
        """What is done with each personal column."""
        kept = {column.name: column.choice for column in self.columns if column.choice in KINDS}
        return {name: kind for name, kind in kept.items() if kind} | dict.fromkeys(self.left_out, DROP)

    @property
    def compared(self) -> tuple[Column, ...]:
        """The columns that PostgreSQL and the mirror can compare: of personal ones it has no text that we have."""
        return tuple(column for column in self.columns if column.choice not in KINDS)

    @property
    def order(self) -> tuple[str, ...]:
        """The columns of the key in the order in which rows are sorted."""
        return self.order_by or self.key

    @cached_property
    def key_places(self) -> tuple[int, ...]:
        """Where the columns of the key stand among all."""
        places = {column.name: place for place, column in enumerate(self.columns)}
        return tuple(places[name] for name in self.key)

    def to_json(self) -> str:
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str) -> Shape:
        return msgspec.json.decode(text, type=cls)

    def fits(self, definition: Definition) -> bool:
        """Whether the stream now sends exactly these columns, and tells rows apart by the same key."""
        sent = [(column.name, column.oid, column.typmod) for column in definition.columns]
        if sent != [(column.name, column.oid, column.typmod) for column in self.columns]:
            return False
        keyed = definition.identity in ("d", "i") and bool(self.key)
        return not keyed or {column.name for column in definition.columns if column.key} == set(self.key)

    def check(self, table: str) -> Shape:
        """Itself. Raises InvalidConfiguration for a column whose name the mirror needs, or whose choice is none."""
        for column in self.columns:
            if column.name in RESERVED:
                raise InvalidConfiguration(
                    f"{table} cannot be mirrored: it has a column {column.name}.",
                    "The change stream has a column of that name.",
                    "Leave the column out, or rename it.",
                )
            try:
                column.target  # noqa: B018
            except Error as error:
                raise InvalidConfiguration(
                    f"{table}.{column.name}: {error.message}", error.detail, error.hint
                ) from error
        return self


def shape_of(table: SourceTable, choices: Mapping[str, str]) -> Shape:
    """The shape of a source table. `choices` are the user's, by column. Raises InvalidConfiguration."""
    unknown = set(choices) - {column.name for column in table.columns}
    if unknown:
        raise InvalidConfiguration(
            f"{table.full_name} has no column {', '.join(sorted(unknown))}.",
            hint="Correct mirror.table in headrace.toml.",
        )
    key = table.key or table.primary_key
    columns = tuple(
        Column(
            name=column.name,
            attnum=column.attnum,
            oid=column.oid,
            typmod=column.typmod,
            type=source_type(column.type),
            not_null=column.not_null,
            # ClickHouse sorts by nothing that can hold a NULL, as the elements of an array can.
            choice="text" if column.name in key and column.type.kind == "array" else choices.get(column.name),
        )
        for column in table.columns
        if choices.get(column.name) != DROP
    )
    if hidden := [name for name in key if choices.get(name) in KINDS]:
        raise InvalidConfiguration(
            f"{table.full_name} cannot be mirrored with a personal column in its key: {', '.join(hidden)}.",
            "The key tells rows apart, and finds them again on both sides.",
            "Give the table another key, or a REPLICA IDENTITY USING INDEX on other columns.",
        )
    left_out = tuple(name for name, choice in choices.items() if choice == DROP)
    return Shape(columns, key, left_out=left_out).check(table.full_name)


def no_more_personal(was: Shape, wanted: Shape, table: SourceTable) -> set[str]:
    """Columns whose values were hidden and would be seen now, as they are called in `table`.

    Columns are told by their numbers, so that those of a renamed one are not shown under its new name. Of those that
    were left out only the names are known.
    """
    names = {column.attnum: column.name for column in table.columns}
    now = {names[column.attnum] for column in was.columns if column.choice in KINDS and column.attnum in names}
    return (now | set(was.left_out)) - wanted.personal.keys()


def source_type(catalog: CatalogType) -> SourceType:
    """What the mapping of types needs of a type in the catalog."""
    element = source_type(catalog.element) if catalog.element else None
    return SourceType(catalog.name, catalog.kind, catalog.typmod, element)


def mirrored_name(schema: str, name: str) -> str:
    """What a table is called in ClickHouse: as in PostgreSQL, with its schema before it where that is not public."""
    return name if schema == "public" else f"{schema}_{name}"
