"""Every type of PostgreSQL: a value is in ClickHouse exactly, or it is flagged. Both databases say so, not this test.

PostgreSQL writes each value with COPY, and a text that stands for it; ClickHouse reads both as the first copy does and
as the stream does, and must find the same text. What must fit is a condition in PostgreSQL's SQL.
"""

from __future__ import annotations

import datetime as dt
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.capture.column_types import SESSION
from headrace.embedded.postgres import EmbeddedPostgres
from headrace.mirror.column_type import SETTINGS, ColumnType, SourceType
from headrace.mirror.type_mapping import column_type
from headrace.warehouse.client import ClickHouse

Connection = psycopg.AsyncConnection[Any]
DEFINITIONS = """
CREATE TYPE pg_temp.mood AS ENUM ('happy', 'very sad', 'it''s, "so" \\ {so}', 'NULL');
CREATE TYPE pg_temp.pair AS (number int, word text);
CREATE DOMAIN pg_temp.price AS numeric(12, 2);
CREATE DOMAIN pg_temp.words AS text[];
"""
QUOTED = '"c"'
YEARS = "c >= '1900-01-01' AND c < '2300-01-01'"
FLAT = "c = '{}' OR (array_ndims(c) = 1 AND array_lower(c, 1) = 1)"
FEW = settings(
    deadline=None,
    max_examples=3,  # each is a table of many values
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@dataclass(frozen=True, slots=True)
class Case:
    """A column type, values that are always tried, more of them, and which must fit. `json`: also compared as JSON."""

    type: str
    clickhouse: str
    always: Sequence[str]
    more: st.SearchStrategy[str] | None = None
    fits: str = "true"
    not_null: bool = True
    json: bool = False
    choice: str | None = None

    def __str__(self) -> str:
        return f"{self.type}{' as ' + self.choice if self.choice else ''}{'' if self.not_null else ' or null'}"


def array(elements: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """One dimension mostly; also two, and a lower bound of its own."""

    def quoted(element: str | None) -> str:
        return "NULL" if element is None else '"' + element.replace("\\", "\\\\").replace('"', '\\"') + '"'

    flat = st.lists(st.none() | elements, max_size=5).map(lambda row: "{" + ",".join(map(quoted, row)) + "}")
    filled = flat.filter(lambda text: text != "{}")
    return st.one_of(flat, flat, flat, filled.map(lambda text: "{" + text + "," + text + "}")) | st.lists(
        elements, min_size=1, max_size=4
    ).map(lambda row: f"[0:{len(row) - 1}]=" + "{" + ",".join(map(quoted, row)) + "}")


def integers(bits: int) -> st.SearchStrategy[str]:
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1).map(str)


def decimals(precision: int, scale: int) -> st.SearchStrategy[str]:
    return st.integers(-(10**precision) + 1, 10**precision - 1).map(lambda number: f"{number}e-{scale}")


def single(bits: int) -> str:
    return repr(struct.unpack("f", struct.pack("I", bits))[0])


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]) | st.sampled_from('\\",{}\n\tN '))
TEXTS = [
    "",
    " ",
    "NULL",
    "null",
    "\\N",
    "\\",
    "\\\\",
    '"',
    "a,b",
    "{}",
    "{",
    "\t\n\r\b\f\v",
    "naïve 💧",
    "'",
    "x" * 5000,
]
TEXT_ARRAYS = [
    "{}",
    "{NULL}",
    '{"NULL",null,""}',
    '{"\\\\","\\"","a,b","{}","\n\t\r\v\f"," "}',
    "{{1,2},{3,4}}",
    "[2:3]={a,b}",
    '{"{x}"}',
    '{"[1:1]={x}"}',
    "{" + ",".join(f'"{number} \\\\ \\""' for number in range(3000)) + "}",
]
ANY_YEAR = st.dates().map(str) | st.dates(dt.date(1880, 1, 1), dt.date(2320, 1, 1)).map(str)
ANY_TIME = st.datetimes().map(str) | st.datetimes(dt.datetime(1899, 1, 1), dt.datetime(2301, 1, 1)).map(str)
DAYS = ["1900-01-01", "1899-12-31", "2299-12-31", "2300-01-01", "0044-03-15 BC", "0001-01-01", "9999-12-31", "infinity"]
MOMENTS = [
    *DAYS,
    "-infinity",
    "294276-12-31 23:59:59.999999",
    "4713-01-01 00:00:00 BC",
    "1900-01-01 00:00:00.000001",
    "2299-12-31 23:59:59.999999",
    "1969-12-31 23:59:59.999999",
    "2024-02-29 12:00:00.1",
    "2024-03-31 02:30:00",
    "20240-01-01",
]
UUIDS = st.uuids().map(str)
NINES = "9" * 66 + "." + "9" * 10
REALS = ["NaN", "Infinity", "-Infinity", "-0", "0", "1e-45", "3.4028235e38", "7.038531e-26", "16777216", "1e10"]

