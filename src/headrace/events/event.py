"""Event: an immutable fact, past tense, typed and versioned; and the envelope it is stored in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar, dataclass_transform
from uuid import UUID

import msgspec

from headrace.errors import InvalidConfiguration, InvalidInput
from headrace.events.personal import SUBJECT_TAG, check_personal
from headrace.events.placeholder import fields, fill, missing_fields
from headrace.events.sealing import Keys

TAG_LENGTH_MAX = 256


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(msgspec.field,))
class EventMeta(msgspec.StructMeta):
    """Lets a class statement carry `version=`, `tags=`, `renamed_from=` and `subject=`, which msgspec would refuse."""

    def __new__(
        cls,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        *,
        version: int = 1,
        tags: Sequence[str] | None = None,
        renamed_from: str | tuple[str, ...] = (),
        subject: str | None = None,
        **config: Any,
    ) -> Any:
        # kw_only is not inherited in msgspec; a field with a default may then stand before one without.
        struct: Any = super().__new__(cls, name, bases, namespace, **{"kw_only": True, **config})
        struct.schema_version = version
        if tags is not None:
            struct.tag_templates = tuple(tags)
            _check_templates(name, struct)
        struct.renamed_from = (renamed_from,) if isinstance(renamed_from, str) else renamed_from
        if subject is not None:
            struct.subject_template = subject
        if struct.subject_template:
            kept = (tag for tag in struct.tag_templates if not tag.startswith(SUBJECT_TAG))
            struct.tag_templates = (*kept, SUBJECT_TAG + struct.subject_template)
        check_personal(struct)
        return struct


class Event(msgspec.Struct, metaclass=EventMeta, frozen=True):
    """Inherit from this to declare an event type; the class name is the type's name in the store.

        class WorkoutLogged(Event, version=1, tags=["user:{user_id}"]):
            user_id: str
            distance_km: float | None = None

    `tags` say what an event is about beyond its stream; their placeholders are fields of the event, and a tag whose
    field is None is left out. They can be read by, and appends can be conditional on them.

    With `subject="{user_id}"` its fields of type `Personal[str]` and `Personal[str | None]` are stored as ciphertext,
    under a key of that subject; `headrace forget` deletes it. The event then carries the tag `subject:<subject>` too.

    Fields may be str, int, float, bool, datetime, date, Decimal, UUID, Literal and Enum of strings, lists of
    these, other Structs, dicts, and `| None` of each. Raise `version` when a stored shape changes, and write an
    `upcaster` from the version before. `renamed_from` is the name that the type had before, or several: what is
    stored under them is read as this type, and its versions go on counting.
    """

    schema_version: ClassVar[int] = 1
    tag_templates: ClassVar[tuple[str, ...]] = ()
    renamed_from: ClassVar[tuple[str, ...]] = ()
    subject_template: ClassVar[str] = ""

    def subject(self) -> str:
        """Whom its personal fields are about. Raises InvalidInput when a field that says so is None."""
        if any(getattr(self, name) is None for name in fields(self.subject_template)):
            raise InvalidInput(
                f"A {type(self).__name__} does not say whom it is about.",
                f"Its subject is {self.subject_template!r}, and a field of that is None.",
                "Fill it in, or use an event without personal fields.",
            )
        return fill(self.subject_template, self)

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
        if template.startswith(SUBJECT_TAG):
            raise InvalidConfiguration(f"Event {name} has the tag {template!r}.", hint="Write it as subject= instead.")
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
    """An event as it stands in the event store. `version` is its place in the stream, counted from 1.

    `data` holds personal fields as ciphertext. `keys` is what they are read with; without, they stay ciphertext.
    """

    stream: str
    version: int
    type: str
    schema_version: int
    data: msgspec.Raw
    metadata: Metadata
    recorded_at: datetime
    tags: tuple[str, ...] = ()
    keys: Keys | None = None
