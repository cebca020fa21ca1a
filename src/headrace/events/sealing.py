"""Sealing: the personal fields of an event as ciphertext, and back. Pure; who has the keys is not known here.

A sealed value is a JSON string, so that every reader of the log can carry it:

    personal:1:<key id>:<keyed hash, or nothing>:<nonce and ciphertext in base64>

AES-256-GCM (NIST SP 800-38D) under the subject's key, a random nonce for each value. The stream, the event type and the
hash are bound to it: a value copied elsewhere does not open. The key's id stands in it and not the subject, so nothing
about an event has to be known to find its key, and a key that is gone stays gone when its subject gets a new one.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from headrace.errors import Corrupt
from headrace.events.keyed_hash import keyed_hash
from headrace.events.personal import PersonalField, personal_fields

SEALED = "personal:1:"
FORGOTTEN = "[forgotten]"

_NONCE_BYTES = 12
_MARK = b'"personal:1:'
_KEY_IDS = re.compile(rb'"personal:1:([0-9a-f-]{36}):')
_SEALED = re.compile(r"personal:1:([0-9a-f-]{36}):([0-9a-f]*):([A-Za-z0-9+/=]+)")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


@dataclass(frozen=True, slots=True)
class SubjectKey:
    """What seals the fields of one subject. Shows no secret when it is printed."""

    id: str
    cipher: AESGCM = field(repr=False)
    hash_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys that were there when events were read, by id; one that is not in it has been deleted."""

    ciphers: Mapping[str, AESGCM] = field(repr=False)


def to_store(event: Any, stream: str, keys: Mapping[str, SubjectKey]) -> Any:
    """What is to be encoded as the event's data: itself, or its JSON with every personal field sealed."""
    event_type: Any = type(event)
    personal = personal_fields(event_type)
    if not personal:
        return event
    key = keys[event.subject()]
    data = _decode_fields(_encode(event))
    for each in personal:
        value = _decode(data[each.encode_name]) if each.encode_name in data else None
        if value is not None:
            data[each.encode_name] = msgspec.Raw(_encode(_seal(value, each, key, stream, event_type.__name__)))
    return msgspec.Raw(_encode(data))


def unsealed(data: bytes, event_type: Any, keys: Keys, *, stream: str, stored_type: str) -> bytes:
    """The event's JSON with its personal fields readable; None or "[forgotten]" stands for those whose key is gone.

    What was stored before its field was declared personal stays as it is. Raises Corrupt for what was tampered with.
    """
    fields = _decode_fields(data)
    for each in personal_fields(event_type):
        value = _decode(fields.get(each.encode_name, b"null"))
        if isinstance(value, str) and value.startswith(SEALED):
            fields[each.encode_name] = msgspec.Raw(_encode(_open(value, each, keys, stream, stored_type)))
    return _encode(fields)


def key_ids(data: bytes) -> set[str] | None:
    """The ids of the keys that values in this JSON name; None when none of them is, or pretends to be, sealed."""
    return {found.decode() for found in _KEY_IDS.findall(data)} if _MARK in data else None


def _seal(value: str, personal: PersonalField, key: SubjectKey, stream: str, event_type: str) -> str:
    hashed = keyed_hash(key.hash_key, value.encode()) if personal.joinable else ""
    nonce = os.urandom(_NONCE_BYTES)
    ciphertext = key.cipher.encrypt(nonce, value.encode(), _bound(stream, event_type, hashed))
    return f"{SEALED}{key.id}:{hashed}:{base64.b64encode(nonce + ciphertext).decode()}"


def _open(value: str, personal: PersonalField, keys: Keys, stream: str, event_type: str) -> str | None:
    match = _SEALED.fullmatch(value)
    if match is None:
        raise _tampered(personal, stream, event_type)
    cipher = keys.ciphers.get(match[1])
    if cipher is None:
        return None if personal.optional else FORGOTTEN
    try:
        sealed = base64.b64decode(match[3], validate=True)
        return cipher.decrypt(
            sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _bound(stream, event_type, match[2])
        ).decode()
    except (InvalidTag, ValueError) as error:
        raise _tampered(personal, stream, event_type) from error


def _bound(stream: str, event_type: str, hashed: str) -> bytes:
    return "\0".join((stream, event_type, hashed)).encode()


def _tampered(personal: PersonalField, stream: str, event_type: str) -> Corrupt:
    return Corrupt(
        "A personal field does not open with its key: it was changed, or moved from another event.",
        f"Field {personal.name} of {event_type}, stream {stream}.",
        "Restore the event store from a backup, and report this.",
    )
