"""PostgreSQL as the oracle of the mirror: a table and what ClickHouse shows of it, value by value.

Nothing of the mirror's own mapping of types is used here: what is judged must not choose the measure. The texts to
compare are made from what both catalogs say of a column. Rows are compared as a multiset: a doubled row is seen too.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import TupleRow

from headrace.warehouse.client import ClickHouse

Row = tuple[str | None, ...]
SHOWN_MAX = 8
SHOWN_LETTERS = 60

_COLUMNS = """
SELECT a.attname, t.typname, t.typcategory = 'A', i.indrelid IS NOT NULL
FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid
JOIN pg_class c ON c.oid = a.attrelid
LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisunique AND a.attnum = ANY (i.indkey)
  AND (i.indisreplident OR (i.indisprimary AND c.relreplident IN ('d', 'f')))
WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
ORDER BY a.attnum
"""
_EXACT = {"output_format_json_escape_forward_slashes": 0, "output_format_json_quote_64bit_integers": 0}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the source. `key`: a row is told from others by it."""

    name: str
    type: str
    array: bool
    key: bool


@dataclass(frozen=True, slots=True)
class Content:
    """The rows of a table as texts, and how often each is there."""

    columns: tuple[Column, ...]
    rows: Counter[Row]

    def difference(self, mirror: Counter[Row]) -> str:
        """What the mirror lacks and what it has too much, the first few by key; empty: they are equal."""
        if self.rows == mirror:
            return ""
        missing, surplus = self.rows - mirror, mirror - self.rows
        key = [place for place, column in enumerate(self.columns) if column.key]
        lines = [f"{self.rows.total()} rows in PostgreSQL, {mirror.total()} in ClickHouse;"]
        lines += [f"{missing.total()} missing, {surplus.total()} too many"]
        others: dict[Row, list[Row]] = {}
        for row in surplus.elements() if key else ():
            others.setdefault(_of(row, key), []).append(row)
        for number, row in enumerate(sorted(missing, key=_sortable)):
            there = others.pop(_of(row, key), []) if key else []
            if number < SHOWN_MAX:
                lines.append(self._changed(row, there[0], key) if there else f"  missing  {self._shown(row)}")
                lines += [f"  too many {self._shown(again)}" for again in there[1:]]
        left = [row for rows in others.values() for row in rows] if key else list(surplus)
        lines += [f"  too many {self._shown(row)} × {surplus[row]}" for row in sorted(left, key=_sortable)[:SHOWN_MAX]]
        return "\n".join(lines)

    def _changed(self, row: Row, other: Row, key: Sequence[int]) -> str:
        differ = [
            f"{column.name}: {_short(mine)} in PostgreSQL, {_short(its)} in ClickHouse"
            for column, mine, its in zip(self.columns, row, other, strict=True)
            if mine != its
        ]
        return f"  at {', '.join(_short(row[place]) for place in key)}: " + "; ".join(differ)

    def _shown(self, row: Row) -> str:
        return ", ".join(f"{column.name}={_short(value)}" for column, value in zip(self.columns, row, strict=True))


def mirror_name(table: str) -> str:
    """What `schema.table` is called in ClickHouse."""
    schema, _, name = table.partition(".")
    return name if schema == "public" else f"{schema}_{name}"


def quoted(name: str) -> str:
    """A name of PostgreSQL in an SQL text."""
    return '"' + name.replace('"', '""') + '"'


def quoted_table(table: str) -> str:
    return ".".join(quoted(part) for part in table.split(".", 1))


async def read_source(url: str, table: str) -> Content:
    """The rows of `schema.table` now."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("SET timezone = 'UTC'")
        await connection.execute("SET extra_float_digits = 1")
        described = await (await connection.execute(_COLUMNS, (quoted_table(table),))).fetchall()
        columns = tuple(Column(*row) for row in described)
        texts = ", ".join(_source_text(column) for column in columns)
        cursor = await connection.execute(f"SELECT {texts} FROM {quoted_table(table)}".encode())
        return Content(columns, _counted(columns, await cursor.fetchall()))


async def read_mirror(clickhouse: ClickHouse, table: str, columns: Sequence[Column]) -> Counter[Row]:
    """The rows of the view, in the order of the source's columns. Fails when the columns are others."""
    view = f"`{clickhouse.database}`.{_quoted(mirror_name(table))}"
    texts = await _texts(clickhouse, view, table, columns)
    return _counted(columns, await clickhouse.rows(f"SELECT {', '.join(texts)} FROM {view}", settings=_EXACT))


async def read_sums(clickhouse: ClickHouse, table: str, columns: Sequence[Column]) -> Counter[Row]:
    """What the change stream adds up to: each row with the sum of its signs, where that is not 0."""
    view = f"`{clickhouse.database}`.{_quoted(mirror_name(table) + '_changes')}"
    texts = await _texts(clickhouse, view, table, columns)
    named = ", ".join(f"{text} AS _text_{place}" for place, text in enumerate(texts))
    sql = f"SELECT {named}, sum(toInt64(_sign)) AS _sum FROM {view} GROUP BY ALL HAVING _sum != 0"
    sums: Counter[Row] = Counter()
    for *values, sum_ in await clickhouse.rows(sql, settings=_EXACT):
        sums[_canonical(columns, values)] += sum_
    return sums