CASES = [
    Case("bool", "Bool", ["t", "f"], json=True),
    Case("int2", "Int16", ["-32768", "32767", "0"], integers(16), json=True),
    Case("int4", "Int32", ["-2147483648", "2147483647"], integers(32), json=True),
    Case("int8", "Int64", ["-9223372036854775808", "9223372036854775807"], integers(64)),
    Case("oid", "UInt32", ["0", "4294967295"]),
    Case("float4", "Float32", REALS, st.integers(0, 0x7F7FFFFF).map(single)),
    Case("float8", "Float64", [*REALS[:5], "5e-324", "1.7976931348623157e308"], st.floats().map(repr)),
    Case("numeric(12, 2)", "Decimal(12, 2)", ["0", "NaN", "0.01"], decimals(12, 2), "c <> 'NaN'"),
    Case("numeric(9)", "Decimal(9, 0)", ["0", "NaN", "999999999"], decimals(9, 0), "c <> 'NaN'"),
    Case("numeric(3, 3)", "Decimal(3, 3)", ["0", "-0.999", "0.001"], decimals(3, 3), "c <> 'NaN'"),
    Case("numeric(38, 10)", "Decimal(38, 10)", ["NaN", "1e27"], decimals(38, 10), "c <> 'NaN'"),
    Case("numeric(76, 10)", "Decimal(76, 10)", [NINES, "-" + NINES, "NaN"], decimals(76, 10), "c <> 'NaN'"),
    Case("numeric(76, 76)", "Decimal(76, 76)", ["0." + "9" * 76, "0"], decimals(76, 76)),
    Case("numeric(77, 10)", "String", [NINES, "NaN"], decimals(77, 10)),
    Case("numeric(5, -2)", "String", ["9999900", "149"]),
    Case("numeric(2, 4)", "String", ["0.0099"]),
    Case("numeric", "String", ["NaN", "Infinity", "9" * 1000 + ".5", "1.10", "1e-900"], decimals(90, 40)),
    Case("price", "Decimal(12, 2)", ["1.5", "NaN"], decimals(12, 2), "c <> 'NaN'"),
    Case("text", "String", TEXTS, TEXT, json=True),
    Case("varchar(3)", "String", ["", "abc", "\\N"]),
    Case("char(5)", "String", ["", "a", "ab  ", "\t"]),
    Case("name", "String", ["", "order items"]),
    Case('"char"', "String", ["", "a"]),
    Case(
        "bytea", "String", ["\\x", "\\x00ff5c785c4e", "\\x" + "ab" * 9999], st.binary().map(lambda b: "\\x" + b.hex())
    ),
    Case("date", "Date32", [*DAYS, "5874897-12-31"], ANY_YEAR, YEARS),
    Case("timestamp", "DateTime64(6, 'UTC')", MOMENTS, ANY_TIME, YEARS),
    Case("timestamptz", "DateTime64(6, 'UTC')", [*MOMENTS, "2024-01-01 00:00:00.5+05:30"], ANY_TIME, YEARS),
    Case("timestamptz(0)", "DateTime64(6, 'UTC')", ["2024-01-01 00:00:00+00"]),
    Case("uuid", "UUID", ["00000000-0000-0000-0000-000000000000", "f" * 32], UUIDS, json=True),
    Case("mood", "LowCardinality(String)", ["happy", "very sad", "NULL", 'it\'s, "so" \\ {so}'], json=True),
    Case("time", "String", ["24:00:00", "00:00:00.000001"]),
    Case("timetz", "String", ["24:00:00+00", "00:00:00-15:59"]),
    Case("interval", "String", ["1 year -2 days 03:04:05.6", "-178000000 years", "0"]),
    Case("json", "String", ['{"b" : [1, null,\n"\\u00e4\\n"]}', "null"]),
    Case("jsonb", "String", ['{"b" : [1, null, "\\u00e4\\n"], "a": 1.50}', "null"]),
    Case("money", "String", ["-12.34", "92233720368547758.07"]),
    Case("inet", "String", ["1.2.3.4", "1.2.3.4/8", "::1"]),
    Case("cidr", "String", ["10.0.0.0/8", "::/0"]),
    Case("macaddr", "String", ["08:00:2b:01:02:03"]),
    Case("macaddr8", "String", ["08:00:2b:01:02:03:04:05"]),
    Case("bit(3)", "String", ["101"]),
    Case("varbit", "String", ["", "10101"]),
    Case("point", "String", ["(0.1,-0)", "(NaN,Infinity)"]),
    Case("box", "String", ["(1,1),(0,0)"]),
    Case("line", "String", ["{1,2,3}"]),
    Case("lseg", "String", ["[(0,0),(1,1)]"]),
    Case("path", "String", ["((0,0),(1,1))", "[(0,0)]"]),
    Case("polygon", "String", ["((0,0),(1,1))"]),
    Case("circle", "String", ["<(0,0),1.5>"]),
    Case("tsvector", "String", ["'a\\\\b':1 'c''d':2A", ""]),
    Case("tsquery", "String", ["'a' & !'b'"]),
    Case("pg_lsn", "String", ["0/0", "FFFFFFFF/FFFFFFFF"]),
    Case("xid8", "String", ["18446744073709551615"]),
    Case("jsonpath", "String", ["$.a[*]"]),
    Case("int2vector", "String", ["1 2 3", ""]),
    Case("oidvector", "String", ["1 2 3"]),
    Case("int4range", "String", ["empty", "[1,5)", "(,)"]),
    Case("tstzrange", "String", ['["2024-01-01 00:00:00+00",infinity)']),
    Case("nummultirange", "String", ["{}", "{[1.50,2),[3,4]}"]),
    Case("vector(3)", "String", ["[1,2.5,-0]"]),
    Case("pair", "String", ['(1,"a, \\"b\\"")', "(,)", "(,\\N)"]),
    Case("bool[]", "Array(Nullable(Bool))", ["{t,f,NULL}", "{}", "{{t}}"], None, FLAT, json=True),
    Case("int2[]", "Array(Nullable(Int16))", ["{}", "{-32768,NULL}"], array(integers(16)), FLAT, json=True),
    Case("int4[]", "Array(Nullable(Int32))", ["{}", "{1}", "[2:2]={1}"], array(integers(32)), FLAT, json=True),
    Case("int8[]", "Array(Nullable(Int64))", ["{}"], array(integers(64)), FLAT),
    Case("float4[]", "Array(Nullable(Float32))", ["{NaN,Infinity,-0,1e-45,NULL}"], None, FLAT),
    Case("float8[]", "Array(Nullable(Float64))", ["{NaN,-Infinity}"], array(st.floats().map(repr)), FLAT),
    Case(
        "numeric(12, 2)[]",
        "Array(Nullable(Decimal(12, 2)))",
        ["{}", "{1.5,NULL}", "{1,NaN}"],
        array(decimals(12, 2)),
        f"({FLAT}) AND NOT 'NaN' = ANY (array_remove(c, NULL))",
    ),
    Case("numeric[]", "Array(Nullable(String))", ["{}", "{1.50,NaN,NULL}"], array(decimals(80, 9)), FLAT),
    Case("text[]", "Array(Nullable(String))", TEXT_ARRAYS, array(TEXT), FLAT, json=True),
    Case("words", "Array(Nullable(String))", TEXT_ARRAYS, None, FLAT, json=True),
    Case("varchar(9)[]", "Array(Nullable(String))", ['{a,"",NULL}'], None, FLAT, json=True),
    Case("char(3)[]", "Array(Nullable(String))", ["{a,NULL}"], None, FLAT, json=True),
    Case("uuid[]", "Array(Nullable(UUID))", ["{}"], array(UUIDS), FLAT, json=True),
    Case(
        "mood[]", "Array(LowCardinality(Nullable(String)))", ['{happy,NULL,"NULL","very sad"}'], None, FLAT, json=True
    ),
    Case(
        "date[]",
        "Array(Nullable(Date32))",
        ["{}", "{2024-02-29,NULL}", "{infinity}", '{"0044-03-15 BC"}', "{1900-01-01,2300-01-01}"],
        array(ANY_YEAR),
        f"({FLAT}) AND (SELECT coalesce(bool_and({YEARS}), true) FROM unnest(c) AS e(c))",
    ),
    *(
        Case(
            f"{name}[]",
            "Array(Nullable(DateTime64(6, 'UTC')))",
            ["{}", '{"2024-02-29 01:02:03.4",NULL}', "{infinity}"],
            array(ANY_TIME),
            f"({FLAT}) AND (SELECT coalesce(bool_and({YEARS}), true) FROM unnest(c) AS e(c))",
        )
        for name in ("timestamp", "timestamptz")
    ),
    Case("text[]", "String", TEXT_ARRAYS, array(TEXT), not_null=False),
    Case("text[]", "Array(Nullable(String))", TEXT_ARRAYS, None, FLAT, not_null=False, choice="array"),
    Case("bytea[]", "String", ['{"\\\\x00ff",NULL}']),
    Case("interval[]", "String", ['{"1 day",NULL}']),
    Case("bool", "String", ["t", "f"], choice="text"),
    Case("bytea", "String", ["\\x00ff"], choice="text"),
    Case("float8", "String", ["0.1", "-0", "NaN", "1e300"], choice="text"),
    Case("timestamptz", "String", MOMENTS, choice="text"),
]


