"""Command: a request to change something, validated at the edge before any decider sees it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar, dataclass_transform

import msgspec

from headrace.errors import InvalidConfiguration, InvalidInput
from headrace.events.placeholder import fill, missing_fields

STREAM_NAME_LENGTH_MAX = 256


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(msgspec.field,))
class CommandMeta(msgspec.StructMeta):
    """Lets a class statement carry `stream=`, `reads=`, `route=` and `internal=`, and checks them."""

    def __new__(
        cls,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        *,
        stream: str = "",
        reads: Sequence[str] = (),
        route: str = "",
        internal: bool = False,
        **config: Any,
    ) -> Any:
        struct: Any = super().__new__(cls, name, bases, namespace, **{"kw_only": True, **config})
        struct.stream_template = stream
        struct.read_templates = tuple(reads)
        struct.route = route
        struct.internal = internal
        if any(isinstance(base, CommandMeta) for base in bases):
            _check(struct, name)
        return struct


class Command(msgspec.Struct, metaclass=CommandMeta, frozen=True, forbid_unknown_fields=True):
    """Inherit from this to declare a command.

        class LogWorkout(Command, stream="user-{user_id}", route="/log-workout", rename="camel"):
            user_id: str
            duration_seconds: int

    `stream` names the stream that it decides over, and that its events go to; its placeholders are fields of the
    command. With `reads=["course:{course_id}", "student:{student_id}"]` it decides over all events that carry one of
    these tags instead, whatever stream they stand in, and its events are appended only if no other came in between.
    `route` is a second path for `POST /commands/<Name>`, for clients that exist already. `rename` is msgspec's: the
    case of JSON keys. An `internal` command is given by reactors, and by nobody over HTTP.
    """

    stream_template: ClassVar[str] = ""
    read_templates: ClassVar[tuple[str, ...]] = ()
    route: ClassVar[str] = ""
    internal: ClassVar[bool] = False

    def stream(self) -> str:
        """The name of the stream this command is about. Raises InvalidInput for a name nobody could type."""
        name = fill(self.stream_template, self)
        check_stream_name(name)
        return name

    def reads(self) -> tuple[str, ...]:
        """The tags whose events it is decided over; none: the events of its stream."""
        return tuple(fill(template, self) for template in self.read_templates)


def check_stream_name(name: str) -> None:
    """Refuse empty names, names over 256 characters and control characters. Raises InvalidInput."""
    if not name or len(name) > STREAM_NAME_LENGTH_MAX or not name.isprintable():
        raise InvalidInput(
            f"Not a stream name: {name[:80]!r}.",
            f"A stream name has 1 to {STREAM_NAME_LENGTH_MAX} printable characters; this has {len(name)}.",
            "Check the name, or the fields that the command names its stream from.",
        )


def _check(struct: Any, name: str) -> None:
    if not struct.stream_template:
        raise InvalidConfiguration(
            f"Command {name} has no stream.", hint=f'Write class {name}(Command, stream="user-{{user_id}}").'
        )
    for what, template in (("stream", struct.stream_template), *(("tag", each) for each in struct.read_templates)):
        if unknown := missing_fields(template, struct):
            raise InvalidConfiguration(
                f"Command {name} names its {what} {template!r} from a field that it lacks.",
                f"Missing: {', '.join(unknown)}; fields: {', '.join(struct.__struct_fields__)}.",
            )
    if struct.route and struct.internal:
        raise InvalidConfiguration(
            f"Command {name} is internal and has a route: {struct.route}.", hint="Leave one of the two out."
        )
    if struct.route and not re.fullmatch(r"(/[A-Za-z0-9._-]+)+", struct.route):
        raise InvalidConfiguration(
            f"Command {name} has a route that is not a path: {struct.route!r}.", hint="Write /log-workout."
        )
