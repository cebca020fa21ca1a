"""EventTypes: which event types a project has, and their JSON, both ways."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from headrace.errors import Corrupt, InvalidConfiguration, Unknown
from headrace.events.event import Event, StoredEvent
from headrace.events.personal import personal_fields
from headrace.events.sealing import unsealed

_ENCODER = msgspec.json.Encoder()


class EventTypes:
    """The event types by name. Built once from the project's domain module; immutable after that."""

    def __init__(self, types: Iterable[type[Event]]) -> None:
        self._types: dict[str, type[Event]] = {}
        for event_type in types:
            personal_fields(event_type)
            name = event_type.__name__
            if self._types.setdefault(name, event_type) is not event_type:
                raise InvalidConfiguration(f"Two event types are called {name}.", hint="Rename one of them.")
        self._decoders = {name: msgspec.json.Decoder(event_type) for name, event_type in self._types.items()}

    def __iter__(self) -> Iterator[type[Event]]:
        return iter(self._types.values())

    def by_name(self) -> Mapping[str, type[Event]]:
        """Event classes by type name, in the order in which the domain declares them."""
        return self._types

    def decode(self, stored: StoredEvent) -> Event:
        """The domain's event. Its personal fields are readable, or None or "[forgotten]" in their place; without
        `stored.keys`, as for who has no business reading them, they are what is stored: ciphertext.

        Raises Unknown for a type this project lacks, Corrupt for data that does not fit or was tampered with.
        """
        decoder = self._decoders.get(stored.type)
        if decoder is None:
            raise Unknown(
                f"The store holds an event of a type that the domain does not declare: {stored.type}.",
                f"Stream {stored.stream}, version {stored.version}.",
                f"Declare class {stored.type}(Event) in domain.py again; stored events are never deleted.",
            )
        event_type = self._types[stored.type]
        try:
            data: bytes | msgspec.Raw = stored.data
            if stored.keys is not None and personal_fields(event_type):
                data = unsealed(bytes(data), event_type, stored.keys, stream=stored.stream, stored_type=stored.type)
            return decoder.decode(data)
        except msgspec.DecodeError as error:
            raise Corrupt(
                f"A stored {stored.type} does not fit its declaration.",
                f"Stream {stored.stream}, version {stored.version}, schema version {stored.schema_version}: {error}.",
                "Give new fields a default, or keep the old shape.",
            ) from error


def encode(event: Event) -> bytes:
    """The event's JSON, as it is stored."""
    return _ENCODER.encode(event)
