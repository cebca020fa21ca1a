"""Values that were hidden are not shown after a rename, and a rename that headrace.toml follows is not refused."""

from __future__ import annotations

import pytest

from headrace.capture.source_tables import SourceColumn, SourceTable, SourceType
from headrace.mirror.shape import no_more_personal, shape_of


def table(*names: str, numbers: tuple[int, ...] = (1, 2, 3)) -> SourceTable:
    text = SourceType(25, "pg_catalog", "text", "base", -1)
    columns = tuple(
        SourceColumn(name, number, 25, -1, text, number == 1, number == 1, False, False, None)
        for name, number in zip(names, numbers, strict=True)
    )
    return SourceTable(7, "public", "t", "r", "d", columns, ("id",), ("id",), (), False)


@pytest.mark.parametrize(
    ("now", "choices", "shown"),
    [
        (table("id", "mail", "other"), {"mail": "hash"}, set()),
        (table("id", "other", numbers=(1, 3)), {}, set()),
        (table("id", "email", "other"), {}, {"email"}),
        (table("id", "old_email", "email"), {"email": "hash"}, {"old_email"}),
    ],
)
def test_what_was_personal_stays_so_under_any_name(now: SourceTable, choices: dict[str, str], shown: set[str]) -> None:
    was = shape_of(table("id", "email", "other"), {"email": "hash"})
    assert no_more_personal(was, shape_of(now, choices), now) == shown
