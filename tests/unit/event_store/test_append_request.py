"""An append's JSON, and what each outcome means."""

from __future__ import annotations

import json
from collections.abc import Sequence
from uuid import UUID

import pytest

from headrace.errors import Conflict, InvalidInput, LimitExceeded, Rejected
from headrace.event_store import append
from headrace.event_store.append import Append, Appended, Outcome, Part, answer, decode_outcomes, encode_append
from headrace.event_store.condition import Condition, Criterion
from headrace.events.event import Event, Metadata
from headrace.events.position import Position

COMMAND_ID = UUID("00000000-0000-0000-0000-000000000007")
CONDITION = Condition((Criterion(tags=("a",)),), "7:7:")


class Renamed(Event, version=3, tags=["name:{name}"]):
    name: str


class Unfit(Event):
    value: object


def outcome(kind: str, first: int | None = None, last: int | None = None, actual: int = 0) -> Outcome:
    return Outcome(kind, "s", 2, first, last, actual, ("Renamed",) if kind == "duplicate" else None)


def test_an_append_is_encoded_as_the_function_reads_it() -> None:
    request = Append(
        [Part("s", [Renamed(name='a"b')], 4)], Metadata(command_id=COMMAND_ID, actor="ada"), CONDITION, fingerprint=9
    )
    assert json.loads(encode_append(request)) == {
        "command_id": str(COMMAND_ID),
        "fingerprint": 9,
        "metadata": {"command_id": str(COMMAND_ID), "actor": "ada"},
        "condition": {"criteria": [{"types": [], "tags": ["a"]}], "after": "7:7:"},
        "parts": [
            {
                "stream": "s",
                "expected": 4,
                "events": [{"type": "Renamed", "schema_version": 3, "data": {"name": 'a"b'}, "tags": ['name:a"b']}],
            }
        ],
    }


def one(stream: str, events: Sequence[Event], expected: int | None = None) -> Append:
    return Append([Part(stream, events, expected)])


def test_what_cannot_be_appended_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match="stream name"):
        encode_append(one("", [Renamed(name="a")]))
    with pytest.raises(InvalidInput, match="Not a version"):
        encode_append(one("s", [], -1))
    with pytest.raises(InvalidInput, match="no events"):
        encode_append(one("s", []))
    with pytest.raises(InvalidInput, match="names no stream"):
        # With a command id it would have been sent, and no row would have come back for it.
        encode_append(Append([], Metadata(command_id=COMMAND_ID)))
    with pytest.raises(InvalidInput, match="a stream twice"):
        encode_append(Append([Part("s", [Renamed(name="a")]), Part("s", [Renamed(name="b")])]))
    with pytest.raises(InvalidInput, match="no JSON form"):
        encode_append(one("s", [Unfit(value=object())]))
    with pytest.raises(InvalidInput, match="Not a tag"):
        encode_append(one("s", [Renamed(name="a\nb")]))
    with pytest.raises(InvalidInput, match="no criteria"):
        encode_append(Append([Part("s", [Renamed(name="a")])], condition=Condition(())))
    monkeypatch.setattr(append, "BYTES_MAX", 50)
    with pytest.raises(LimitExceeded, match="bytes"):
        encode_append(one("s", [Renamed(name="x" * 50)]))


def test_each_outcome_is_an_answer_or_an_error() -> None:
    request, position = one("s", [Renamed(name="a")], 2), Position(7)
    assert answer(request, [outcome("appended", 3, 3)], position) == [Appended("s", 3, 3, position, ("Renamed",))]
    assert answer(request, [outcome("duplicate", 1, 1)], position)[0].duplicate
    with pytest.raises(Conflict, match="is at version 5; expected version 2"):
        answer(request, [outcome("conflict", actual=5)], position)
    with pytest.raises(Conflict, match="does not exist; expected version 2"):
        answer(request, [outcome("conflict", actual=0)], position)
    with pytest.raises(Conflict, match="depends on"):
        answer(request, [outcome("overtaken")], position)
    with pytest.raises(Rejected, match="used before"):
        answer(request, [outcome("mismatch")], position)


def test_a_conflict_names_the_stream_that_moved_on() -> None:
    request = Append([Part("a", [Renamed(name="a")], 2), Part("b", [Renamed(name="b")], 5)])
    fits, moved = outcome("conflict", actual=2), Outcome("conflict", "b", 5, None, None, 6, None)
    with pytest.raises(Conflict, match="Stream b is at version 6; expected version 5"):
        answer(request, [fits, moved], Position(7))


def test_appends_share_a_call_only_when_none_is_about_what_another_adds() -> None:
    writes = one("s", [Renamed(name="a")])
    assert writes.touched() == {"type Renamed", "tag name:a", "everything"}
    assert Append(writes.parts, condition=CONDITION).held_alone() == {"stream s", "tag a"}
    types = Condition((Criterion(types=("Renamed", "Other")),))
    assert Append(writes.parts, condition=types).held_alone() == {"stream s", "type Renamed", "type Other"}
    anything = Condition((Criterion(),))
    assert Append(writes.parts, condition=anything).held_alone() == {"stream s", "everything"}


def test_outcomes_are_decoded_as_postgres_writes_them() -> None:
    sent = (
        b'[{"outcome":"conflict","stream":"s","expected":2,"first_version":null,"last_version":null,"actual":3,'
        b'"types":null}]'
    )
    assert decode_outcomes(sent) == [Outcome("conflict", "s", 2, None, None, 3, None)]