async def source_type(connection: Connection, oid: int, typmod: int) -> SourceType:
    """As the catalog says it, domains resolved."""
    cursor = await connection.execute(
        "SELECT typname, typtype::text, typbasetype, typtypmod, typelem, typcategory::text FROM pg_type WHERE oid = %s",
        [oid],
    )
    row = await cursor.fetchone()
    assert row is not None
    name, kind, base, base_typmod, element, category = row
    if kind == "d":
        return await source_type(connection, base, base_typmod)
    if category == "A":
        return SourceType(name, "array", typmod, await source_type(connection, element, -1))
    kinds = {"b": "base", "e": "enum", "c": "composite", "r": "range", "m": "multirange"}
    return SourceType(name, kinds[kind], typmod)


@pytest.mark.parametrize("case", CASES, ids=str)
@FEW
@given(data=st.data())
async def test_values_of_every_type_are_exact_or_flagged(
    case: Case, data: st.DataObject, postgres_server: EmbeddedPostgres, clickhouse: ClickHouse
) -> None:
    values: list[str | None] = [*case.always, None]
    if case.more is not None:
        values += data.draw(st.lists(case.more, min_size=20, max_size=40))
    async with await psycopg.AsyncConnection.connect(postgres_server.url) as connection:
        found = await source(connection, case, values)
        column = column_type(found, not_null=case.not_null, choice=case.choice)
        assert column.clickhouse == case.clickhouse
        copied, sent = await both_ways(connection, case, column)
        await connection.rollback()
    await load(clickhouse, column, copied, sent)
    await check(clickhouse, column, len(values))


