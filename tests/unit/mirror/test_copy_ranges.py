"""Which ranges of pages are still to be copied."""

from __future__ import annotations

import pytest

from headrace.capture.source_tables import Leaf
from headrace.mirror.copy import RANGE_PAGES, Range, ranges
from headrace.warehouse.mirrors import CopiedRange

_END = 1 << 62


def leaf(pages: int, oid: int = 1) -> Leaf:
    return Leaf(
        oid=oid,
        schema="public",
        name="t",
        kind="r",
        persistence="p",
        identity="d",
        key=(),
        filenode=1,
        pages=pages,
        rows_estimate=1,
    )


def done(begin: int, end: int, oid: int = 1) -> CopiedRange:
    return CopiedRange(oid, begin, end, rows=1, bytes=1)


def pages(found: list[Range]) -> list[tuple[int, int | None]]:
    return [(each.page_begin, each.page_end) for each in found]


@pytest.mark.parametrize("count", [0, 1, RANGE_PAGES - 1])
def test_a_small_table_is_one_range_without_an_end(count: int) -> None:
    assert pages(list(ranges([leaf(count)], []))) == [(0, None)]


def test_the_last_range_has_no_end() -> None:
    expected = [(0, RANGE_PAGES), (RANGE_PAGES, 2 * RANGE_PAGES), (2 * RANGE_PAGES, None)]
    assert pages(list(ranges([leaf(2 * RANGE_PAGES + 5)], []))) == expected


def test_what_is_done_is_left_out() -> None:
    copied = [done(RANGE_PAGES, 2 * RANGE_PAGES), done(2 * RANGE_PAGES, _END)]
    assert pages(list(ranges([leaf(9 * RANGE_PAGES)], copied))) == [(0, RANGE_PAGES)]
    assert not list(ranges([leaf(5)], [done(0, _END)]))


def test_ranges_of_another_size_that_an_earlier_version_copied_leave_no_gap() -> None:
    copied = [done(0, 100), done(100, 200), done(700, 800), done(300, 400, oid=2)]
    assert pages(list(ranges([leaf(900)], copied))) == [(200, 700), (800, None)]


def test_each_leaf_has_ranges_of_its_own() -> None:
    found = list(ranges([leaf(1, oid=1), leaf(1, oid=2)], [done(0, _END, oid=1)]))
    assert [(each.leaf.oid, each.page_begin, each.page_end) for each in found] == [(2, 0, None)]


def test_ranges_can_be_smaller() -> None:
    assert pages(list(ranges([leaf(250)], [], 100))) == [(0, 100), (100, 200), (200, None)]
