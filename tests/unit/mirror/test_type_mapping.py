"""What a column of a mirrored table becomes, and what the reference says of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.errors import InvalidConfiguration
from headrace.mirror.column_type import SourceType
from headrace.mirror.scalar_type import precision_and_scale
from headrace.mirror.type_mapping import column_type

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "mirror-types.md"


def typmod(precision: int, scale: int) -> int:
    return (precision << 16 | scale & 0x7FF) + 4


def array(element: SourceType, modifier: int = -1) -> SourceType:
    return SourceType(f"_{element.name}", "array", modifier, element)


MOOD = SourceType("mood", "enum")
TEXTS = (
    "time, timetz, interval, json, jsonb, xml, money, inet, cidr, macaddr, macaddr8, bit, varbit, point, line, lseg, "
)
TEXTS += "box, path, polygon, circle, tsvector, tsquery, pg_lsn, hstore"
DOCUMENTED: list[tuple[str, list[SourceType], bool]] = [
    ("boolean", [SourceType("bool")], False),
    ("smallint", [SourceType("int2")], False),
    ("integer", [SourceType("int4")], False),
    ("bigint", [SourceType("int8")], False),
    ("oid", [SourceType("oid")], False),
    ("real", [SourceType("float4")], False),
    ("double precision", [SourceType("float8")], False),
    ("numeric(12, 2)", [SourceType("numeric", typmod=typmod(12, 2))], False),
    ("numeric(100, 2)", [SourceType("numeric", typmod=typmod(100, 2))], False),
    ("numeric(2, 4)", [SourceType("numeric", typmod=typmod(2, 4))], False),
    ("numeric", [SourceType("numeric")], False),
    (
        'text, varchar, name, citext, "char"',
        [SourceType(n) for n in ("text", "varchar", "name", "citext", "char")],
        False,
    ),
    ("char(n)", [SourceType("bpchar", typmod=9)], False),
    ("bytea", [SourceType("bytea")], False),
    ("date", [SourceType("date")], False),
    ("timestamp", [SourceType("timestamp")], False),
    ("timestamptz", [SourceType("timestamptz")], False),
    ("uuid", [SourceType("uuid")], False),
    ("an enum", [MOOD], False),
    ("integer[] NOT NULL", [array(SourceType("int4"))], True),
    ("numeric(12, 2)[] NOT NULL", [array(SourceType("numeric"), typmod(12, 2))], True),
    ("text[] NOT NULL", [array(SourceType("text"))], True),
    ("an enum[] NOT NULL", [array(MOOD)], True),
    ("any array that may be NULL", [array(SourceType("int4")), array(SourceType("text"))], False),
    (TEXTS, [SourceType(name) for name in TEXTS.split(", ")], False),
    ("arrays of these, of bytea, of oid", [array(SourceType("json")), array(SourceType("bytea"))], True),
    ("ranges, multiranges", [SourceType("int4range", "range"), SourceType("int4multirange", "multirange")], False),
    ("composite types, types of other extensions", [SourceType("pair", "composite"), SourceType("vector")], False),
]


def test_every_type_is_documented_as_it_is() -> None:
    table = PAGE.read_text().partition("|---|---|---|\n")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()]
    expected = []
    for label, sources, not_null in DOCUMENTED:
        kinds = {(kind.clickhouse, kind.note) for kind in (column_type(s, not_null=not_null) for s in sources)}
        ((clickhouse, note),) = kinds
        expected.append([label, f"`{clickhouse}`", note])
    assert rows == expected


def test_columns_that_may_be_null_are_declared_as_clickhouse_spells_it() -> None:
    declared = [column_type(source, not_null=False).declaration(nullable=True) for source in (SourceType("int4"), MOOD)]
    assert declared == ["Nullable(Int32)", "LowCardinality(Nullable(String))"]
    numbers = column_type(array(SourceType("int4")), not_null=True)
    assert numbers.declaration(nullable=True) == "Array(Nullable(Int32))"
    assert not numbers.nullable_allowed


@pytest.mark.parametrize("given", [(1000, 0), (76, 76), (5, -2), (3, 5), (1000, -1000), (1000, 1000)])
def test_precision_and_scale_are_read_as_postgresql_packs_them(given: tuple[int, int]) -> None:
    assert precision_and_scale(typmod(*given)) == given


@pytest.mark.parametrize(
    "source", [SourceType("int4"), SourceType("bytea"), array(MOOD), SourceType("vector")], ids=str
)
def test_everything_can_be_text(source: SourceType) -> None:
    assert column_type(source, not_null=True, choice="text").clickhouse == "String"


def test_an_array_that_may_be_null_is_one_where_that_is_chosen() -> None:
    column = column_type(array(SourceType("int4")), not_null=False, choice="array")
    assert column.clickhouse == "Array(Nullable(Int32))"
    assert "NULL becomes the empty array" in column.note


@pytest.mark.parametrize(
    ("source", "choice"),
    [
        (SourceType("date"), "clamp"),
        (SourceType("date"), ""),
        (SourceType("int4"), "array"),
        (array(SourceType("json")), "array"),
        (SourceType("oidvector", "array", -1, SourceType("oid")), "array"),
    ],
    ids=str,
)
def test_a_choice_that_there_is_not_is_refused(source: SourceType, choice: str) -> None:
    with pytest.raises(InvalidConfiguration, match="mirror"):
        column_type(source, not_null=True, choice=choice)


def test_a_type_of_somebodys_own_is_not_taken_for_a_built_in_one() -> None:
    assert column_type(SourceType("date", "composite"), not_null=True).clickhouse == "String"
    assert column_type(SourceType("int4", "enum"), not_null=True).clickhouse == "LowCardinality(String)"
