"""Personal columns are found by name in the stream, so names that change must not show their values under another."""

from __future__ import annotations

import pytest

from headrace.bus.batch import Column, Definition, Relation
from headrace.capture.personal import Personal, masked

TEXT = 25
OLD = ("id", "email", "n", "new_email")


def shape(*names: str, key: str = "id") -> Definition:
    return Definition(7, Relation("public", "t"), "d", tuple(Column(name, TEXT, -1, name == key) for name in names))


def personal() -> Personal:
    made = Personal({"public.t": {"email": "hash"}})
    made.use_key(b"0" * 32)
    made.know(7, {"email": "hash"}, OLD)
    return made


@pytest.mark.parametrize(
    "names",
    [
        ("id", "old_email", "n", "email"),  # renamed away, and its successor renamed to its name
        ("id", "n", "email", "new_email"),
        ("id", "old_email", "email"),
        ("id", "email", "m", "new_email", "added"),
    ],
)
def test_values_are_withheld_where_another_name_may_hold_them(names: tuple[str, ...]) -> None:
    found = personal().of_stream(shape(*names))
    assert found is not None
    assert found.withheld


@pytest.mark.parametrize(
    "names", [OLD, (*OLD, "added"), ("id", "email", "new_email"), ("id", "email", "m", "new_email")]
)
def test_added_dropped_and_renamed_columns_beside_are_followed(names: tuple[str, ...]) -> None:
    found = personal().of_stream(shape(*names))
    assert found is not None
    assert not found.withheld


def test_a_personal_column_that_becomes_the_key_is_withheld() -> None:
    found = personal().of_stream(shape(*OLD, key="email"))
    assert found is not None
    assert found.withheld


def test_a_table_that_was_renamed_before_its_first_change_is_withheld() -> None:
    renamed = Definition(7, Relation("public", "people"), "d", shape(*OLD).columns)
    found = personal().of_stream(renamed)
    assert found is not None
    assert found.withheld


def test_a_mask_shows_no_text_that_merely_has_an_at_in_it() -> None:
    assert masked(b"meet ann @ the old mill") == b"m***"
