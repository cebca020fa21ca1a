"""What a user may choose of a mirrored table's layout, and what would make the mirror wrong."""

from __future__ import annotations

import pytest

from headrace.errors import InvalidConfiguration
from headrace.mirror.column_type import SourceType
from headrace.mirror.layout import lay_out
from headrace.mirror.shape import Column, Shape
from headrace.mirror.statements import Objects
from headrace.settings import MirroredTable

SHAPE = Shape(
    (
        Column("id", 1, 20, -1, SourceType("int8"), True),
        Column("day", 2, 1082, -1, SourceType("date"), True),
        Column("country", 3, 25, -1, SourceType("text"), False),
    ),
    ("id", "day"),
)


def test_a_layout_stands_in_the_statement_that_makes_the_rows() -> None:
    wanted = MirroredTable(
        order_by=["day", "id"],
        partition_by="toYYYYMM(day)",
        low_cardinality=["country"],
        codecs={"id": "Delta, ZSTD(3)"},
    )
    shape = lay_out(SHAPE, wanted, "public.t")
    statement = Objects("d", "t", "t_1", 1, shape).create()[-1]
    assert "PARTITION BY toYYYYMM(day) ORDER BY (`day`, `id`)" in statement
    assert "`id` Int64 CODEC(Delta, ZSTD(3))" in statement
    assert "`country` LowCardinality(Nullable(String))" in statement
    assert shape.key == SHAPE.key
    assert Shape.from_json(shape.to_json()) == shape


@pytest.mark.parametrize(
    ("wanted", "word"),
    [
        ({"order_by": ["id"]}, "order_by"),
        ({"order_by": ["id", "day", "country"]}, "order_by"),
        ({"partition_by": "country"}, "partition_by"),
        ({"partition_by": "1"}, "partition_by"),
        ({"partition_by": "toYYYYMM(day"}, "partition_by"),
        ({"low_cardinality": ["id"]}, "low_cardinality"),
        ({"low_cardinality": ["nobody"]}, "nobody"),
        ({"codecs": {"id": "ZSTD); DROP TABLE t; --"}}, "codec"),
    ],
)
def test_what_would_make_the_mirror_wrong_is_refused(wanted: dict[str, object], word: str) -> None:
    with pytest.raises(InvalidConfiguration, match=word):
        lay_out(SHAPE, MirroredTable.model_validate(wanted), "public.t")
