"""Fold: a state from stored events. The one place where `evolve` meets what the store holds."""

from __future__ import annotations

from collections.abc import Iterable

from headrace.commands.state import State
from headrace.errors import Corrupt, Error
from headrace.events.event import StoredEvent
from headrace.events.event_types import EventTypes
from headrace.telemetry import logger

log = logger(__name__)


def fold(types: EventTypes, state: State, version: int, page: Iterable[StoredEvent]) -> tuple[State, int]:
    """The state and the version after the events of `page`, which go on behind `version`.

    Raises Corrupt for a gap or data that does not fit its type, Unknown for a type that the domain lacks, Error when
    evolve fails; each names stream and version.
    """
    for stored in page:
        if stored.version != version + 1:
            raise Corrupt(
                f"Stream {stored.stream} has a gap.",
                f"Version {stored.version} follows version {version}.",
                "Restore the event store from a backup, and report this.",
            )
        state = evolve(types, state, stored)
        version = stored.version
    return state, version


def evolve(types: EventTypes, state: State, stored: StoredEvent) -> State:
    """The state after one stored event. Raises what `fold` says."""
    event = types.decode(stored)
    try:
        return state.evolve(event)
    except Exception as error:  # the user's code
        log.error("evolve_failed", stream=stored.stream, version=stored.version, exc_info=error)
        raise Error(
            f"{type(state).__name__}.evolve failed: {type(error).__name__}.",
            f"Stream {stored.stream}, version {stored.version}, event {stored.type}.",
            "The server's log has the trace. evolve must accept every event that its streams hold.",
        ) from error
