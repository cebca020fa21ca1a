"""Placeholders: names of streams and tags, filled in from the fields of an event or a command."""

from __future__ import annotations

import re
from typing import Any

_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def fill(template: str, struct: object) -> str:
    """`user-{user_id}` with the struct's own fields."""
    return _PLACEHOLDER.sub(lambda match: str(getattr(struct, match[1])), template)


def fields(template: str) -> list[str]:
    """The fields that it names."""
    return _PLACEHOLDER.findall(template)


def missing_fields(template: str, struct_type: Any) -> list[str]:
    """The fields that it names and the class lacks, sorted."""
    return sorted(set(fields(template)) - set(struct_type.__annotations__) - set(struct_type.__struct_fields__))