async def difference(url: str, clickhouse: ClickHouse, table: str) -> str:
    """How the mirror of `schema.table` differs; empty: not at all. Nobody writes to the table meanwhile."""
    source = await read_source(url, table)
    found = source.difference(await read_mirror(clickhouse, table, source.columns))
    return f"{table}: {found}" if found else ""


async def assert_mirrored(url: str, clickhouse: ClickHouse, tables: Sequence[str]) -> None:
    """Each of the tables is in ClickHouse what it is in PostgreSQL."""
    differences = [await difference(url, clickhouse, table) for table in tables]
    assert not any(differences), "\n".join(filter(None, differences))


async def assert_changes_add_up(url: str, clickhouse: ClickHouse, tables: Sequence[str]) -> None:
    """The signs of each table's change stream add up to its rows: for tables that were mirrored while empty."""
    for table in tables:
        source = await read_source(url, table)
        found = source.difference(await read_sums(clickhouse, table, source.columns))
        assert not found, f"the changes of {table}: {found}"


async def _texts(clickhouse: ClickHouse, view: str, table: str, columns: Sequence[Column]) -> list[str]:
    """What to select of the columns. The mirror's bookkeeping in the change stream is passed over."""
    types = {row[0]: row[1] for row in await clickhouse.rows(f"DESCRIBE TABLE {view}")}
    known = {column.name for column in columns}
    found = {name for name in types if name in known or not name.startswith("_")}
    assert found == known, f"{table}: {sorted(known)} in PostgreSQL, {sorted(found)} in ClickHouse"
    return [_mirror_text(_quoted(column.name), types[column.name]) for column in columns]


def _source_text(column: Column) -> str:
    name = quoted(column.name)
    match column.type:
        case "timestamptz" | "timestamp":
            local = f"{name} AT TIME ZONE 'UTC'" if column.type == "timestamptz" else name
            return f"CASE WHEN isfinite({name}) THEN to_char({local}, 'YYYY-MM-DD HH24:MI:SS.US') ELSE {name}::text END"
        case "bpchar":
            # A cast would cut the spaces at the end.
            return f"CASE WHEN {name} IS NOT NULL THEN format('%s', {name}) END"
        case "bytea":
            return f"upper(encode({name}, 'hex'))"
        case "_text" | "_int4" | "_int8" | "_bool" | "_uuid":
            return f"to_json({name})::text"
    return f"{name}::text"


def _mirror_text(name: str, type_: str) -> str:
    if type_.startswith("Array("):
        return f"toJSONString({name})"
    inner = type_.removeprefix("LowCardinality(").removeprefix("Nullable(")
    if inner.startswith("Decimal("):
        scale = inner.split(",")[1].split(")")[0].strip()
        return f"toNullable(toDecimalString({name}, {scale}))"
    return f"CAST({name}, 'Nullable(String)')"


def _counted(columns: Sequence[Column], rows: Sequence[TupleRow] | Sequence[Sequence[Any]]) -> Counter[Row]:
    return Counter(_canonical(columns, row) for row in rows)


def _canonical(columns: Sequence[Column], row: Sequence[Any]) -> Row:
    """Arrays come as JSON, or as PostgreSQL's text where the mirror keeps that: both become one JSON text."""
    return tuple(
        value if value is None or not column.array else json.dumps(_elements(value))
        for column, value in zip(columns, row, strict=True)
    )


def _elements(text: str) -> list[Any]:
    """The elements of an array of one dimension, as JSON or as PostgreSQL writes them; all but null as text."""
    if text.startswith("["):
        return [element if element is None else _scalar(element) for element in json.loads(text)]
    elements: list[Any] = []
    letters, place, quoted_ = "", 1, False
    while text != "{}" and place < len(text):
        letter = text[place]
        if letter == '"':
            place += 1
            while text[place] != '"':
                place += text[place] == "\\"
                letters += text[place]
                place += 1
            quoted_ = True
        elif letter in ",}":
            elements.append(None if letters == "NULL" and not quoted_ else letters)
            letters, quoted_ = "", False
        else:
            letters += letter
        place += 1
    return elements


def _scalar(element: Any) -> str:
    return ("t" if element else "f") if isinstance(element, bool) else str(element)


def _of(row: Row, places: Sequence[int]) -> Row:
    return tuple(row[place] for place in places)


def _sortable(row: Row) -> list[tuple[bool, int, str]]:
    """Numbers by their size, which is how a person looks for them."""
    return [(value is None, len(value or ""), value or "") for value in row]


def _short(value: str | None) -> str:
    if value is None:
        return "NULL"
    return repr(value) if len(value) <= SHOWN_LETTERS else f"{value[:SHOWN_LETTERS]!r}… ({len(value)} letters)"


def _quoted(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"