async def source(connection: Connection, case: Case, values: list[str | None]) -> SourceType:
    """A table `t` with the values in its column `c`, whose type is returned."""
    for key, value in SESSION.items():
        await connection.execute(f"SET {key} = '{value}'".encode())
    await connection.execute(DEFINITIONS.encode())
    if case.type.startswith("vector"):  # an extension's type
        await connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    await connection.execute(f"CREATE TEMP TABLE t (place serial, c {case.type})".encode())
    insert = f"INSERT INTO t (c) SELECT v::{case.type} FROM unnest(%s::text[]) AS v"
    await connection.execute(insert.encode(), [values])
    cursor = await connection.execute(
        "SELECT atttypid, atttypmod FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'c'"
    )
    (row,) = await cursor.fetchall()
    return await source_type(connection, *row)


async def both_ways(connection: Connection, case: Case, column: ColumnType) -> tuple[bytes, pa.Table]:
    """What COPY writes, with the text to compare, what must fit, and JSON; and the values as the slot sends them."""
    as_json = "to_json(c)" if case.json else "NULL"
    query = f"SELECT place, c, {column.source_text(QUOTED)}, coalesce({case.fits}, true)::int, {as_json} FROM t"
    async with connection.cursor().copy(f"COPY ({query}) TO STDOUT".encode()) as copy:
        copied = b"".join([bytes(part) async for part in copy])
    cursor = await connection.execute("SELECT place, c FROM t")
    assert cursor.pgresult is not None
    texts = [cursor.pgresult.get_value(row, 1) for row in range(cursor.rowcount)]
    places = [int(cursor.pgresult.get_value(row, 0) or b"") for row in range(cursor.rowcount)]
    return copied, pa.table({"place": pa.array(places, pa.uint32()), "text": pa.array(texts, pa.binary())})


