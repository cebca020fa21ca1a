"""Which changes of a table's columns are followed, how, and which are not.

A column is written name#number:type; `?` behind it: it has a default that is computed for each row, `=x`: rows that are
older than the column have x.
"""

from __future__ import annotations

import re

import pytest

from headrace.bus.batch import Column as SentColumn
from headrace.bus.batch import Definition, Relation
from headrace.capture.source_tables import SourceColumn, SourceTable, SourceType
from headrace.mirror.evolve import CannotFollow, Evolution, evolve
from headrace.mirror.shape import Shape, shape_of

OIDS = {"int2": 21, "int4": 23, "int8": 20, "float4": 700, "float8": 701, "text": 25, "varchar": 1043, "numeric": 1700}
COLUMN = re.compile(r"(\w+)#(\d+):(\w+?)(?:\((\d+),(\d+)\))?(\?)?(?:=(\w+))?")
BEFORE = "id#1:int4 a#2:text b#3:int4"


def column(written: str) -> SourceColumn:
    match = COLUMN.fullmatch(written)
    assert match is not None, written
    name, number, type_, digits, scale, computed, missing = match.groups()
    typmod = (int(digits) << 16 | int(scale)) + 4 if digits else -1
    return SourceColumn(
        name=name,
        attnum=int(number),
        oid=OIDS[type_],
        typmod=typmod,
        type=SourceType(OIDS[type_], "pg_catalog", type_, "base", typmod),
        not_null=name == "id",
        key=name == "id",
        generated=False,
        has_default=bool(computed or missing),
        missing=missing,
    )


def table(columns: str, key: tuple[str, ...] = ("id",)) -> SourceTable:
    written = tuple(column(each) for each in columns.split())
    return SourceTable(1, "public", "t", "r", "d", written, key, key, (), False)


def sent(columns: str, key: tuple[str, ...] = ("id",)) -> Definition:
    written = [column(each) for each in columns.split()]
    return Definition(
        1, Relation("public", "t"), "d", tuple(SentColumn(c.name, c.oid, c.typmod, c.name in key) for c in written)
    )


def shape(columns: str) -> Shape:
    return shape_of(table(columns), {})


def followed(before: str, now: str, later: str | None = None, *, rewritten: bool = False) -> Evolution:
    """From `before` to what the stream sends `now`, while the catalog is already at `later`."""
    return evolve(shape(before), sent(now), table(later or now), rewritten=rewritten, choices={})


def steps(found: Evolution) -> list[str]:
    """What is done, in short: -dropped, old>new, +added=value of older rows, ~of another type."""
    return [
        *(f"-{name}" for name in found.dropped),
        *(f"{old}>{new}" for old, new in found.renamed),
        *(f"+{each.name}" + (f"={missing}" if missing else "") for each, missing in found.added),
        *(f"~{each.name}" for each in found.retyped),
    ]


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("id#1:int4 a#2:text b#3:int4 c#4:int8", ["+c"]),
        ("id#1:int4 a#2:text b#3:int4 c#4:int8=7", ["+c=7"]),
        ("id#1:int4 b#3:int4", ["-a"]),
        ("id#1:int4 z#2:text b#3:int4", ["a>z"]),
        ("id#1:int4 a#2:text b#3:int8", ["~b"]),
        ("id#1:int4 a#2:varchar b#3:int4", []),
        ("id#1:int8 a#2:text b#3:int4", ["~id"]),
        ("id#1:int4 a#4:text b#3:int4", ["-a", "+a"]),
        ("id#1:int4 z#2:text b#3:int8 c#4:text=x", ["a>z", "+c=x", "~b"]),
        ("id#1:int4 z#3:int8 c#4:text", ["-a", "b>z", "+c", "~z"]),
    ],
    ids=[
        "added",
        "added with a default",
        "dropped",
        "renamed",
        "widened",
        "as text",
        "key widened",
        "dropped and made again",
        "three at once",
        "four at once, one column twice",
    ],
)
def test_a_change_is_followed(now: str, expected: list[str]) -> None:
    ordered = " ".join(sorted(now.split(), key=lambda each: column(each).attnum))
    found = followed(BEFORE, ordered)
    assert steps(found) == expected
    assert found.shape.fits(sent(ordered))
    assert steps(evolve(found.shape, sent(ordered), table(ordered), rewritten=False, choices={})) == []


