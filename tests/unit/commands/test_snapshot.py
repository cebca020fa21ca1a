"""When states are saved, and that only what was saved is read back."""

from __future__ import annotations

from typing import ClassVar, Self

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.commands.snapshot import Snapshots
from headrace.errors import InvalidConfiguration


class Counter(msgspec.Struct, frozen=True):
    snapshot_every_events: ClassVar[int] = 10
    snapshot_every_bytes: ClassVar[int] = 1_000

    count: int = 0
    names: dict[str, int] = {}

    def evolve(self, event: object) -> Self:
        return msgspec.structs.replace(self, count=self.count + 1)


class Plain:
    def evolve(self, event: object) -> Self:
        return self


class Formless(Plain):
    snapshot_every_events: ClassVar[int] = 10

    def __init__(self) -> None:
        self.value = object()


class Never(Plain):
    snapshot_every_events: ClassVar[int] = 0


def test_a_class_without_a_policy_has_no_snapshots() -> None:
    snapshots = Snapshots(Plain)
    assert not snapshots.wanted
    assert not snapshots.due(10**6, 10**9)


def test_whichever_comes_first_events_or_bytes() -> None:
    snapshots = Snapshots(Counter)
    assert not snapshots.due(9, 999)
    assert snapshots.due(10, 0)
    assert snapshots.due(1, 1_000)


@given(count=st.integers(), names=st.dictionaries(st.text(), st.integers()), version=st.integers(1, 2**62))
def test_what_was_saved_is_read_back(count: int, names: dict[str, int], version: int) -> None:
    state, snapshots = Counter(count, names), Snapshots(Counter)
    assert snapshots.decode("s-1", version, snapshots.encode("s-1", version, state)) == state


def test_anything_else_is_not() -> None:
    snapshots = Snapshots(Counter)
    saved = snapshots.encode("s-1", 7, Counter(3))
    assert snapshots.decode("s-2", 7, saved) is None
    assert snapshots.decode("s-1", 8, saved) is None
    assert snapshots.decode("s-1", 7, b"") is None
    for place in range(len(saved)):
        assert snapshots.decode("s-1", 7, saved[:place] + bytes([saved[place] ^ 1]) + saved[place + 1 :]) is None


def test_what_cannot_be_saved_is_refused_at_the_start() -> None:
    with pytest.raises(InvalidConfiguration, match="no JSON form"):
        Snapshots(Formless)
    with pytest.raises(InvalidConfiguration, match="1 or more"):
        Snapshots(Never)
