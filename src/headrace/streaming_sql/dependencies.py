"""The order in which definitions are built and advanced: each after what it reads from.

A read model that is advanced before its source would miss the batch, so nothing may build an order of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from headrace.streaming_sql.definition import Definition
from headrace.streaming_sql.script import did_you_mean


def order(definitions: Sequence[Definition], known_events: Collection[str]) -> list[Definition]:
    """The definitions, each after its source, else in the order given.

    `known_events` are the names of the event types. Raises InvalidSQL, pointing at the statement, for a name defined
    twice or the name of an event, a source that does not exist, a table as a source, and definitions in a circle.
    """
    by_name = _by_name(definitions, known_events)
    for definition in definitions:
        _check_source(definition, by_name, known_events)
    ordered: dict[str, Definition] = {}
    for definition in definitions:
        for each in reversed(_path(definition, by_name)):
            ordered.setdefault(each.name, each)
    return list(ordered.values())


def _by_name(definitions: Sequence[Definition], known_events: Collection[str]) -> dict[str, Definition]:
    by_name: dict[str, Definition] = {}
    for definition in definitions:
        name = definition.name
        if name in known_events:
            message = f'"{name}" is the name of an event'
            raise definition.error(message, hint=f"Give the {definition.kind} another name.")
        if name in by_name:
            earlier = by_name[name].statement
            hint = f"The other definition: {earlier.script.place(earlier.name.span)}."
            raise definition.error(f'"{name}" is defined twice', hint=hint)
        by_name[name] = definition
    return by_name


def _check_source(definition: Definition, by_name: dict[str, Definition], known_events: Collection[str]) -> None:
    place = definition.query.source.name
    source = by_name.get(definition.source)
    if source is not None and source.kind == "table":
        hint = f'Read from "{source.source}", as the table does, or join them in a query.'
        raise definition.error(f'"{source.name}" is a table; a definition reads events and streams', place, hint)
    if source is None and definition.source not in known_events:
        streams = [each.name for each in by_name.values() if each.kind == "stream" and each is not definition]
        hint = did_you_mean(definition.source, [*known_events, *streams])
        hint = hint or "`headrace sql 'SHOW EVENTS'` lists the events, SHOW STREAMS the streams."
        raise definition.error(f'There is no event or stream "{definition.source}"', place, hint)


def _path(definition: Definition, by_name: dict[str, Definition]) -> list[Definition]:
    """The definition, its source, the source of that, down to the one that reads an event."""
    path = [definition]
    while (source := by_name.get(path[-1].source)) is not None:
        if source in path:
            circle = [*path[path.index(source) :], source]
            names = " → ".join(each.name for each in circle)
            message = f"Definitions read from each other in a circle: {names}"
            raise source.error(message, source.query.source.name, "Let one of them read from an event.")
        path.append(source)
    return path
