"""What @reactor accepts, and how it says what it does not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, datetime
from types import ModuleType
from typing import Any
from uuid import UUID

import msgspec
import pytest

from headrace.errors import InvalidConfiguration
from headrace.events.command import Command
from headrace.events.event import Event, Metadata, StoredEvent
from headrace.events.event_types import EventTypes
from headrace.subscriptions.reaction import command_id
from headrace.subscriptions.reactor import Reactor, find_reactors, reactor


class Placed(Event):
    order: str
    amount: int = 0


class PlacedByPhone(Placed): ...


class Paid(Event):
    order: str


class Opened(Event): ...


class Undeclared(Event):
    order: str


KNOWN = EventTypes([Placed, PlacedByPhone, Paid, Opened])


def find(*functions: Callable[..., Any]) -> list[Reactor]:
    module = ModuleType("reactors")
    vars(module).update({f"function_{number}": each for number, each in enumerate(functions)})
    return find_reactors([module, module], KNOWN)


def stored(data: bytes = b'{"order": "o-1"}') -> StoredEvent:
    return StoredEvent(
        stream="order-1",
        version=7,
        type="Placed",
        schema_version=1,
        data=msgspec.Raw(data),
        metadata=Metadata(),
        recorded_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def test_a_reactor_gets_the_annotated_events_and_their_subclasses() -> None:
    @reactor("orders", key="order")
    def orders(event: Placed | Paid, at: StoredEvent) -> Iterable[Command]:
        return []

    (found,) = find(orders)
    assert found.types(KNOWN) == ["Placed", "PlacedByPhone", "Paid"]
    assert (found.takes_stored, found.is_async, found.from_now) == (True, False, False)
    assert list(orders(Paid(order="o"), stored())) == []


def test_event_means_all_also_those_that_nobody_declares() -> None:
    @reactor("all", from_now=True)
    async def everything(event: Event) -> None: ...

    (found,) = find(everything)
    assert (found.types(KNOWN), found.is_async, found.from_now) == (None, True, True)


def test_the_key_is_a_field_or_the_stream() -> None:
    @reactor("by-order", key="order")
    def by_order(event: Placed) -> Iterable[Command]:
        return []

    @reactor("by-stream")
    def by_stream(event: Placed) -> Iterable[Command]:
        return []

    keyed, streamed = find(by_order, by_stream)
    event = Placed(order="o-1")
    assert (keyed.key_of(stored(), event), streamed.key_of(stored(), event)) == ("o-1", "order-1")
    assert keyed.key_of(stored(b'{"order": "o-2", "amount": "much"}'), None) == "o-2"
    assert keyed.key_of(stored(b"{}"), None) == keyed.key_of(stored(b"[1]"), None) == "order-1"


def test_a_command_has_the_same_id_in_every_process_and_another_for_every_other_reaction() -> None:
    first = command_id("orders", stored(), 0)
    assert first == UUID("8eec3a59-651f-5f81-b9aa-bcfdbe94a357")
    assert len({first, command_id("orders", stored(), 1), command_id("others", stored(), 0)}) == 3


def no_arguments() -> None: ...


def untyped(event) -> None: ...  # type: ignore[no-untyped-def]


def wrongly_typed(event: int) -> None: ...


def undeclared(event: Undeclared) -> None: ...


def without_the_key(event: Placed | Opened) -> None: ...


def names_nothing(event: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821


async def gives(event: Placed) -> AsyncIterator[Command]:
    yield Command()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (no_arguments, "takes one or two arguments"),
        (untyped, "Which events a reactor gets is not said"),
        (wrongly_typed, "Which events a reactor gets is not said"),
        (undeclared, "wants events that domain.py does not declare"),
        (without_the_key, "key of a reactor is not a field of all its events"),
        (names_nothing, "An annotation of a reactor names nothing"),
        (gives, "An async reactor gives nothing"),
    ],
)
def test_what_cannot_work_is_refused(function: Callable[..., Any], message: str) -> None:
    with pytest.raises(InvalidConfiguration, match=message):
        find(reactor("orders", key="order")(function))


@pytest.mark.parametrize("name", ["", "Orders", "1st", "a b", "x" * 61])
def test_a_name_that_nobody_could_type_is_refused(name: str) -> None:
    with pytest.raises(InvalidConfiguration, match="Not a name for a reactor"):
        reactor(name)


def test_a_time_limit_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidConfiguration, match="time limit"):
        reactor("orders", time_max_s=0)


def test_two_reactors_of_one_name_are_refused() -> None:
    def again(event: Placed) -> None: ...

    with pytest.raises(InvalidConfiguration, match="Two reactors are called orders"):
        find(reactor("orders")(another), reactor("orders")(again))


def another(event: Placed) -> None: ...
