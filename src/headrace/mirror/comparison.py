"""The SQL that compares a mirrored table with its source. Text in, text out: nothing here runs one.

A row's hash is the same on both sides: the first 64 bits of the MD5 of the canonical texts of its columns, each with
its length before it, so that no two rows have one text by accident. Sums of hashes do not depend on an order, and
are taken modulo 2^64.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from headrace.mirror.shape import Column, Shape
from headrace.mirror.statements import Objects, escaped, quoted

MODULUS: Final = 1 << 64
Key = tuple[str, ...]

_ORDERED: Final = ("bool", "int2", "int4", "int8", "oid", "numeric", "date", "timestamp", "timestamptz", "bytea")
_ORDERED_TEXTS: Final = ("text", "varchar")
_NEVER_KEYS: Final = ("float4", "float8")  # whose NaN is equal to itself on one side only


def comparable_by_key(shape: Shape) -> bool:
    """Whether rows can be looked up by their key on both sides. Other tables are compared as a multiset."""
    columns = [shape.columns[place] for place in shape.key_places]
    return bool(columns) and all(
        column.type.kind != "array" and column.type.name not in _NEVER_KEYS for column in columns
    )


def same_order(shape: Shape, byte_order: Sequence[bool]) -> bool:
    """Whether both sides have the keys in one order. `byte_order`: PostgreSQL orders a key column's texts by bytes."""
    for place, bytewise in zip(shape.key_places, byte_order, strict=True):
        column = shape.columns[place]
        texts = column.type.name in _ORDERED_TEXTS and bytewise
        # What is kept as text has an order of its own, unless it is text.
        typed = column.type.name in _ORDERED and (column.target.clickhouse != "String" or column.type.name == "bytea")
        if column.type.kind != "base" or not (texts or (typed and column.choice is None)):
            return False
    return True


def source_column(column: Column) -> str:
    """PostgreSQL: the canonical text of a column of the row `source`."""
    return column.target.source_text('source."' + column.name.replace('"', '""') + '"')


def source_hash(shape: Shape) -> str:
    """PostgreSQL: the hash of the row `source`, as bigint."""
    texts = " || ".join(
        f"coalesce('V' || length({text}) || ':' || {text}, 'N')" for text in map(source_column, shape.columns)
    )
    return f"(('x' || substr(md5({texts}), 1, 16))::bit(64)::bigint)"


def mirror_column(column: Column) -> str:
    """ClickHouse: the canonical text of a column of the row `held`."""
    return column.target.mirror_text(f"held.{quoted(column.name)}")


