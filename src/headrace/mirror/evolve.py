"""Evolve: from the columns that a mirrored table had to those that the stream sends now. Pure.

The stream says names and types, in the order of PostgreSQL's column numbers, but not the numbers. Those are in the
catalog, which may be ahead of the stream. A column keeps its number for life, so it tells a new name from a new column.
What rows hold that are older than a new column is in the catalog as well, unless the table was written anew for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from headrace.bus.batch import Column as SentColumn
from headrace.bus.batch import Definition
from headrace.capture.source_tables import SourceColumn, SourceTable
from headrace.mirror.shape import Column, Shape, source_type

# PostgreSQL type names: what every value of the first is in the second too, also as ClickHouse casts it.
_WIDER = {("int2", "int4"), ("int2", "int8"), ("int4", "int8"), ("float4", "float8")}
_TEXTS = {"text", "varchar"}
_SCALE_BITS = 0x7FF


class CannotFollow(Exception):
    """The change of the schema cannot be followed row by row; `str()` says why."""


@dataclass(frozen=True, slots=True)
class Evolution:
    """The new shape, and what leads to it: names that are dropped, (old, new) names, new columns with the text of the
    value that older rows have, and columns of another type.
    """

    shape: Shape
    dropped: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...]
    added: tuple[tuple[Column, str | None], ...]
    retyped: tuple[Column, ...]


def evolve(
    shape: Shape, sent: Definition, catalog: SourceTable | None, *, rewritten: bool, choices: Mapping[str, str]
) -> Evolution:
    """How to follow a change of the columns. `rewritten`: the table's file is not the one that was known.

    Raises CannotFollow.
    """
    if catalog is None:
        raise CannotFollow("Its columns changed, and it does not exist any more.")
    by_name = {column.name: column for column in catalog.columns}
    by_number = {column.attnum: column for column in catalog.columns}
    pairs = _pair(shape, sent, by_name, by_number)
    numbers = {column.attnum for column in shape.columns}
    columns, renamed, added, retyped = [], [], [], []
    for place, column in enumerate(sent.columns):
        known = by_name.get(column.name)
        old = pairs.get(place)
        if old is None:
            if known is None or (known.oid, known.typmod) != (column.oid, column.typmod):
                raise CannotFollow(f"The column {column.name} was added and changed again.")
            if known.attnum in numbers:  # not new: rows have values for it that would be NULL
                raise CannotFollow(f"A column took over the name {column.name}.")
            new = _column(known, choices)
            added.append((new, _missing(known, rewritten=rewritten)))
        else:
            new = _changed(old, column, known)
            if old.name != column.name:
                renamed.append((old.name, column.name))
            if new.target.clickhouse != old.target.clickhouse:
                retyped.append(new)
        columns.append(new)
    kept = {old.name for old in pairs.values()}
    dropped = tuple(column.name for column in shape.columns if column.name not in kept)
    _check_key(shape, sent, renamed, dropped)
    _check_names(shape, renamed)
    return Evolution(
        msgspec.structs.replace(shape, columns=tuple(columns)), dropped, tuple(renamed), tuple(added), tuple(retyped)
    )


def _pair(
    shape: Shape, sent: Definition, by_name: Mapping[str, SourceColumn], by_number: Mapping[int, SourceColumn]
) -> dict[int, Column]:
    """Which old column each column that is sent is, by its place."""
    pairs: dict[int, Column] = {}
    places = {column.name: place for place, column in enumerate(sent.columns)}
    for old in shape.columns:
        now = by_number.get(old.attnum)
        same = places.get(old.name)
        if same is not None and (now is None or now.name != old.name) and old.name in by_name:
            same = None  # another column has the name now
        if same is None and now is not None and now.name in places and not _is_old(shape, now.name):
            same = places[now.name]
        if same is not None:
            pairs[same] = old
    ordered = [old.attnum for _, old in sorted(pairs.items())]
    if ordered != sorted(ordered):
        raise CannotFollow("Its columns were renamed crosswise.")
    return pairs


def _is_old(shape: Shape, name: str) -> bool:
    return any(column.name == name for column in shape.columns)


def _missing(column: SourceColumn, *, rewritten: bool) -> str | None:
    if column.missing is None and column.has_default and rewritten:
        raise CannotFollow(f"The column {column.name} was added with a default that is computed for each row.")
    return column.missing


def _changed(old: Column, sent: SentColumn, known: SourceColumn | None) -> Column:
    if (old.oid, old.typmod) == (sent.oid, sent.typmod):
        return msgspec.structs.replace(old, name=sent.name)
    if known is None or (known.oid, known.typmod) != (sent.oid, sent.typmod):
        raise CannotFollow(f"The column {sent.name} changed its type more than once.")
    new = _column(known, {sent.name: old.choice} if old.choice else {})
    if not _holds(old, new):
        raise CannotFollow(f"The column {sent.name} changed its type from {old.type.name} to {new.type.name}.")
    return msgspec.structs.replace(new, low_cardinality=old.low_cardinality, codec=old.codec)


def _holds(old: Column, new: Column) -> bool:
    """Whether every value of the old type is the same value in the new one."""
    names = (old.type.name, new.type.name)
    if names[0] == names[1] == "numeric" and -1 not in (old.typmod, new.typmod):
        (digits, scale), (new_digits, new_scale) = _numeric(old.typmod), _numeric(new.typmod)
        return new_scale >= scale and new_digits - new_scale >= digits - scale
    return names in _WIDER or set(names) <= _TEXTS


def _numeric(typmod: int) -> tuple[int, int]:
    """Precision and scale, as numerictypmodin of PostgreSQL's numeric.c packs them."""
    packed = typmod - 4
    return packed >> 16 & 0xFFFF, ((packed & _SCALE_BITS) ^ 0x400) - 0x400


def _column(column: SourceColumn, choices: Mapping[str, str]) -> Column:
    return Column(
        name=column.name,
        attnum=column.attnum,
        oid=column.oid,
        typmod=column.typmod,
        type=source_type(column.type),
        not_null=column.not_null,
        choice=choices.get(column.name),
    )


def _check_key(shape: Shape, sent: Definition, renamed: list[tuple[str, str]], dropped: tuple[str, ...]) -> None:
    touched = {old for old, _ in renamed} | set(dropped)
    if touched & set(shape.key):
        raise CannotFollow("A column of its key changed.")
    if sent.identity in ("d", "i") and {column.name for column in sent.columns if column.key} != set(shape.key):
        raise CannotFollow("Its key is made of other columns now.")


def _check_names(shape: Shape, renamed: list[tuple[str, str]]) -> None:
    """A repeat after a crash must not take a renamed column for the old one of that name."""
    for _, new in renamed:
        if _is_old(shape, new):
            raise CannotFollow(f"A column took over the name {new}.")
