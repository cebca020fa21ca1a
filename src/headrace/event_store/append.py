"""Append: what goes into an append, what comes out of it, and its JSON form both ways. Pure; no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import msgspec

from headrace.errors import Conflict, InvalidInput, LimitExceeded, Rejected
from headrace.event_store.condition import Condition, check_criteria, held_alone, touched
from headrace.events.command import check_stream_name
from headrace.events.event import Event, Metadata
from headrace.events.personal import personal_fields
from headrace.events.position import Position
from headrace.events.sealing import SubjectKey, to_store

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
class Part:
    """Events for one stream. `expected_version` is the version that the stream must have: 0 for a stream that must not
    exist, None for any.
    """

    stream: str
    events: Sequence[Event]
    expected_version: int | None = None

    @property
    def types(self) -> tuple[str, ...]:
        return tuple(type(event).__name__ for event in self.events)


@dataclass(frozen=True, slots=True)
class Append:
    """Events for one stream or several, to be appended together or not at all.

    With `condition` it happens only if no event came in between. With `metadata.command_id` it happens once however
    often it is sent; `fingerprint` tells a repetition from another request under the same id.
    """

    parts: Sequence[Part]
    metadata: Metadata = NO_METADATA
    condition: Condition | None = None
    fingerprint: int = 0

    @property
    def streams(self) -> str:
        """For messages."""
        return ", ".join(part.stream for part in self.parts)

    def subjects(self) -> set[str]:
        """Whose keys it needs. Raises InvalidInput for an event that does not say whom it is about."""
        return {event.subject() for part in self.parts for event in part.events if personal_fields(type(event))}

    def touched(self) -> set[str]:
        """What other appends' conditions could be about, and this one adds to."""
        types = [name for part in self.parts for name in part.types]
        return touched(types, [tag for part in self.parts for event in part.events for tag in event.tags()])

    def held_alone(self) -> set[str]:
        """What no other append of the same call may name: its streams, its command, and what its condition is about."""
        held = {f"stream {part.stream}" for part in self.parts}
        if self.metadata.command_id is not None:
            held.add(f"command {self.metadata.command_id}")
        return held | (held_alone(self.condition) if self.condition else set())


class _EventJSON(msgspec.Struct, omit_defaults=True):
    type: str
    schema_version: int
    data: Event | msgspec.Raw
    tags: tuple[str, ...] = ()


class _PartJSON(msgspec.Struct):
    stream: str
    expected: int | None
    events: list[_EventJSON]


class _AppendJSON(msgspec.Struct):
    command_id: UUID | None
    fingerprint: int
    metadata: Metadata
    condition: Condition | None
    parts: list[_PartJSON]
    keys: list[str] | msgspec.UnsetType = msgspec.UNSET


class KeyGone(Conflict):
    """A key that events were sealed with has been deleted since."""


class Outcome(msgspec.Struct):
    """One row of headrace.append; sql/functions/append.sql says what each column means."""

    outcome: str
    stream: str
    expected: int | None
    first_version: int | None
    last_version: int | None
    actual: int
    types: tuple[str, ...] | None


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(list[Outcome])
decode_outcomes = _DECODER.decode


NO_KEYS: Mapping[str, SubjectKey] = {}


def encode_append(append: Append, keys: Mapping[str, SubjectKey] = NO_KEYS) -> bytes:
    """Check an append and give its JSON, sealed with the keys of its subjects. Raises InvalidInput or LimitExceeded."""
    _check(append)
    metadata = append.metadata
    ids = sorted(key.id for key in keys.values()) or msgspec.UNSET
    try:
        parts = [
            _PartJSON(part.stream, part.expected_version, [_event(event, part.stream, keys) for event in part.events])
            for part in append.parts
        ]
        row = _AppendJSON(metadata.command_id, append.fingerprint, metadata, append.condition, parts, ids)
        encoded = _ENCODER.encode(row)
    except TypeError as error:
        raise InvalidInput(
            "An event holds a value that has no JSON form.", f"Stream {append.streams}: {error}."
        ) from error
    if len(encoded) > BYTES_MAX:
        raise LimitExceeded(
            f"An append holds at most {BYTES_MAX:,} bytes of JSON; this one has {len(encoded):,}.",
            f"Stream {append.streams}.",
            "Append the events in parts, and keep large things outside events.",
        )
    return encoded


