"""Event: an immutable fact, past tense, typed and versioned; and the envelope it is stored in."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, dataclass_transform
from uuid import UUID

import msgspec


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(msgspec.field,))
class EventMeta(msgspec.StructMeta):
    """Lets a class statement carry `version=` and `renamed_from=`, which msgspec's own metaclass would refuse."""

    def __new__(
        cls,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        *,
        version: int = 1,
        renamed_from: str | tuple[str, ...] = (),
        **config: Any,
    ) -> Any:
        # kw_only is not inherited in msgspec; a field with a default may then stand before one without.
        struct: Any = super().__new__(cls, name, bases, namespace, **{"kw_only": True, **config})
        struct.schema_version = version
        struct.renamed_from = (renamed_from,) if isinstance(renamed_from, str) else renamed_from
        return struct


class Event(msgspec.Struct, metaclass=EventMeta, frozen=True):
    """Inherit from this to declare an event type; the class name is the type's name in the store.

        class WorkoutLogged(Event, version=1):
            user_id: str
            distance_km: float | None = None

    Fields may be str, int, float, bool, datetime, date, Decimal, UUID, Literal and Enum of strings, lists of
    these, other Structs, dicts, and `| None` of each. Raise `version` when a stored shape changes, and write an
    `upcaster` from the version before. `renamed_from` is the name that the type had before, or several: what is
    stored under them is read as this type, and its versions go on counting.
    """

    schema_version: ClassVar[int] = 1
    renamed_from: ClassVar[tuple[str, ...]] = ()


class Metadata(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who and why: stored beside each event, never inside it."""

    command_id: UUID | None = None
    command: str | None = None
    actor: str | None = None
    correlation_id: str | None = None
    causation_id: str | None = None


class StoredEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event as it stands in the event store. `version` is its place in the stream, counted from 1."""

    stream: str
    version: int
    type: str
    schema_version: int
    data: msgspec.Raw
    metadata: Metadata
    recorded_at: datetime
