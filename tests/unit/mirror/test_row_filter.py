"""Only conditions that cannot fail for a row, and cannot stop the application, choose rows."""

from __future__ import annotations

import pytest

from headrace.errors import InvalidConfiguration
from headrace.mirror.column_type import SourceType
from headrace.mirror.row_filter import check_filter, check_still_filtered
from headrace.mirror.shape import Column, Shape

KEYED = Shape(
    tuple(
        Column(name, place, 23, -1, SourceType("int4", "base", -1), not_null=True)
        for place, name in enumerate(("id", "tenant", 'Say "x"', "n"), 1)
    ),
    ("id", "tenant", 'Say "x"'),
)


@pytest.mark.parametrize(
    "where",
    [
        "",
        "id = 1",
        "ID<>-1.5e3",
        "tenant = 'it''s' AND (id >= 5 or NOT id in (1, 2,3))",
        '"Say ""x""" != \'a -- b\'',
        "id BETWEEN 1 AND 5 AND tenant IS NOT NULL OR tenant is null",
        "id NOT IN ('x')\n AND NOT (tenant = true)",
    ],
)
def test_columns_of_the_key_are_compared_with_constants(where: str) -> None:
    check_filter(where, KEYED, "public.t")


@pytest.mark.parametrize(
    "where",
    [
        " ",
        "id",
        "id = tenant",
        "1 = id",
        "100/id > 15",
        "id % 2 = 0",
        "id = 5 --",
        "id = 5 -- AND",
        "id = 5; DROP TABLE t",
        "id = abs(1)",
        "t.id = 1",
        "id = '5'::int",
        "id = E'\\''",
        "id = $$5$$",
        "id LIKE 'a\\'",
        "(id = 1",
        "id = 1)",
        "id = 1 tenant = 2",
        "id in ()",
        "id between 1 or 2",
        "not",
        "id = 1 and",
        "id = 5x",
        "tenant > ' Now '",
    ],
)
def test_anything_else_is_refused(where: str) -> None:
    with pytest.raises(InvalidConfiguration, match="cannot be chosen by"):
        check_filter(where, KEYED, "public.t")


def test_a_column_outside_the_key_is_refused_where_there_is_a_key() -> None:
    with pytest.raises(InvalidConfiguration) as caught:
        check_filter("n = 1 AND id = 1", KEYED, "public.t")
    assert "n: it may name the columns of the key" in caught.value.detail
    check_filter("n = 1", Shape(KEYED.columns, ()), "public.t")


def test_a_missing_line_shows_nothing_that_was_left_out() -> None:
    filtered = Shape(KEYED.columns, KEYED.key, where="id = 1")
    check_still_filtered(filtered, "public.t", has_settings=True)
    check_still_filtered(KEYED, "public.t", has_settings=False)
    with pytest.raises(InvalidConfiguration, match="says nothing of"):
        check_still_filtered(filtered, "public.t", has_settings=False)
