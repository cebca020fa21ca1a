"""A command is internal when its class says so; it then has no route."""

from __future__ import annotations

import pytest

from headrace.errors import InvalidConfiguration
from headrace.events.command import Command


class Settle(Command, stream="debt-{debt}", internal=True):
    debt: str


class Owe(Command, stream="debt-{debt}"):
    debt: str


def test_a_command_is_internal_when_its_class_says_so() -> None:
    assert Settle.internal
    assert not Owe.internal


def test_an_internal_command_has_no_route() -> None:
    with pytest.raises(InvalidConfiguration, match="internal and has a route"):

        class Forgive(Command, stream="debt-{debt}", route="/forgive", internal=True):
            debt: str
