"""How far a copy is, by the pages that are done and the pages that there are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from headrace.capture.source_tables import Leaf
from headrace.mirror.survey import copy_progress
from headrace.warehouse.mirrors import CopiedRange

NOW = datetime(2026, 1, 1, tzinfo=UTC)
END = 1 << 62


def leaf(oid: int, pages: int) -> Leaf:
    return Leaf(oid, "public", f"t{oid}", "r", "p", "d", ("id",), 1, pages, 0)


def test_time_left_is_told_by_the_rate_of_the_last_minute() -> None:
    ago = [NOW - timedelta(seconds=seconds) for seconds in (600, 30, 10)]
    done = [CopiedRange(1, 4096 * index, 4096 * (index + 1), 10, 3000, at) for index, at in enumerate(ago)]
    progress = copy_progress([leaf(1, 4096 * 4)], done, NOW)
    assert (progress.rows, progress.bytes, progress.fraction, progress.bytes_total) == (30, 9000, 0.75, 12000)
    assert (progress.bytes_per_s, progress.left_s) == (100, 30)


def test_the_last_range_counts_as_far_as_there_are_pages() -> None:
    done = [CopiedRange(1, 4096, END, 5, 500, NOW)]
    assert copy_progress([leaf(1, 8192), leaf(2, 0)], done, NOW).fraction == 4096 / 8193
    everything = [CopiedRange(1, 0, 4096, 5, 500, NOW), *done, CopiedRange(2, 0, END, 0, 0, NOW)]
    assert copy_progress([leaf(1, 8192), leaf(2, 0)], everything, NOW).fraction == 1


def test_nothing_done_tells_nothing() -> None:
    progress = copy_progress([leaf(1, 100)], [], NOW)
    assert (progress.fraction, progress.bytes_total, progress.bytes_per_s, progress.left_s) == (0, None, None, None)
