"""An append's JSON, and what each outcome means."""

from __future__ import annotations

import json
from uuid import UUID

import pytest

from headrace.errors import Conflict, InvalidInput, LimitExceeded, Rejected
from headrace.event_store import append
from headrace.event_store.append import Append, Appended, Outcome, answer, decode_outcomes, encode_append
from headrace.events.event import Event, Metadata
from headrace.events.position import Position

COMMAND_ID = UUID("00000000-0000-0000-0000-000000000007")


class Renamed(Event, version=3):
    name: str


def outcome(kind: str, first: int | None = None, last: int | None = None, actual: int = 0) -> Outcome:
    return Outcome(kind, "s", first, last, actual, ("Renamed",) if kind == "duplicate" else None)


def test_an_append_is_encoded_as_the_function_reads_it() -> None:
    request = Append("s", [Renamed(name='a"b')], 4, Metadata(command_id=COMMAND_ID, actor="ada"), 9)
    assert json.loads(encode_append(request)) == {
        "stream": "s",
        "expected": 4,
        "command_id": str(COMMAND_ID),
        "fingerprint": 9,
        "metadata": {"command_id": str(COMMAND_ID), "actor": "ada"},
        "events": [{"type": "Renamed", "schema_version": 3, "data": {"name": 'a"b'}}],
    }


def test_what_cannot_be_appended_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match="stream name"):
        encode_append(Append("", []))
    with pytest.raises(InvalidInput, match="Not a version"):
        encode_append(Append("s", [], -1))
    with pytest.raises(InvalidInput, match="no JSON form"):
        encode_append(Append("s", [Renamed(name=object())]))  # type: ignore[arg-type]
    monkeypatch.setattr(append, "BYTES_MAX", 50)
    with pytest.raises(LimitExceeded, match="bytes"):
        encode_append(Append("s", [Renamed(name="x" * 50)]))


def test_each_outcome_is_an_answer_or_an_error() -> None:
    request, position = Append("s", [Renamed(name="a")], 2), Position(7)
    assert answer(request, outcome("appended", 3, 3), position) == Appended("s", 3, 3, position, ("Renamed",))
    assert answer(request, outcome("duplicate", 1, 1), position).duplicate
    with pytest.raises(Conflict, match="is at version 5; expected version 2"):
        answer(request, outcome("conflict", actual=5), position)
    with pytest.raises(Conflict, match="does not exist; expected version 2"):
        answer(request, outcome("conflict", actual=0), position)
    with pytest.raises(Rejected, match="used before"):
        answer(request, outcome("mismatch"), position)


def test_outcomes_are_decoded_as_postgres_writes_them() -> None:
    sent = b'[{"outcome":"conflict","stream":"s","first_version":null,"last_version":null,"actual":3,"types":null}]'
    assert decode_outcomes(sent) == [Outcome("conflict", "s", None, None, 3, None)]
