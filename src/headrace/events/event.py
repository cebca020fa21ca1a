"""Event: an immutable fact, past tense, typed and versioned; and the envelope it is stored in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar, dataclass_transform
from uuid import UUID

import msgspec

from headrace.errors import InvalidConfiguration, InvalidInput
from headrace.events.placeholder import fields, fill, missing_fields

TAG_LENGTH_MAX = 256


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(msgspec.field,))
class EventMeta(msgspec.StructMeta):
    """Lets a class statement carry `version=`, `tags=` and `renamed_from=`, which msgspec's own would refuse."""

    def __new__(
        cls,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        *,
        version: int = 1,
        tags: Sequence[str] | None = None,
        renamed_from: str | tuple[str, ...] = (),
        **config: Any,
    ) -> Any:
        # kw_only is not inherited in msgspec; a field with a default may then stand before one without.
        struct: Any = super().__new__(cls, name, bases, namespace, **{"kw_only": True, **config})
        struct.schema_version = version
        if tags is not None:
            struct.tag_templates = tuple(tags)
            _check_templates(name, struct)
        struct.renamed_from = (renamed_from,) if isinstance(renamed_from, str) else renamed_from
        return struct


class Event(msgspec.Struct, metaclass=EventMeta, frozen=True):
    """Inherit from this to declare an event type; the class name is the type's name in the store.

        class WorkoutLogged(Event, version=1, tags=["user:{user_id}"]):
            user_id: str
            distance_km: float | None = None

    `tags` say what an event is about beyond its stream; their placeholders are fields of the event, and a tag whose
    field is None is left out. They can be read by, and appends can be conditional on them.

    Fields may be str, int, float, bool, datetime, date, Decimal, UUID, Literal and Enum of strings, lists of
    these, other Structs, dicts, and `| None` of each. Raise `version` when a stored shape changes, and write an
    `upcaster` from the version before. `renamed_from` is the name that the type had before, or several: what is
    stored under them is read as this type, and its versions go on counting.
    """

    schema_version: ClassVar[int] = 1
    tag_templates: ClassVar[tuple[str, ...]] = ()
    renamed_from: ClassVar[tuple[str, ...]] = ()

    def tags(self) -> tuple[str, ...]:
        """The tags of this event, in the order of its class. Raises InvalidInput for one nobody could type."""
        if not self.tag_templates:
            return ()
        found = []
        for template in self.tag_templates:
            if all(getattr(self, name) is not None for name in fields(template)):
                tag = fill(template, self)
                check_tag(tag)
                found.append(tag)
        return tuple(found)


def check_tag(tag: str) -> None:
    """Refuse empty tags, tags over 256 characters and control characters. Raises InvalidInput."""
    if not tag or len(tag) > TAG_LENGTH_MAX or not tag.isprintable():
        raise InvalidInput(
            f"Not a tag: {tag[:80]!r}.",
            f"A tag has 1 to {TAG_LENGTH_MAX} printable characters; this has {len(tag)}.",
            "Check the fields that the event's tags are named from.",
        )


def _check_templates(name: str, struct: Any) -> None:
    for template in struct.tag_templates:
        if unknown := missing_fields(template, struct):
            raise InvalidConfiguration(
                f"Event {name} names its tag {template!r} from a field that it lacks.",
                f"Missing: {', '.join(unknown)}; fields: {', '.join(struct.__struct_fields__)}.",
            )


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
    tags: tuple[str, ...] = ()
