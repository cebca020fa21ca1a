"""Personal: which fields of an event say something about a person, who may ask to be forgotten.

Declarations only; what is done with them is in sealing.py. A field that is not found to be personal here is stored as
plain text for ever, so whatever cannot be sealed is refused when the class is made.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, NamedTuple, TypeVar

import msgspec
from msgspec import inspect

from headrace.errors import InvalidConfiguration
from headrace.events.placeholder import fields, missing_fields

_MARK = "headrace.personal"

Value = TypeVar("Value")
Personal = Annotated[Value, msgspec.Meta(extra={_MARK: "sealed"})]
JoinablePersonal = Annotated[Value, msgspec.Meta(extra={_MARK: "joinable"})]

SUBJECT_TAG = "subject:"


class PersonalField(NamedTuple):
    """A personal field: its attribute, its name in JSON, whether it may be None, and whether equal values join."""

    name: str
    encode_name: str
    optional: bool
    joinable: bool


@cache
def personal_fields(event_type: Any) -> tuple[PersonalField, ...]:
    """The personal fields of an event type, in their order; empty for most.

    Raises InvalidConfiguration for a field that cannot be personal, and when it is not said whose the fields are.
    """
    info: Any = inspect.type_info(event_type)
    found = tuple(_personal(event_type, field) for field in info.fields if _marks(field.type, set()))
    if found:
        _check(event_type, found)
    return found


def check_personal(event_type: Any) -> None:
    """Refuse a wrong declaration as soon as the class is made. Raises InvalidConfiguration."""
    template = event_type.subject_template
    if template and (not fields(template) or missing_fields(template, event_type)):
        raise InvalidConfiguration(
            f"Event {event_type.__name__} names its subject {template!r} from no field of it.",
            f"Fields: {', '.join(event_type.__struct_fields__)}.",
            'Write subject="{customer_id}".',
        )
    try:
        personal_fields(event_type)
    except NameError:
        return  # it names a class that is declared further below; EventTypes asks again


def _personal(event_type: Any, field: Any) -> PersonalField:
    kind: Any = field.type
    marked = None
    if isinstance(kind, inspect.Metadata):
        kind, marked = kind.type, (kind.extra or {}).get(_MARK)
    optional = isinstance(kind, inspect.UnionType) and any(isinstance(each, inspect.NoneType) for each in kind.types)
    if optional:
        rest = [each for each in kind.types if not isinstance(each, inspect.NoneType)]
        kind = rest[0] if len(rest) == 1 else kind
    # Not with a length or a pattern: what stands in the place of a forgotten value has neither.
    if marked is None or kind != inspect.StrType() or event_type.__struct_config__.array_like:
        raise InvalidConfiguration(
            f"The field {event_type.__name__}.{field.name} cannot be personal.",
            "Personal is for str and str | None, as a field of the event itself and without constraints.",
            f"Write {field.name}: Personal[str] or Personal[str | None].",
        )
    return PersonalField(field.name, field.encode_name, optional, marked == "joinable")


def _check(event_type: Any, found: tuple[PersonalField, ...]) -> None:
    names = {field.name for field in found}
    if not event_type.subject_template:
        raise InvalidConfiguration(
            f"Event {event_type.__name__} has personal fields and does not say whose they are.",
            f"Personal: {', '.join(sorted(names))}.",
            f'Write class {event_type.__name__}(Event, subject="{{customer_id}}").',
        )
    for template in event_type.tag_templates:
        if shown := names.intersection(fields(template)):
            raise InvalidConfiguration(
                f"Event {event_type.__name__} names {template!r} from a personal field.",
                f"Personal: {', '.join(sorted(shown))}; tags and subjects are stored as plain text.",
                "Name it from an id that says nothing about the person.",
            )


def _marks(kind: Any, seen: set[int]) -> bool:
    """Whether a mark stands anywhere in a type; types may refer to themselves."""
    if id(kind) in seen:
        return False
    seen.add(id(kind))
    if isinstance(kind, inspect.Metadata) and _MARK in (kind.extra or {}):
        return True
    return any(_marks(inner, seen) for inner in _inner(kind))


def _inner(kind: Any) -> Iterator[Any]:
    for name in kind.__struct_fields__:
        value = getattr(kind, name)
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, inspect.Type | inspect.Field):
                yield each