def mirror_hash(shape: Shape) -> str:
    """ClickHouse: the hash of the row `held`, as Int64."""
    texts = ", ".join(
        f"ifNull(concat('V', toString(lengthUTF8({text})), ':', {text}), 'N')"
        for text in map(mirror_column, shape.columns)
    )
    # Two arguments at least, which concat wants.
    return f"reinterpretAsInt64(reverse(substring(MD5(concat('', {texts})), 1, 8)))"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The ClickHouse statements for one generation of a mirrored table."""

    objects: Objects

    @property
    def shape(self) -> Shape:
        return self.objects.shape

    @property
    def key(self) -> list[Column]:
        return [self.shape.columns[place] for place in self.shape.key_places]

    def total(self, where: str) -> str:
        """How many rows meet a condition, and the sum of their hashes."""
        rows = f"SELECT {mirror_hash(self.shape)} AS h FROM {self._held()} WHERE {where}"
        return f"SELECT count(), sum(h) FROM ({rows})"

    def whole(self) -> str:
        """The same of all rows, of a table with a key or without."""
        if self.shape.key:
            return self.total("1")
        rows = f"SELECT {mirror_hash(self.shape)} AS h, held._count AS n FROM {self._held()} WHERE held._count > 0"
        return f"SELECT toUInt64(sum(n)), sum(h * n) FROM ({rows})"

    def keys(self, after: Key | None, upto: Key | None, rows_max: int, *, skipped: int = 0) -> str:
        """Keys of a range, in ClickHouse's order."""
        names = ", ".join(f"held.{quoted(column.name)}" for column in self.key)
        return (
            f"SELECT {', '.join(self._texts())} FROM {self._held()} WHERE {self.between(after, upto)} "
            f"ORDER BY {names} LIMIT {rows_max} OFFSET {skipped}"
        )

    def differing(self, listed: str, where: str) -> str:
        """The rows that are not the same among those `listed` of the source and those that meet a condition here.

        Columns: missing, extra or changed; the hash there and here; the texts of the key.
        """
        texts = [f"if(there.is_there, there.k{place}, here.k{place})" for place in range(len(self.key))]
        on = " AND ".join(f"there.v{place} = here.v{place}" for place in range(len(self.key)))
        return (
            "SELECT multiIf(NOT here.is_here, 'missing', NOT there.is_there, 'extra', 'changed'), there.h, here.h, "
            f"{', '.join(texts)} FROM ({self._listed(listed)}) AS there "
            f"FULL JOIN ({self._here(where)}) AS here ON {on} "
            "WHERE NOT here.is_here OR NOT there.is_there OR there.h != here.h"
        )

    def column_hashes(self, keys: Sequence[Key]) -> str:
        """For rows with these keys: the MD5 of each column's text, empty for NULL."""
        hashes = ", ".join(f"ifNull(lower(hex(MD5({text}))), '')" for text in map(mirror_column, self.shape.columns))
        return f"SELECT {hashes} FROM {self._held()} WHERE {self.among(keys)}"

    def between(self, after: Key | None, upto: Key | None) -> str:
        """The condition for the keys behind `after` up to and with `upto`; None: no bound."""
        names = [f"held.{quoted(column.name)}" for column in self.key]
        parts = []
        if after is not None:
            parts.append(f"tuple({', '.join(names)}) > tuple({', '.join(self._literals(after))})")
        if upto is not None:
            parts.append(f"tuple({', '.join(names)}) <= tuple({', '.join(self._literals(upto))})")
        return " AND ".join([*self._narrowed(names, after, upto), *parts]) or "1"

    def among(self, keys: Sequence[Key]) -> str:
        """The condition for the keys of a list."""
        lines = "\n".join(json.dumps([*key, "0"]) for key in keys)
        return self.among_listed(lines)

    def among_listed(self, listed: str) -> str:
        """The condition for the keys of a list as the source gives it."""
        names = ", ".join(f"held.{quoted(column.name)}" for column in self.key)
        values = ", ".join(f"assumeNotNull(v{place})" for place in range(len(self.key)))
        known = " AND ".join(f"isNotNull(v{place})" for place in range(len(self.key)))
        return f"({names}) IN (SELECT {values} FROM ({self._listed(listed)}) WHERE {known})"

    def tombstones(self, keys: Sequence[Key], version: int) -> str:
        """Marks the rows with these keys as deleted."""
        lines = "\n".join(json.dumps([*key, "0"]) for key in keys)
        names = ", ".join(quoted(column.name) for column in self.key)
        values = ", ".join(f"assumeNotNull(v{place})" for place in range(len(self.key)))
        known = " AND ".join(f"isNotNull(v{place})" for place in range(len(self.key)))
        return (
            f"INSERT INTO {self.objects.rows} ({names}, _version, _is_deleted) "
            f"SELECT {values}, toUInt128('{version}'), 1 FROM ({self._listed(lines)}) WHERE {known}"
        )

    # parts

    def _narrowed(self, names: Sequence[str], after: Key | None, upto: Key | None) -> list[str]:
        """What the index can use: the columns that both bounds have in common, and the bounds of the next one."""
        lower, upper = self._literals(after or ()), self._literals(upto or ())
        same = 0
        while after and upto and same < len(names) - 1 and after[same] == upto[same]:
            same += 1
        parts = [f"{names[place]} = {lower[place]}" for place in range(same)]
        parts += [f"{names[same]} >= {lower[same]}"] if lower else []
        return parts + ([f"{names[same]} <= {upper[same]}"] if upper else [])

    def _literals(self, key: Key) -> list[str]:
        return [
            f"assumeNotNull({column.target.value(_nullable(text))})"
            for column, text in zip(self.key, key, strict=False)
        ]

    def _held(self) -> str:
        return f"{self.objects.rows} AS held FINAL"

    def _here(self, where: str) -> str:
        values = ", ".join(
            f"CAST(held.{quoted(column.name)}, '{escaped(_plain(column))}') AS v{place}"
            for place, column in enumerate(self.key)
        )
        texts = ", ".join(f"{text} AS k{place}" for place, text in enumerate(self._texts()))
        return (
            f"SELECT {values}, {texts}, {mirror_hash(self.shape)} AS h, true AS is_here "
            f"FROM {self._held()} WHERE {where}"
        )

    def _listed(self, listed: str) -> str:
        """The rows that the source listed, or the keys of a list, with values as they are here."""
        structure = ", ".join([*(f"k{place} Nullable(String)" for place in range(len(self.key))), "h Int64"])
        values = ", ".join(
            f"CAST({self._value(column, f'k{place}')}, '{escaped(_plain(column))}') AS v{place}"
            for place, column in enumerate(self.key)
        )
        texts = ", ".join(f"assumeNotNull(k{place}) AS k{place}" for place in range(len(self.key)))
        source = f"format(JSONCompactEachRow, '{structure}', '{escaped(listed)}')"
        return f"SELECT {values}, {texts}, h, true AS is_there FROM {source} AS given"

    def _value(self, column: Column, text: str) -> str:
        return column.target.value(f"given.{text}")

    def _texts(self) -> list[str]:
        return [_key_text(column) for column in self.key]


def _key_text(column: Column) -> str:
    """ClickHouse: a text of a key column that PostgreSQL reads, and that `value` does."""
    held = f"held.{quoted(column.name)}"
    match column.type.name:
        case _ if column.choice is not None:
            return f"assumeNotNull({mirror_column(column)})"
        case "bool":
            return f"if({held}, 't', 'f')"
        case "bytea":
            return f"concat('\\\\x', lower(hex({held})))"
        case "timestamptz":
            return f"concat(toString({held}), '+00')"
    return f"assumeNotNull({mirror_column(column)})"


def _plain(column: Column) -> str:
    """The type of a key column as the two sides of a join have it."""
    named = column.target.clickhouse
    if named.startswith("LowCardinality("):
        named = named.removeprefix("LowCardinality(").removesuffix(")")
    return f"Nullable({named})"


def _nullable(text: str) -> str:
    return f"CAST('{escaped(text)}', 'Nullable(String)')"
