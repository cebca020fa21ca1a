"""Snapshots: saved states, so that a long stream is not folded from its start each time. Pure; no I/O.

A snapshot is never trusted for correctness. It belongs to the code that made it: any change in the project's own
modules makes it another one's. It carries a digest, and is used only if its stream really has an event of its version.
What is not as it should be is passed over, and the stream is folded from its start.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import msgspec

from headrace.commands.state import State
from headrace.errors import InvalidConfiguration

EVERY_EVENTS = "snapshot_every_events"
EVERY_BYTES = "snapshot_every_bytes"
_DIGEST_BYTES = 16


class Snapshots:
    """When states of one class are saved, and their bytes both ways.

    The class says it: `snapshot_every_events: ClassVar[int] = 500`, or `snapshot_every_bytes` of event data, or both:
    whichever comes first. A class without either has no snapshots. Raises InvalidConfiguration for a number below 1,
    and for a state that has no JSON form.
    """

    def __init__(self, state_type: Any) -> None:
        self.state = f"{state_type.__module__}.{state_type.__qualname__}"
        self._every_events = _every(state_type, EVERY_EVENTS)
        self._every_bytes = _every(state_type, EVERY_BYTES)
        self.fingerprint = 0
        if self.wanted:
            self.fingerprint = _fingerprint(state_type)
            self._decode = _decoder(state_type)

    @property
    def wanted(self) -> bool:
        return self._every_events is not None or self._every_bytes is not None

    @property
    def counts_bytes(self) -> bool:
        return self._every_bytes is not None

    def due(self, events: int, size: int) -> bool:
        """Whether to save, after so many events and bytes of event data since the last time."""
        return (self._every_events is not None and events >= self._every_events) or (
            self._every_bytes is not None and size >= self._every_bytes
        )

    def encode(self, stream: str, version: int, state: State) -> bytes:
        """The state as bytes, with a digest that says whose state it is."""
        data = msgspec.json.encode(state)
        return _digest(stream, version, data) + data

    def decode(self, stream: str, version: int, saved: bytes) -> State | None:
        """The state, or None for bytes that are not what `encode` gave for this stream and version."""
        digest, data = saved[:_DIGEST_BYTES], saved[_DIGEST_BYTES:]
        if digest != _digest(stream, version, data):
            return None
        state: State = self._decode(data)
        return state


def _digest(stream: str, version: int, data: bytes) -> bytes:
    return hashlib.blake2b(f"{stream}:{version}:".encode() + data, digest_size=_DIGEST_BYTES).digest()


def _every(state_type: Any, name: str) -> int | None:
    every = getattr(state_type, name, None)
    if every is not None and (not isinstance(every, int) or every < 1):
        raise InvalidConfiguration(
            f"{state_type.__name__}.{name} is not a number of 1 or more: {every!r}.",
            hint=f"Write {name}: ClassVar[int] = 500.",
        )
    return every


def _decoder(state_type: Any) -> Any:
    try:
        msgspec.json.decode(msgspec.json.encode(state_type()), type=state_type)
        return msgspec.json.Decoder(state_type).decode
    except (TypeError, msgspec.DecodeError) as error:
        raise InvalidConfiguration(
            f"{state_type.__name__} cannot have snapshots: it has no JSON form.",
            f"{error}.",
            "Make it a msgspec.Struct or a dataclass of plain values, or leave snapshots out.",
        ) from error


def _fingerprint(state_type: Any) -> int:
    """A 64-bit number that changes with the text of the project's modules that are loaded: the state's and those beside
    it. What they import from elsewhere is not in it.
    """
    own = getattr(sys.modules.get(state_type.__module__), "__file__", None)
    files = {own} if own else set()
    if own:
        beside = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
        files |= {file for file in beside if file and Path(file).parent == Path(own).parent}
    digest = hashlib.blake2b(digest_size=8)
    for file in sorted(files):
        digest.update(Path(file).read_bytes())
    return int.from_bytes(digest.digest(), "big", signed=True)
