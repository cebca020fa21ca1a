"""History: the state of a stream at any version or time, folded anew from its events, and what changed between two.

It reads; it remembers nothing and decides nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from headrace.commands.domain import Domain
from headrace.commands.fold import fold
from headrace.commands.point import Point
from headrace.commands.state import State
from headrace.commands.state_view import Change, difference, view
from headrace.errors import InvalidInput, Unknown
from headrace.event_store.event_store import EventStore

_PLACEHOLDER = re.compile(r"\{\w+\}")


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """A stream as it was: `state` as JSON values after the event of `version`, which was recorded at `recorded_at`.

    Version 0, recorded at no time, is the state before the first event.
    """

    stream: str
    version: int
    recorded_at: datetime | None
    state_type: str
    state: Any


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What changed in a state from one version of its stream to another; none for equal ones."""

    stream: str
    from_version: int
    to_version: int
    state_type: str
    changes: list[Change]


class History:
    """The past of every stream of a domain."""

    def __init__(self, *, store: EventStore, domain: Domain) -> None:
        self._store = store
        self._domain = domain

    async def at(self, stream: str, point: Point | None = None, *, state_type: str | None = None) -> Past:
        """The stream at a version or a time, or now. `state_type` names one of several states of the stream.

        Time is meant as EventStore.find_version means it. Raises Unknown for a stream without events or one that no
        command of the domain is about, InvalidInput for a version that it has not reached, and what fold raises.
        """
        make = find_state_type(self._domain, stream, state_type)
        version = await self._version(stream, point)
        state, reached, recorded_at = make(), 0, None
        async for stored in self._store.read_stream(stream, up_to_version=version):
            state, reached = fold(self._domain.events, state, reached, [stored])
            recorded_at = stored.recorded_at
        return Past(stream=stream, version=reached, recorded_at=recorded_at, state_type=_name(make), state=view(state))

    async def difference(
        self, stream: str, before: Point, after: Point, *, state_type: str | None = None
    ) -> Difference:
        """What changed between two points, field by field; backwards when `before` is the later one. Raises as `at`."""
        first = await self.at(stream, before, state_type=state_type)
        second = await self.at(stream, after, state_type=state_type)
        return Difference(
            stream=stream,
            from_version=first.version,
            to_version=second.version,
            state_type=first.state_type,
            changes=difference(first.state, second.state),
        )

    async def _version(self, stream: str, point: Point | None) -> int:
        latest = await require_stream(self._store, stream)
        if isinstance(point, datetime):
            return await self._store.find_version(stream, point)
        if point is not None and point > latest:
            raise InvalidInput(
                f"Stream {stream} has no version {point}.", f"It is at version {latest}.", f"Ask for 0 to {latest}."
            )
        return latest if point is None else point


async def require_stream(store: EventStore, stream: str) -> int:
    """The present version of a stream. Raises Unknown for one without events."""
    version = await store.find_version(stream)
    if version == 0:
        raise Unknown(
            f"There is no stream {stream!r}.",
            "It holds no event.",
            "`headrace events tail --no-follow` shows streams that do.",
        )
    return version


def find_state_type(domain: Domain, stream: str, name: str | None = None) -> Callable[[], State]:
    """The class of a stream's state: that of the deciders whose commands name their streams like it.

    Of several ways to name it the one with the most fixed characters counts: `user-{id}-cart` before `user-{id}`.
    Raises Unknown when there is none, InvalidInput when deciders keep different states of it and `name` is none.
    """
    found: dict[str, Callable[[], State]] = {}
    fixed_max = -1
    for command in domain.commands.values():
        pieces = _PLACEHOLDER.split(command.stream_template)
        fixed = sum(map(len, pieces))
        if fixed < fixed_max or re.fullmatch(".+".join(map(re.escape, pieces)), stream) is None:
            continue
        if fixed > fixed_max:
            found, fixed_max = {}, fixed
        make = domain.decider(command).state_type
        found[_name(make)] = make
    if not found:
        templates = sorted({command.stream_template for command in domain.commands.values()})
        raise Unknown(
            f"No command of this domain is about a stream like {stream!r}, so its state is not known.",
            f"Streams are named {', '.join(templates) or 'by no command'}.",
            "Its events can be read all the same.",
        )
    if name is None and len(found) == 1:
        return next(iter(found.values()))
    if name not in found:
        raise InvalidInput(
            f"Stream {stream} has no state {name}." if name else f"Stream {stream} has several states.",
            f"Its deciders decide from: {', '.join(found)}.",
            "Name one of them.",
        )
    return found[name]


def _name(make: Callable[[], State]) -> str:
    return getattr(make, "__name__", repr(make))
