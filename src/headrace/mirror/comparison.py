"""The SQL that finds rows by their keys, and compares a mirrored table with its source. Text in, text out.

A row's hash is the same on both sides: the first 64 bits of the MD5 of the canonical texts of its columns, each with
its length before it, so that no two rows have one text by accident. Sums of hashes do not depend on an order, and
are taken modulo 2^64.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from headrace.mirror.shape import Column, Shape
from headrace.mirror.staged import DELETE, IN_SLICE, PLACE, escaped, quoted
from headrace.mirror.statements import Objects

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
    texts = (
        " || ".join(
            f"coalesce('V' || length({text}) || ':' || {text}, 'N')" for text in map(source_column, shape.compared)
        )
        or "''"
    )
    return f"(('x' || substr(md5({texts}), 1, 16))::bit(64)::bigint)"


def mirror_column(column: Column) -> str:
    """ClickHouse: the canonical text of a column of the row `held`."""
    return column.target.mirror_text(f"held.{quoted(column.name)}")


def mirror_hash(shape: Shape) -> str:
    """ClickHouse: the hash of the row `held`, as Int64."""
    texts = ", ".join(
        f"ifNull(concat('V', toString(lengthUTF8({text})), ':', {text}), 'N')"
        for text in map(mirror_column, shape.compared)
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
        return self._joined(self._listed(listed), where)

    def column_hashes(self, keys: Sequence[Key]) -> str:
        """For rows with these keys: the MD5 of each column's text, empty for NULL."""
        hashes = ", ".join(f"ifNull(lower(hex(MD5({text}))), '')" for text in map(mirror_column, self.shape.compared))
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
        names = ", ".join(f"held.{quoted(column.name)}" for column in self.key)
        return f"({names}) IN (SELECT {self._known_values()} FROM ({self._keys(keys)}) WHERE {self._known()})"

    def tombstones(self, version: int) -> str:
        """Marks the rows as deleted whose keys are its data, as `listed_keys` gives them."""
        names = ", ".join(quoted(column.name) for column in self.key)
        return (
            f"INSERT INTO {self.objects.rows} ({names}, _version, _is_deleted) "
            f"SELECT {self._known_values()}, toUInt128('{version}'), 1 FROM ({self._given()}) WHERE {self._known()} "
            "FORMAT JSONCompactEachRow"
        )

    def doubtful_keys(self, after: Key | None, rows_max: int) -> str:
        """Keys behind `after`, in order, to which a change of a slice that left values out brought a row by a change of
        its key, or at which no row was ever held.
        """
        names = ", ".join(f"held.{quoted(column.name)}" for column in self.key)
        keys = self._numbered("k")
        changed = f"SELECT {keys}, max(staged_moved) AS moved FROM ({self._left_out('c')}) GROUP BY {keys}"
        known = f"SELECT {names} FROM {self.objects.rows} AS held WHERE ({names}) IN (SELECT {keys} FROM changed)"
        return (
            f"WITH changed AS ({changed}) SELECT {', '.join(self._texts())} FROM (SELECT {self._as_named()} "
            f"FROM (SELECT {keys} FROM changed WHERE moved OR ({keys}) NOT IN ({known})) AS staged) AS held "
            f"WHERE {self.between(after, None)} ORDER BY {names} LIMIT {rows_max}"
        )

    def moved_keys(self, changes_max: int) -> str:
        """The changes of a slice that gave rows another key and left values out, in order. Two rows for each: the key
        that the row had before its batch, and its new key.
        """
        sides = " UNION ALL ".join(
            f"SELECT {self._as_named()}, {PLACE}, {sign} AS _sign FROM ({self._left_out(prefix)}) AS staged "
            "WHERE staged_moved"
            for sign, prefix in ((-1, "root"), (1, "c"))
        )
        return (
            f"SELECT {', '.join(self._texts())} FROM ({sides}) AS held "
            f"ORDER BY {PLACE}, _sign LIMIT 1 BY {PLACE}, _sign LIMIT {2 * changes_max}"
        )

    def _left_out(self, prefix: str) -> str:
        """The staged changes of a slice that left values out: one of their keys as `k<n>`, whether they moved, where.

        Of a row that began in its batch, and has a chain, all values are known there.
        """
        key = ", ".join(f"assumeNotNull({prefix}{at}) AS k{place}" for place, at in enumerate(self.shape.key_places))
        return (
            f"SELECT {key}, _moved AS staged_moved, {PLACE} FROM {self.objects.staging} "
            f"WHERE {IN_SLICE} AND notEmpty(_unchanged) AND _kind != {DELETE} AND _chain = 0"
        )

    def _as_named(self) -> str:
        # Qualified: a column of the application's can be called like one of ours.
        return ", ".join(f"staged.k{place} AS {quoted(column.name)}" for place, column in enumerate(self.key))

    # by way of a table of what the source listed

    @property
    def _compared(self) -> str:
        objects = self.objects
        return f"{quoted(objects.database)}.{quoted(f'{objects.stem}__compared_{objects.generation}')}"

    def make_compared(self) -> str:
        """Makes the table that takes what the source listed, in the order of the rows; a partition for each run."""
        columns = [f"{quoted(column.name)} {column.declared(key=True)}" for column in self.key]
        texts = [f"_compared_k{place} String" for place in range(len(self.key))]
        return (
            f"CREATE TABLE IF NOT EXISTS {self._compared} (_compared_run String, _compared_h Int64, "
            f"{', '.join([*columns, *texts])}) ENGINE = ReplacingMergeTree PARTITION BY _compared_run "
            f"ORDER BY ({', '.join(quoted(column.name) for column in self.key)})"
        )

    def compared_runs(self) -> str:
        return f"SELECT DISTINCT _compared_run FROM {self._compared}"

    def drop_compared(self, run: str) -> str:
        """Forgets what the source listed in one run."""
        return f"ALTER TABLE {self._compared} DROP PARTITION '{escaped(run)}'"

    def keep_listed(self, run: str) -> str:
        """Puts rows that the source listed, which are its data, into that table. Repeating it adds nothing."""
        names = ", ".join(quoted(column.name) for column in self.key)
        texts = ", ".join(f"_compared_k{place}" for place in range(len(self.key)))
        return (
            f"INSERT INTO {self._compared} (_compared_run, _compared_h, {names}, {texts}) "
            f"SELECT '{escaped(run)}', h, {self._known_values()}, {self._numbered('k')} "
            f"FROM ({self._given()}) WHERE {self._known()} FORMAT JSONCompactEachRow"
        )

    def not_kept(self, listed: str) -> str:
        """Those of the listed rows whose key no row here can have; columns as in `differing`."""
        source = f"({self._listed(listed)}) WHERE NOT ({self._known()})"
        return f"SELECT 'missing', h, toInt64(0), {self._numbered('k')} FROM {source}"

    def part_end(self, run: str, after: Key | None, rows_max: int) -> str:
        """The key up to which neither side has more than so many rows behind `after`; no row: there are no more."""
        names = ", ".join(f"held.{quoted(column.name)}" for column in self.key)
        values = ", ".join(f"held.{quoted(column.name)} AS o{place}" for place, column in enumerate(self.key))
        texts = ", ".join(f"{text} AS k{place}" for place, text in enumerate(self._texts()))
        ends = [
            f"(SELECT {values}, {texts} FROM {source} AND {self.between(after, None)} "
            f"ORDER BY {names} LIMIT 1 OFFSET {rows_max})"
            for source in (f"{self._held()} WHERE 1", self._held_compared(run))
        ]
        return f"SELECT {self._numbered('k')} FROM ({' UNION ALL '.join(ends)}) ORDER BY {self._numbered('o')} LIMIT 1"

    def differing_part(self, run: str, after: Key | None, upto: Key | None) -> str:
        """What differs between that table and the rows in a range; columns as in `differing`."""
        between = self.between(after, upto)
        texts = ", ".join(f"held._compared_k{place} AS k{place}" for place in range(len(self.key)))
        there = (
            f"SELECT {self._held_values()}, {texts}, held._compared_h AS h, true AS is_there "
            f"FROM {self._held_compared(run)} AND {between}"
        )
        return self._joined(there, between)

    def _held_compared(self, run: str) -> str:
        return f"{self._compared} AS held FINAL WHERE held._compared_run = '{escaped(run)}'"

    # parts

    def _joined(self, there: str, where: str) -> str:
        texts = [f"if(there.is_there, there.k{place}, here.k{place})" for place in range(len(self.key))]
        on = " AND ".join(f"there.v{place} = here.v{place}" for place in range(len(self.key)))
        return (
            "SELECT multiIf(NOT here.is_here, 'missing', NOT there.is_there, 'extra', 'changed'), there.h, here.h, "
            f"{', '.join(texts)} FROM ({there}) AS there FULL JOIN ({self._here(where)}) AS here ON {on} "
            "WHERE NOT here.is_here OR NOT there.is_there OR there.h != here.h"
        )

    def _known(self) -> str:
        return " AND ".join(f"isNotNull(v{place})" for place in range(len(self.key)))

    def _known_values(self) -> str:
        return ", ".join(f"assumeNotNull(v{place})" for place in range(len(self.key)))

    def _numbered(self, prefix: str) -> str:
        return ", ".join(f"{prefix}{place}" for place in range(len(self.key)))

    def _held_values(self) -> str:
        return ", ".join(
            f"CAST(held.{quoted(column.name)}, '{escaped(_plain(column))}') AS v{place}"
            for place, column in enumerate(self.key)
        )

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
        texts = ", ".join(f"{text} AS k{place}" for place, text in enumerate(self._texts()))
        return (
            f"SELECT {self._held_values()}, {texts}, {mirror_hash(self.shape)} AS h, true AS is_here "
            f"FROM {self._held()} WHERE {where}"
        )

    def _keys(self, keys: Sequence[Key]) -> str:
        return self._listed(listed_keys(keys))

    def _listed(self, listed: str) -> str:
        """The rows that the source listed, or the keys of a list, with values as they are here."""
        return self._typed(f"format(JSONCompactEachRow, '{escaped(self._structure())}', '{escaped(listed)}')")

    def _given(self) -> str:
        """The same, of the data of an INSERT."""
        return self._typed(f"(SELECT * FROM input('{escaped(self._structure())}'))")

    def _typed(self, source: str) -> str:
        values = ", ".join(
            f"CAST({column.target.value(f'given.k{place}')}, '{escaped(_plain(column))}') AS v{place}"
            for place, column in enumerate(self.key)
        )
        texts = ", ".join(f"assumeNotNull(given.k{place}) AS k{place}" for place in range(len(self.key)))
        return f"SELECT {values}, {texts}, given.h AS h, true AS is_there FROM {source} AS given"

    def _structure(self) -> str:
        return ", ".join([*(f"k{place} Nullable(String)" for place in range(len(self.key))), "h Int64"])

    def _texts(self) -> list[str]:
        return [_key_text(column) for column in self.key]


def chunks(keys: Sequence[Key], size: int) -> Iterator[Sequence[Key]]:
    """The keys, so many at a time."""
    for begin in range(0, len(keys), size):
        yield keys[begin : begin + size]


def listed_keys(keys: Sequence[Key]) -> str:
    """Keys as the source lists rows: a JSON array for each, a line each; without hashes."""
    return "\n".join(json.dumps([*key, "0"]) for key in keys)


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
