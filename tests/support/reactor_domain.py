"""A domain for tests of reactors: notes that are written, and copied by reactors. Also a project's `domain.py`."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from headrace import Command, Event, Rejected, decider


class Write(Command, stream="{stream_name}"):
    stream_name: str
    topic: str
    number: int = 0


class Copy(Command, stream="copy-{topic}"):
    topic: str
    number: int
    refuse: bool = False


class Written(Event):
    topic: str
    number: int


class Copied(Event):
    topic: str
    number: int


class Notes(Struct, frozen=True):
    def evolve(self, event: Written | Copied) -> Notes:
        return self


@decider(Write)
def write(command: Write, notes: Notes) -> Iterable[Event]:
    yield Written(topic=command.topic, number=command.number)


@decider(Copy)
def copy(command: Copy, notes: Notes) -> Iterable[Event]:
    if command.refuse:
        raise Rejected("It is not to be copied.")
    yield Copied(topic=command.topic, number=command.number)
