"""Definitions come in the order in which they can be built, whatever the order of the files."""

from __future__ import annotations

import itertools

import pytest

from headrace.errors import InvalidSQL
from headrace.streaming_sql.definition import Definition, define_all
from headrace.streaming_sql.dependencies import order
from headrace.streaming_sql.parser import parse

EVENTS = {"WorkoutLogged", "MealAdded"}


def stream(name: str, source: str) -> str:
    return f"CREATE STREAM {name} AS SELECT a FROM {source};"


def table(name: str, source: str) -> str:
    return f"CREATE TABLE {name} AS SELECT a FROM {source} GROUP BY a;"


def definitions(*texts: str) -> list[Definition]:
    return define_all(parse("\n".join(texts), "views.sql"))


def refusal(*texts: str) -> InvalidSQL:
    with pytest.raises(InvalidSQL) as raised:
        order(definitions(*texts), EVENTS)
    return raised.value


def test_every_definition_comes_after_its_source() -> None:
    texts = [stream("a", "WorkoutLogged"), stream("b", "a"), table("c", "b"), table("d", "a"), stream("e", "MealAdded")]
    for shuffled in itertools.permutations(texts):
        ordered = order(definitions(*shuffled), EVENTS)
        seen = set(EVENTS)
        for definition in ordered:
            assert definition.source in seen
            seen.add(definition.name)
        assert len(ordered) == len(texts)


def test_independent_definitions_keep_their_order() -> None:
    given = definitions(stream("z", "MealAdded"), stream("y", "MealAdded"), stream("x", "MealAdded"))
    assert order(given, EVENTS) == given


def test_an_unknown_source_is_recognised() -> None:
    error = refusal(stream("a", "WorkoutLoged"))
    assert error.message == 'There is no event, stream or mirrored table "WorkoutLoged"'
    assert error.hint == 'Did you mean "WorkoutLogged"?'
    assert (error.line, error.column) == (1, 34)
    assert "SHOW EVENTS" in refusal(stream("a", "zzz")).hint


def test_a_table_is_no_source() -> None:
    error = refusal(table("t", "MealAdded"), stream("s", "t"))
    assert error.message == '"t" is a table; a definition reads events and streams'
    assert error.line == 2


def test_a_name_is_defined_once() -> None:
    error = refusal(stream("a", "MealAdded"), table("a", "MealAdded"))
    assert error.message == '"a" is defined twice'
    assert error.hint == "The other definition: views.sql, line 1, column 15."
    assert refusal(stream("MealAdded", "WorkoutLogged")).message == '"MealAdded" is the name of an event'


def test_a_circle_is_shown() -> None:
    error = refusal(stream("d", "a"), stream("a", "b"), stream("b", "c"), stream("c", "a"))
    assert error.message == "Definitions read from each other in a circle: a → b → c → a"


def test_long_chains_are_ordered() -> None:
    texts = [stream(f"s{number}", f"s{number + 1}") for number in range(300)] + [stream("s300", "MealAdded")]
    assert [each.name for each in order(definitions(*texts), EVENTS)] == [f"s{n}" for n in range(300, -1, -1)]
