"""The order in which definitions are built and advanced: each after what it reads from.

A read model that is advanced before its source would miss the batch, so nothing may build an order of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from headrace.errors import UnknownSource
from headrace.streaming_sql import functions, names
from headrace.streaming_sql.definition import Definition
from headrace.streaming_sql.script import did_you_mean


def order(
    definitions: Sequence[Definition], known_events: Collection[str], mirrored: Collection[str] = ()
) -> list[Definition]:
    """The definitions, each after its source, else in the order given, and with `Definition.mirrored` filled in.

    `known_events` are the names of the event types, `mirrored` those of the mirrored tables. Raises InvalidSQL,
    pointing at the statement, for a name defined twice or the name of something else, a source that does not exist, a
    table as a source, definitions in a circle, and what cannot be made of rows that change.
    """
    changes = {names.changes(table): table for table in mirrored}
    known = [*known_events, *mirrored, *changes]
    by_name = _by_name(definitions, known_events, mirrored, changes)
    for definition in definitions:
        _check_source(definition, by_name, known)
        if definition.source in mirrored and definition.source not in known_events:
            _check_rows_that_change(definition)
    ordered: dict[str, Definition] = {}
    for definition in definitions:
        for each in reversed(_path(definition, by_name)):
            source = ordered.get(each.source)
            root = (
                source.mirrored if source else changes.get(each.source, each.source if each.source in mirrored else "")
            )
            ordered.setdefault(each.name, replace(each, mirrored=root))
    return list(ordered.values())


def _by_name(
    definitions: Sequence[Definition],
    known_events: Collection[str],
    mirrored: Collection[str],
    changes: Collection[str],
) -> dict[str, Definition]:
    by_name: dict[str, Definition] = {}
    taken = {
        **dict.fromkeys(changes, "the change stream of a mirrored table"),
        **dict.fromkeys(mirrored, "the name of a mirrored table"),
        **dict.fromkeys(known_events, "the name of an event"),
    }
    for definition in definitions:
        name = definition.name
        if name in taken:
            raise definition.error(f'"{name}" is {taken[name]}', hint=f"Give the {definition.kind} another name.")
        if name in by_name:
            earlier = by_name[name].statement
            hint = f"The other definition: {earlier.script.place(earlier.name.span)}."
            raise definition.error(f'"{name}" is defined twice', hint=hint)
        by_name[name] = definition
    return by_name


def _check_source(definition: Definition, by_name: dict[str, Definition], known: Collection[str]) -> None:
    place = definition.query.source.name
    source = by_name.get(definition.source)
    if source is not None and source.kind == "table":
        hint = f'Read from "{source.source}", as the table does, or join them in a query.'
        raise definition.error(f'"{source.name}" is a table; a definition reads events and streams', place, hint)
    if source is None and definition.source not in known:
        streams = [each.name for each in by_name.values() if each.kind == "stream" and each is not definition]
        hint = did_you_mean(definition.source, [*known, *streams])
        hint = hint or "`headrace sql 'SHOW EVENTS'` lists the events, SHOW STREAMS the streams."
        unknown = definition.error(f'There is no event, stream or mirrored table "{definition.source}"', place, hint)
        raise UnknownSource(unknown.message, unknown.detail, unknown.hint, line=unknown.line, column=unknown.column)


def _check_rows_that_change(definition: Definition) -> None:
    place, table = definition.query.source.name, definition.source
    if definition.grouping is None:
        hint = f"Read its changes: FROM {names.changes(table)}. State per key is a table: CREATE TABLE … GROUP BY …"
        raise definition.error(f'The rows of "{table}" change, and a stream keeps what it has', place, hint)
    for aggregate in definition.grouping.aggregates:
        if functions.depends_on_order(aggregate.function):
            message = f'{aggregate.call.name}() depends on the order of rows, and the rows of "{table}" come and go'
            hint = "Say which value is meant: argMax(value, time), min(value) or groupUniqArray(value)."
            raise definition.error(message, aggregate.call, hint)


def _path(definition: Definition, by_name: dict[str, Definition]) -> list[Definition]:
    """The definition, its source, the source of that, down to the one that reads an event."""
    path = [definition]
    while (source := by_name.get(path[-1].source)) is not None:
        if source in path:
            circle = [*path[path.index(source) :], source]
            way = " → ".join(each.name for each in circle)
            message = f"Definitions read from each other in a circle: {way}"
            raise source.error(message, source.query.source.name, "Let one of them read from an event.")
        path.append(source)
    return path
