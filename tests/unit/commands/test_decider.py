"""What @decider accepts, and how it says what it does not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from types import ModuleType
from typing import Self

import msgspec
import pytest

from headrace.commands.decider import decider, find_decider
from headrace.commands.domain import Domain
from headrace.errors import InvalidConfiguration, Unknown
from headrace.events.command import Command
from headrace.events.event import Event


class Open(Command, stream="door-{door}", route="/open"):
    door: str


class Close(Command, stream="door-{door}"):
    door: str


class Opened(Event): ...


class Door(msgspec.Struct, frozen=True):
    opened: bool = False

    def evolve(self, event: Opened) -> Self:
        return type(self)(True)


@decider(Open, Close)
def use(command: Open | Close, door: Door) -> Iterable[Event]:
    return [] if door.opened else [Opened()]


def module(**values: object) -> ModuleType:
    made = ModuleType("domain")
    vars(made).update(values)
    return made


def test_a_decider_stays_the_function_it_was() -> None:
    assert list(use(Open(door="a"), Door())) == [Opened()]
    found = find_decider(use)
    assert found is not None
    assert (found.commands, found.decide, found.state_type, found.name) == ((Open, Close), use, Door, "use")


def test_anything_else_is_no_decider() -> None:
    assert find_decider(Door) is None
    assert find_decider(len) is None
    assert find_decider(module) is None


def test_domain_collects_what_a_module_declares() -> None:
    domain = Domain.from_module(module(Open=Open, Close=Close, Opened=Opened, Door=Door, use=use, alias=use, n=1))
    assert list(domain.commands) == ["Open", "Close"]
    assert list(domain.events.by_name()) == ["Opened"]
    assert domain.decider(Open) is domain.decider(Close)


def test_an_unknown_command_is_answered_with_the_nearest_name() -> None:
    domain = Domain.from_module(module(Open=Open, Close=Close, Opened=Opened, use=use))
    with pytest.raises(Unknown) as refusal:
        domain.command("Opn")
    assert refusal.value.hint == "Did you mean Open?"
    assert "Open, Close" in refusal.value.detail


def test_a_command_that_nobody_decides_is_refused() -> None:
    with pytest.raises(InvalidConfiguration, match="Nobody decides Open"):
        Domain.from_module(module(Open=Open))


def test_two_deciders_of_one_command_are_refused() -> None:
    @decider(Open)
    def other(command: Open, door: Door) -> Iterable[Event]:
        return []

    with pytest.raises(InvalidConfiguration, match="use and other"):
        Domain.from_module(module(Open=Open, Close=Close, use=use, other=other))


def test_a_decider_of_a_command_that_is_not_there_is_refused() -> None:
    with pytest.raises(InvalidConfiguration, match="does not declare"):
        Domain.from_module(module(Open=Open, use=use))


def test_two_commands_with_one_route_are_refused() -> None:
    class Unlock(Command, stream="door-{door}", route="/open"):
        door: str

    with pytest.raises(InvalidConfiguration, match="one route"):
        Domain.from_module(module(Open=Open, Unlock=Unlock, Close=Close, use=use))


def test_a_decider_needs_commands() -> None:
    with pytest.raises(InvalidConfiguration, match="needs the commands"):
        decider()
    with pytest.raises(InvalidConfiguration, match="needs the commands"):
        decider(Opened)  # type: ignore[arg-type]


def test_an_async_decider_is_refused() -> None:
    async def decide(command: Open, door: Door) -> AsyncIterator[Event]:
        yield Opened()

    with pytest.raises(InvalidConfiguration, match="not async"):
        decider(Open)(decide)  # type: ignore[type-var]


def test_a_decider_takes_command_and_state() -> None:
    def decide(command: Open) -> list[Event]:
        return []

    with pytest.raises(InvalidConfiguration, match="two arguments"):
        decider(Open)(decide)  # type: ignore[type-var]


def test_a_state_without_a_class_is_refused() -> None:
    @decider(Open)
    def decide(command: Open, door) -> list[Event]:  # type: ignore[no-untyped-def]
        return []

    with pytest.raises(InvalidConfiguration, match="no class"):
        find_decider(decide)


def test_a_state_that_cannot_evolve_is_refused() -> None:
    @decider(Open)
    def decide(command: Open, door: int) -> list[Event]:
        return []

    with pytest.raises(InvalidConfiguration, match="no evolve"):
        find_decider(decide)


class Numbered(msgspec.Struct):
    number: int

    def evolve(self, event: Event) -> Self:
        return self


def test_a_state_that_needs_arguments_is_refused() -> None:
    @decider(Open)
    def decide(command: Open, door: Numbered) -> list[Event]:
        return []

    with pytest.raises(InvalidConfiguration, match="without arguments"):
        find_decider(decide)


def test_a_decider_annotated_for_other_commands_is_refused() -> None:
    @decider(Open, Close)
    def decide(command: Open, door: Door) -> list[Event]:
        return []

    with pytest.raises(InvalidConfiguration, match="other commands") as refusal:
        find_decider(decide)
    assert "Close" in refusal.value.detail


def test_an_annotation_that_names_nothing_is_refused() -> None:
    @decider(Open)
    def decide(command: Open, door: Gate) -> list[Event]:  # type: ignore[name-defined]  # noqa: F821
        return []

    with pytest.raises(InvalidConfiguration, match="names nothing"):
        find_decider(decide)
