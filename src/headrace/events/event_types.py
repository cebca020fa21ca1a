"""EventTypes: which event types a project has, and their JSON, both ways, whatever version it was stored at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from headrace.errors import Corrupt, Error, InvalidConfiguration, Unknown
from headrace.events.event import Event, StoredEvent
from headrace.events.personal import personal_fields
from headrace.events.sealing import unsealed
from headrace.events.upcasting import Upcaster, chains, former_names

_ENCODER = msgspec.json.Encoder()


class EventTypes:
    """The event types by name, and how their old versions are read. Built once from the project's domain module.

    Immutable after that. Raises InvalidConfiguration for two types of one name, for upcasters that leave a gap or do
    not belong to a type's versions, and for a former name that is taken.
    """

    def __init__(self, types: Iterable[type[Event]], upcasters: Iterable[Upcaster] = ()) -> None:
        self._types: dict[str, type[Event]] = {}
        for event_type in types:
            personal_fields(event_type)
            name = event_type.__name__
            if self._types.setdefault(name, event_type) is not event_type:
                raise InvalidConfiguration(f"Two event types are called {name}.", hint="Rename one of them.")
        self._chains = chains(self._types, upcasters)
        self._by_any_name = {**self._types, **former_names(self._types)}
        self._decoders = {event_type: msgspec.json.Decoder(event_type) for event_type in self._types.values()}
        # Events that are stored as they are declared now, the many: one look-up, then the decoder.
        self._current = {
            name: (event_type.schema_version, self._decoders[event_type].decode)
            for name, event_type in self._by_any_name.items()
        }

    def __iter__(self) -> Iterator[type[Event]]:
        return iter(self._types.values())

    def by_name(self) -> Mapping[str, type[Event]]:
        """Event classes by type name, in the order in which the domain declares them."""
        return self._types

    def find(self, name: str) -> type[Event] | None:
        """The class that a stored type's name stands for: its name today, or one that it had before."""
        return self._by_any_name.get(name)

    def stored_names(self, kinds: tuple[type[Event], ...]) -> list[str]:
        """The names that events of these classes, heirs included, are stored under: former names too."""
        return [name for name, event_type in self._by_any_name.items() if issubclass(event_type, kinds)]

    def upcasters(self, event_type: type[Event]) -> tuple[Upcaster, ...]:
        """The upcasters of a type, from version 1 on."""
        return self._chains[event_type]

    def is_old(self, type_name: str, schema_version: int) -> bool:
        """Whether events stored like this are of an older version, or under a former name. Unknown types are not."""
        event_type = self._by_any_name.get(type_name)
        return event_type is not None and (
            schema_version < event_type.schema_version or type_name != event_type.__name__
        )

    def is_newer(self, type_name: str, schema_version: int) -> bool:
        """Whether events stored like this are of a version that this domain does not know yet."""
        event_type = self._by_any_name.get(type_name)
        return event_type is not None and schema_version > event_type.schema_version

    def decode(self, stored: StoredEvent) -> Event:
        """The domain's event, upcast to what its type is now.

        Its personal fields are readable, or None or "[forgotten]" in their place; without `stored.keys`, as for who has
        no business reading them, they are what is stored: ciphertext.

        Raises Unknown for a type that this project lacks, InvalidConfiguration for a version that it does not
        know, Corrupt for data that does not fit or was tampered with, and Error when an upcaster fails.
        """
        current = self._current.get(stored.type)
        try:
            if current is not None and current[0] == stored.schema_version and stored.keys is None:
                return current[1](stored.data)
            event_type = self._find(stored)
            data = _ENCODER.encode(self.upcast(stored))
            if stored.keys is not None and personal_fields(event_type):
                data = unsealed(data, event_type, stored.keys, stream=stored.stream, stored_type=stored.type)
            return self._decoders[event_type].decode(data)
        except (msgspec.MsgspecError, TypeError, ValueError, OverflowError) as error:
            raise Corrupt(
                f"A stored {stored.type} does not fit its declaration.",
                f"{_where(stored)}: {error}.",
                "Give new fields a default, or raise the version and write an upcaster.",
            ) from error

    def upcast(self, stored: StoredEvent) -> dict[str, Any]:
        """The event's data as its type's version of today would have stored it, not checked. Raises like `decode`."""
        event_type = self._find(stored)
        try:
            data = msgspec.json.decode(stored.data, type=dict[str, Any])
        except (msgspec.MsgspecError, ValueError) as error:
            raise Corrupt(f"A stored {stored.type} is no JSON object.", f"{_where(stored)}: {error}.") from error
        for each in self._chains[event_type][stored.schema_version - 1 :]:
            data = _lift(each, data, stored)
        return data

    def _find(self, stored: StoredEvent) -> type[Event]:
        event_type = self._by_any_name.get(stored.type)
        if event_type is None:
            raise Unknown(
                f"The store holds an event of a type that the domain does not declare: {stored.type}.",
                f"{_where(stored)}.",
                f"Declare class {stored.type}(Event) again, or name it in the renamed_from of its successor.",
            )
        if not 1 <= stored.schema_version <= event_type.schema_version:
            raise InvalidConfiguration(
                f"The store holds a {stored.type} of a version that the domain does not know.",
                f"{_where(stored)}; {event_type.__name__} is at version {event_type.schema_version} here.",
                "Run the domain.py that has stored it.",
            )
        return event_type


def encode(event: Event) -> bytes:
    """The event's JSON, as it is stored."""
    return _ENCODER.encode(event)


def _lift(each: Upcaster, data: dict[str, Any], stored: StoredEvent) -> dict[str, Any]:
    try:
        lifted = each.upcast(data)
    except Exception as error:  # the project's own code; its message may hold data, its class does not
        raise Error(
            f"An upcaster of {each.event_type.__name__} failed: {type(error).__name__}.",
            f"{_where(stored)}; {each.name} lifts it from version {each.from_version}.",
            "It must accept every event that was stored at that version.",
        ) from error
    if not isinstance(lifted, dict):
        raise Error(
            f"An upcaster of {each.event_type.__name__} gave {type(lifted).__name__} instead of a dict.",
            f"{_where(stored)}; {each.name} lifts it from version {each.from_version}.",
            "Return the data of the next version.",
        )
    return lifted


def _where(stored: StoredEvent) -> str:
    return f"Stream {stored.stream}, version {stored.version}, schema version {stored.schema_version}"
