"""Append: what goes into an append, what comes out of it, and its JSON form both ways. Pure; no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import msgspec

from headrace.errors import Conflict, InvalidInput, LimitExceeded, Rejected
from headrace.events.command import check_stream_name
from headrace.events.event import Event, Metadata
from headrace.events.position import Position

EVENTS_MAX = 10_000
BYTES_MAX = 16 << 20
NO_METADATA = Metadata()


@dataclass(frozen=True, slots=True)
class Appended:
    """Where events now stand in the store.

    `version` is the stream's version after them, `first_version` that of the first of them; without events
    `first_version` is `version + 1`. When the watermark has passed `position`, they are in every read model. `types`
    are the event types in order. `duplicate`: the command had been appended before, and this is its first result.
    """

    stream: str
    version: int
    first_version: int
    position: Position
    types: tuple[str, ...]
    duplicate: bool = False


@dataclass(frozen=True, slots=True)
class Append:
    """Events for one stream, to be appended together or not at all.

    `expected_version` is the version that the stream must have: 0 for a stream that must not exist, None for any. With
    `metadata.command_id` the append happens once however often it is sent; `fingerprint` tells a repetition from
    another request under the same id.
    """

    stream: str
    events: Sequence[Event]
    expected_version: int | None = None
    metadata: Metadata = NO_METADATA
    fingerprint: int = 0

    @property
    def types(self) -> tuple[str, ...]:
        return tuple(type(event).__name__ for event in self.events)


class _EventJSON(msgspec.Struct):
    type: str
    schema_version: int
    data: Event


class _AppendJSON(msgspec.Struct):
    stream: str
    expected: int | None
    command_id: UUID | None
    fingerprint: int
    metadata: Metadata
    events: list[_EventJSON]


class Outcome(msgspec.Struct):
    """One row of headrace.append; sql/functions/append.sql says what each column means."""

    outcome: str
    stream: str
    first_version: int | None
    last_version: int | None
    actual: int
    types: tuple[str, ...] | None


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(list[Outcome])
decode_outcomes = _DECODER.decode


def encode_append(append: Append) -> bytes:
    """Check an append and give its JSON. Raises InvalidInput or LimitExceeded."""
    check_stream_name(append.stream)
    if append.expected_version is not None and append.expected_version < 0:
        raise InvalidInput(
            f"Not a version: {append.expected_version}.",
            f"Stream {append.stream}.",
            "Expect 0 for a stream that must not exist, a version from 1, or None for any.",
        )
    if len(append.events) > EVENTS_MAX:
        raise LimitExceeded(
            f"An append holds at most {EVENTS_MAX} events; this one has {len(append.events)}.",
            f"Stream {append.stream}.",
            "Append them in parts, or import them with bulk_append.",
        )
    events = [_EventJSON(type(event).__name__, type(event).schema_version, event) for event in append.events]
    metadata = append.metadata
    row = _AppendJSON(append.stream, append.expected_version, metadata.command_id, append.fingerprint, metadata, events)
    try:
        encoded = _ENCODER.encode(row)
    except TypeError as error:
        raise InvalidInput(
            "An event holds a value that has no JSON form.", f"Stream {append.stream}: {error}."
        ) from error
    if len(encoded) > BYTES_MAX:
        raise LimitExceeded(
            f"An append holds at most {BYTES_MAX:,} bytes of JSON; this one has {len(encoded):,}.",
            f"Stream {append.stream}, {len(append.events)} events.",
            "Append them in parts, and keep large things outside events.",
        )
    return encoded


def answer(append: Append, outcome: Outcome, position: Position) -> Appended:
    """What the outcome means to the caller. Raises Conflict, or Rejected for an id that another request used."""
    if outcome.outcome == "appended":
        assert outcome.first_version is not None
        assert outcome.last_version is not None
        return Appended(outcome.stream, outcome.last_version, outcome.first_version, position, append.types)
    if outcome.outcome == "duplicate":
        assert outcome.first_version is not None
        assert outcome.last_version is not None
        types = outcome.types or ()
        return Appended(outcome.stream, outcome.last_version, outcome.first_version, position, types, duplicate=True)
    if outcome.outcome == "mismatch":
        raise reused()
    raise conflict(append.stream, append.expected_version or 0, outcome.actual)


def conflict(stream: str, expected: int, actual: int) -> Conflict:
    """Somebody else appended to the stream since the caller read it."""
    found = f"is at version {actual}" if actual else "does not exist"
    wanted = f"version {expected}" if expected else "no stream"
    return Conflict(
        f"Stream {stream} {found}; expected {wanted}.",
        f"Expected {expected}, actual {actual}.",
        "Read the stream again, decide again, retry.",
    )


def reused() -> Rejected:
    """One command id, two different requests."""
    return Rejected(
        "This command id was used before, by a different request.",
        "A command id stands for one request: the same command with the same fields.",
        "Send the new request under a new Idempotency-Key.",
    )
