"""Which state a stream has, and what a fold refuses."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec
import pytest

from headrace.commands.decider import decider, find_decider
from headrace.commands.domain import Domain
from headrace.commands.fold import fold
from headrace.commands.history import find_state_type
from headrace.errors import Corrupt, Error, InvalidInput, Unknown
from headrace.events.command import Command
from headrace.events.event import Event, Metadata, StoredEvent


class Logged(Event):
    n: int


class User(msgspec.Struct):
    n: int = 0

    def evolve(self, event: Logged) -> User:
        return User(self.n + 1 // event.n)


class Cart(User): ...


class Limits(User): ...


class Log(Command, stream="user-{user_id}"):
    user_id: str


class Put(Command, stream="user-{user_id}-cart"):
    user_id: str


class Limit(Command, stream="user-{user_id}-cart"):
    user_id: str


@decider(Log)
def log(command: Log, user: User) -> Iterable[Event]:
    return []


@decider(Put)
def put(command: Put, cart: Cart) -> Iterable[Event]:
    return []


@decider(Limit)
def limit(command: Limit, limits: Limits) -> Iterable[Event]:
    return []


def domain(*functions: object) -> Domain:
    deciders = [found for function in functions if (found := find_decider(function)) is not None]
    commands = [command for each in deciders for command in each.commands]
    return Domain(events=[Logged], commands=commands, deciders=deciders)


def stored(version: int, **fields: object) -> StoredEvent:
    values: dict[str, object] = {"type": "Logged", "data": msgspec.Raw(b'{"n": 1}'), **fields}
    return StoredEvent(
        stream="user-1",
        version=version,
        schema_version=1,
        metadata=Metadata(),
        recorded_at=datetime(2026, 3, 15, tzinfo=UTC),
        **values,  # type: ignore[arg-type]
    )


def test_the_state_is_that_of_the_commands_that_name_the_stream_so() -> None:
    assert find_state_type(domain(log), "user-7") is User
    assert isinstance(find_state_type(domain(log, put), "user-7-cart")(), Cart)
    assert find_state_type(domain(log, put), "user-a/b.*") is User


def test_a_stream_that_no_command_is_about_has_no_known_state() -> None:
    with pytest.raises(Unknown, match="No command of this domain is about a stream like 'account-1'"):
        find_state_type(domain(log), "account-1")


def test_of_several_states_one_is_named() -> None:
    both = domain(put, limit)
    assert isinstance(find_state_type(both, "user-7-cart", "Limits")(), Limits)
    with pytest.raises(InvalidInput, match="several states") as refused:
        find_state_type(both, "user-7-cart")
    assert "Cart, Limits" in refused.value.detail
    with pytest.raises(InvalidInput, match="no state Nope"):
        find_state_type(both, "user-7-cart", "Nope")


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (stored(3), Corrupt),
        (stored(1, type="Gone"), Unknown),
        (stored(1, data=msgspec.Raw(b'{"n": "x"}')), Corrupt),
        (stored(1, data=msgspec.Raw(b'{"n": 0}')), Error),
    ],
)
def test_what_cannot_be_folded_is_named_by_stream_and_version(event: StoredEvent, kind: type[Error]) -> None:
    with pytest.raises(kind) as refused:
        fold(domain(log).events, User(), 0, [event])
    said = str(refused.value)
    assert "user-1" in said
    assert f"ersion {event.version}" in said
