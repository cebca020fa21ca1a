"""docs/reference/settings.md lists every setting as it is: key, default, bounds and variable; and no other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import annotated_types
from pydantic.fields import FieldInfo

from headrace.settings import Section, Settings

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"


def fields() -> Iterator[tuple[str, FieldInfo]]:
    for name, field in Settings.model_fields.items():
        if name == "root":  # the folder that the settings are read from
            continue
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from ((f"{name}.{key}", each) for key, each in field.annotation.model_fields.items())
        else:
            yield name, field


def bounds(field: FieldInfo) -> str:
    low = high = ""
    for constraint in field.metadata:
        match constraint:
            case annotated_types.Ge(ge=least):
                low = f"{least} or more"
            case annotated_types.Gt(gt=least):
                low = f"more than {least}"
            case annotated_types.Le(le=most):
                high = f"at most {most}"
            case _:
                low = f"`{constraint.pattern}`"
    return ", ".join(part for part in (low, high) if part) or "any"


def default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    return "none" if field.default is None else f"`{field.default}`"


def rows() -> list[list[str]]:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_every_setting_is_documented_as_it_is() -> None:
    expected = [
        [f"`{name}`", default(field), bounds(field), f"`HEADRACE_{name.upper().replace('.', '__')}`"]
        for name, field in fields()
    ]
    assert [row[:4] for row in rows()] == expected


def test_every_setting_says_what_it_is() -> None:
    assert all(field.description for _, field in fields())
    assert all(len(row) == 5 and row[4] for row in rows())