@pytest.mark.parametrize(
    ("old", "new", "held"),
    [
        ("int2", "int4", True),
        ("int2", "int8", True),
        ("int8", "int4", False),
        ("float4", "float8", True),
        ("int4", "text", False),
        ("text", "varchar", True),
        ("numeric(10,2)", "numeric(12,2)", True),
        ("numeric(10,2)", "numeric(12,4)", True),
        ("numeric(10,2)", "numeric(10,4)", False),
        ("numeric(10,2)", "numeric(8,2)", False),
        ("numeric(10,2)", "numeric", False),
    ],
)
def test_a_type_is_followed_where_it_holds_every_value(old: str, new: str, held: bool) -> None:
    before, now = f"id#1:int4 a#2:{old}", f"id#1:int4 a#2:{new}"
    if held:
        assert followed(before, now).shape.fits(sent(now))
    else:
        with pytest.raises(CannotFollow, match="changed its type"):
            followed(before, now)


def test_the_catalog_may_be_ahead_of_the_stream() -> None:
    """It has the next change already: the stream's column is known by the number that the catalog has now."""
    later = "id#1:int4 z#2:text b#3:int4 c#4:int4 d#5:int4"
    assert steps(followed(BEFORE, "id#1:int4 a#2:text b#3:int4 c#4:int4", later)) == ["+c"]
    assert steps(followed(BEFORE, "id#1:int4 z#2:text b#3:int4", later)) == ["a>z"]


@pytest.mark.parametrize(
    ("now", "later", "reason"),
    [
        ("id#1:int4 b#2:text a#3:int4", None, "took over the name b"),
        ("key#1:int4 a#2:text b#3:int4", None, "of its key changed"),
        ("a#2:text b#3:int4", None, "of its key changed"),
        ("id#1:int4 a#2:text b#3:int4 c#4:int4", "id#1:int4 a#2:text b#3:int4 c#4:int8", "added and changed again"),
        ("id#1:int4 a#2:text b#3:int4 c#4:int4", BEFORE, "added and changed again"),
        ("id#1:int4 a#2:text b#3:int8", "id#1:int4 a#2:text b#3:text", "more than once"),
        ("id#1:int4 b#2:text", None, "took over the name b"),
    ],
    ids=["swapped", "key renamed", "key dropped", "added twice", "added and gone", "retyped twice", "name taken over"],
)
def test_a_change_that_cannot_be_told_is_refused(now: str, later: str | None, reason: str) -> None:
    """Names that were exchanged, or taken over, passed for new columns once: their values became NULL."""
    with pytest.raises(CannotFollow, match=reason):
        followed(BEFORE, now, later)


def test_another_key_is_refused() -> None:
    with pytest.raises(CannotFollow, match="made of other columns"):
        evolve(shape(BEFORE), sent(BEFORE, ("id", "b")), table(BEFORE), rewritten=False, choices={})


def test_a_default_that_is_computed_for_each_row_is_in_no_catalog() -> None:
    now = f"{BEFORE} c#4:float8?"
    with pytest.raises(CannotFollow, match="computed for each row"):
        followed(BEFORE, now, rewritten=True)
    assert steps(followed(BEFORE, now)) == ["+c"]  # set later by itself: older rows have none


def test_a_table_that_is_gone_tells_nothing() -> None:
    with pytest.raises(CannotFollow, match="does not exist any more"):
        evolve(shape(BEFORE), sent(BEFORE), None, rewritten=False, choices={})
