"""States of any class as JSON values, and the difference of two of them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.commands.state_view import Change, difference, view
from headrace.errors import Error


class Color(Enum):
    RED = "red"


class AsStruct(msgspec.Struct, rename="camel", omit_defaults=True):
    day_rate: Decimal = Decimal("1.50")
    tags: frozenset[str] = frozenset("ba")


@dataclass(slots=True)
class AsDataclass:
    inner: AsStruct = field(default_factory=AsStruct)
    seen: datetime = datetime(2026, 3, 15, tzinfo=UTC)


class Plain:
    def __init__(self) -> None:
        self.color = Color.RED
        self.queue = deque([AsDataclass(), None])
        self.by_pair = {("a", 1): True, UUID(int=7): 2**70}
        self.ratio = float("nan")


class Slotted:
    __slots__ = ("left", "never_set")

    def __init__(self) -> None:
        self.left = 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.frozensets(st.integers()),
)


def test_any_class_is_shown_by_its_fields() -> None:
    inner = {"inner": {"day_rate": "1.50", "tags": ["a", "b"]}, "seen": "2026-03-15T00:00:00Z"}
    assert view(Plain()) == {
        "color": "red",
        "queue": [inner, None],
        "by_pair": {'["a",1]': True, str(UUID(int=7)): 2**70},
        "ratio": "nan",
    }
    assert view(Slotted()) == {"left": 1}


def test_a_state_that_holds_itself_is_refused_in_words() -> None:
    plain: Any = Plain()
    plain.queue.append(plain)
    with pytest.raises(Error, match="A Plain cannot be shown"):
        view(plain)


@given(JSON)
def test_a_view_is_json_and_does_not_differ_from_itself(state: Any) -> None:
    assert msgspec.json.decode(msgspec.json.encode(view(state))) is not msgspec.UNSET
    assert difference(view(state), view(state)) == []


@given(JSON, JSON)
def test_views_that_differ_have_a_difference_both_ways(before: Any, after: Any) -> None:
    one, other = view(before), view(after)
    changes = difference(one, other)
    assert bool(changes) == (msgspec.json.encode(one, order="sorted") != msgspec.json.encode(other, order="sorted"))
    assert {change.path for change in changes} == {change.path for change in difference(other, one)}


def test_a_difference_names_each_field_and_what_one_side_lacks() -> None:
    before = {"balance": 5, "owner": {"name": "ada", "a/b~c": 1}, "items": ["x"], "open": True}
    after = {"balance": 7, "owner": {"name": "ada", "a/b~c": 2}, "items": ["x", "y"], "open": 1, "new": None}
    assert difference(before, after) == [
        Change("/balance", 5, 7),
        Change("/owner/a~1b~0c", 1, 2),
        Change("/items/1", msgspec.UNSET, "y"),
        Change("/open", True, 1),
        Change("/new", msgspec.UNSET, None),
    ]
    assert msgspec.json.encode(difference({"a": 1}, {})) == b'[{"path":"/a","before":1}]'
