"""Sealing personal fields: what is sealed opens to the same, shows nothing, and does not open when it was touched."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import Corrupt
from headrace.event_store.append import Append, Part, encode_append
from headrace.events.event import Event, Metadata, StoredEvent
from headrace.events.event_types import EventTypes
from headrace.events.personal import JoinablePersonal, Personal
from headrace.events.sealing import Keys, SubjectKey, key_ids, to_store

KEY_ID = "00000000-0000-4000-8000-000000000007"
KEY = SubjectKey(KEY_ID, AESGCM(b"k" * 32), b"h" * 32)
KEYS = Keys({KEY_ID: KEY.cipher})
NO_KEYS = Keys({})

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


class Registered(Event, subject="{who}", rename="camel"):
    full_name: Personal[str]
    who: str = "ada"
    phone: Personal[str | None] = None
    email: JoinablePersonal[str | None] = None
    note: str = ""


EVENTS = st.builds(Registered, full_name=TEXT, phone=st.none() | TEXT, email=st.none() | TEXT, note=TEXT)
TYPES = EventTypes([Registered])


def stored(event: Event, keys: Keys | None = KEYS, stream: str = "s") -> StoredEvent:
    data = msgspec.json.encode(to_store(event, stream, {"ada": KEY}))
    return envelope(data, keys, stream)


def envelope(data: bytes, keys: Keys | None, stream: str = "s") -> StoredEvent:
    return StoredEvent(
        stream=stream,
        version=1,
        type="Registered",
        schema_version=1,
        data=msgspec.Raw(data),
        metadata=Metadata(),
        recorded_at=datetime(2026, 1, 1, tzinfo=UTC),
        keys=keys,
    )


def full_name(event: StoredEvent) -> str:
    """The sealed name."""
    data: dict[str, str] = msgspec.json.decode(event.data)
    return data["fullName"]


def named(sealed: str) -> StoredEvent:
    return envelope(msgspec.json.encode({"who": "ada", "fullName": sealed}), KEYS)


@given(EVENTS)
def test_what_was_sealed_opens_to_the_same_event(event: Registered) -> None:
    assert TYPES.decode(stored(event)) == event


@given(EVENTS)
def test_a_forgotten_event_keeps_everything_else(event: Registered) -> None:
    assert TYPES.decode(stored(event, NO_KEYS)) == Registered(full_name="[forgotten]", note=event.note)


@given(st.uuids())
def test_no_personal_text_is_stored(text: object) -> None:
    event = Registered(full_name=f"name {text}", phone=f"phone {text}", email=f"email {text}")
    encoded = encode_append(Append([Part("s", [event])]), {"ada": KEY})
    assert str(text).encode() not in encoded
    assert key_ids(encoded) == {KEY_ID}
    assert msgspec.json.decode(encoded)["keys"] == [KEY_ID]


@given(TEXT, TEXT)
def test_keyed_hashes_are_equal_for_equal_values_only(one: str, other: str) -> None:
    def hashed(value: str) -> str:
        data: dict[str, Any] = msgspec.json.decode(stored(Registered(full_name="", email=value)).data)
        return str(data["email"].split(":")[3])

    assert (hashed(one) == hashed(other)) == (one == other)
    assert len(hashed(one)) == 64


@given(TEXT, st.integers(min_value=0), st.integers(1, 255))
def test_a_value_that_was_touched_is_corrupt(name: str, place: int, flip: int) -> None:
    head, _, sealed = full_name(stored(Registered(full_name=name))).rpartition(":")
    touched = bytearray(base64.b64decode(sealed))
    touched[place % len(touched)] ^= flip
    with pytest.raises(Corrupt, match="does not open"):
        TYPES.decode(named(f"{head}:{base64.b64encode(touched).decode()}"))


@pytest.mark.parametrize(
    "rest", ["", "x", f"{KEY_ID}", f"{KEY_ID}::", f"{KEY_ID}::A", f"{KEY_ID}::AAAA", f"{KEY_ID}:z:A"]
)
def test_what_only_begins_like_a_sealed_value_is_corrupt(rest: str) -> None:
    with pytest.raises(Corrupt, match="does not open"):
        TYPES.decode(named(f"personal:1:{rest}"))


@given(TEXT)
def test_a_keyed_hash_that_was_touched_is_corrupt(name: str) -> None:
    value = full_name(stored(Registered(full_name=name)))
    with pytest.raises(Corrupt, match="does not open"):
        TYPES.decode(named(value.replace("::", ":ab:")))


def test_a_value_that_was_moved_to_another_stream_is_corrupt() -> None:
    moved = stored(Registered(full_name="Ada"), stream="other").data
    with pytest.raises(Corrupt, match="does not open"):
        TYPES.decode(envelope(bytes(moved), KEYS))


def test_without_keys_an_event_stays_sealed() -> None:
    decoded = TYPES.decode(stored(Registered(full_name="Ada"), None))
    assert isinstance(decoded, Registered)
    assert decoded.full_name.startswith(f"personal:1:{KEY_ID}::")


def test_what_was_stored_before_its_field_was_personal_stays_readable() -> None:
    old = envelope(b'{"who": "ada", "fullName": "Ada"}', KEYS)
    assert TYPES.decode(old) == Registered(full_name="Ada")


def test_text_that_looks_sealed_in_another_field_is_text() -> None:
    event = Registered(full_name="Ada", note=f"personal:1:{KEY_ID}::AAAA")
    assert TYPES.decode(stored(event)) == event


def test_keys_are_not_printed() -> None:
    assert "6b6b" not in repr(KEY)
    assert "hhhh" not in repr(KEY)
    assert repr(KEYS) == "Keys()"