def _event(event: Event, stream: str, keys: Mapping[str, SubjectKey]) -> _EventJSON:
    event_type = type(event)
    return _EventJSON(event_type.__name__, event_type.schema_version, to_store(event, stream, keys), event.tags())


def _check(append: Append) -> None:
    if not append.parts:
        raise InvalidInput("An append names no stream.", hint="Give it one Part at least.")
    for part in append.parts:
        check_stream_name(part.stream)
        if part.expected_version is not None and part.expected_version < 0:
            raise InvalidInput(
                f"Not a version: {part.expected_version}.",
                f"Stream {part.stream}.",
                "Expect 0 for a stream that must not exist, a version from 1, or None for any.",
            )
    if len({part.stream for part in append.parts}) < len(append.parts):
        raise InvalidInput("An append names a stream twice.", f"It names {append.streams}.", "Put its events together.")
    if append.condition is not None:
        check_criteria(append.condition.criteria)
    count = sum(len(part.events) for part in append.parts)
    if count > EVENTS_MAX:
        raise LimitExceeded(
            f"An append holds at most {EVENTS_MAX} events; this one has {count}.",
            f"Stream {append.streams}.",
            "Append them in parts, or import them with bulk_append.",
        )
    checks = append.condition or any(part.expected_version is not None for part in append.parts)
    if count == 0 and not checks and append.metadata.command_id is None:
        raise InvalidInput(
            "An append has no events.",
            f"Stream {append.streams}; it names no version, no condition and no command id either.",
            "Append at least one event; without any, an append can only check something or be remembered.",
        )


def answer(append: Append, outcomes: Sequence[Outcome], position: Position) -> list[Appended]:
    """What the outcome of each part means to the caller. Raises Conflict, KeyGone, Rejected for an id used before."""
    kind = outcomes[0].outcome
    if kind == "mismatch":
        raise reused()
    if kind == "overtaken":
        raise overtaken(append.streams)
    if kind == "forgotten":
        raise KeyGone(
            "Somebody whom this is about is being forgotten; nothing was written.",
            f"A key was deleted before the append could use it. Stream {append.streams}.",
            "Retry: the person gets a new key.",
        )
    if kind == "conflict":
        lost = next(each for each in outcomes if each.expected is not None and each.expected != each.actual)
        raise conflict(lost.stream, lost.expected or 0, lost.actual)
    return [_appended(part, outcome, position) for part, outcome in zip(append.parts, outcomes, strict=True)]


def _appended(part: Part, outcome: Outcome, position: Position) -> Appended:
    assert outcome.first_version is not None
    assert outcome.last_version is not None
    duplicate = outcome.outcome == "duplicate"
    types = (outcome.types or ()) if duplicate else part.types
    return Appended(outcome.stream, outcome.last_version, outcome.first_version, position, types, duplicate)


def conflict(stream: str, expected: int, actual: int) -> Conflict:
    """Somebody else appended to the stream since the caller read it."""
    found = f"is at version {actual}" if actual else "does not exist"
    wanted = f"version {expected}" if expected else "no stream"
    return Conflict(
        f"Stream {stream} {found}; expected {wanted}.",
        f"Expected {expected}, actual {actual}.",
        "Read the stream again, decide again, retry.",
    )


def overtaken(streams: str) -> Conflict:
    """An event came in that the decision would have had to know."""
    return Conflict(
        "Something happened since this was decided that it depends on; nothing was written.",
        f"An event matches the append's condition that the read before it did not see. Stream {streams}.",
        "Read again, decide again, retry.",
    )


def reused() -> Rejected:
    """One command id, two different requests."""
    return Rejected(
        "This command id was used before, by a different request.",
        "A command id stands for one request: the same command with the same fields.",
        "Send the new request under a new Idempotency-Key.",
    )