async def load(clickhouse: ClickHouse, column: ColumnType, copied: bytes, sent: pa.Table) -> None:
    await clickhouse.execute(
        "CREATE OR REPLACE TABLE copied (place UInt32, text Nullable(String), expected Nullable(String), "
        "must_fit UInt8, json Nullable(String)) ENGINE = Memory"
    )
    insert = {"database": clickhouse.database, "query": "INSERT INTO copied FORMAT TabSeparated"}
    async with httpx.AsyncClient() as client:
        (await client.post(clickhouse.url, params=insert, content=copied)).raise_for_status()
    await clickhouse.execute("CREATE OR REPLACE TABLE sent (place UInt32, text Nullable(String)) ENGINE = Memory")
    await clickhouse.insert_arrow("sent", sent)
    await clickhouse.execute(
        f"CREATE OR REPLACE TABLE mirrored (place UInt32, value {column.declaration(nullable=True)}, fits UInt8) "
        "ENGINE = MergeTree ORDER BY value SETTINGS allow_nullable_key = 1"
    )
    await clickhouse.execute(
        f"INSERT INTO mirrored SELECT place, {column.value('text')}, {column.fits('text')} FROM sent", settings=SETTINGS
    )


async def check(clickhouse: ClickHouse, column: ColumnType, count: int) -> None:
    assert await clickhouse.rows(
        "SELECT count() FROM sent JOIN copied USING place WHERE sent.text <=> copied.text"
    ) == [(count,)]
    rows = await clickhouse.rows(
        f"SELECT text, must_fit, fits, expected, {column.mirror_text('value')}, json, "
        "if(isNull(json), '', toJSONString(value)) FROM copied JOIN mirrored USING place"
    )
    assert len(rows) == count
    empty = None if column.nullable_allowed else ""
    for text, must_fit, fits, expected, mirrored, as_json, mirrored_json in rows:
        assert fits == must_fit, text
        assert mirrored == (expected if fits else empty), text
        if fits and as_json is not None:
            assert json.loads(mirrored_json) == json.loads(as_json)
