"""Layout: how a mirrored table lies on disk, where a user wants it otherwise: order, partitions, compression. Pure.

Only what keeps the mirror equal to its table can be chosen. Two versions of a row become one only within a partition,
and only when the columns that rows are sorted by are the same in both: so both are made of the key, which tells rows
apart. Left out: a TTL would delete rows that PostgreSQL still has, and take the image before from their next change; a
projection is not read where FINAL is, and every reader of a mirrored table reads with it. A stream or a table of
streaming SQL over the mirror gives another order, or a part of the rows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from headrace.capture.personal import no_longer_personal
from headrace.capture.source_tables import SourceTable
from headrace.errors import InvalidConfiguration
from headrace.mirror.row_filter import check_filter, check_still_filtered
from headrace.mirror.shape import Column, Shape, no_more_personal, shape_of
from headrace.settings import MirroredTable

_CODEC = re.compile(r"[A-Za-z0-9_]+(\([A-Za-z0-9_, ]*\))?(, *[A-Za-z0-9_]+(\([A-Za-z0-9_, ]*\))?)*")
_STRING = re.compile(r"'(?:[^'\\]|\\.|'')*'")
_WORD = re.compile(r"`([^`]+)`|\"([^\"]+)\"|([A-Za-z_][A-Za-z0-9_]*)")


def is_append_only(table: str, settings: Mapping[str, MirroredTable]) -> bool:
    """Whether headrace.toml says that rows of `schema.table` are only ever inserted."""
    return settings.get(table, MirroredTable()).append_only


def lay_out(shape: Shape, wanted: MirroredTable, table: str) -> Shape:
    """The shape with the layout that headrace.toml has for `table`. Raises InvalidConfiguration."""
    names = {column.name for column in shape.columns}
    for name in (*wanted.order_by, *wanted.low_cardinality, *wanted.codecs):
        if name not in names:
            raise _wrong(table, f"It has no column {name}.", f"Its columns: {', '.join(sorted(names))}.")
    _check_order(shape, wanted.order_by, table)
    _check_partition(shape, wanted.partition_by or "", table)
    columns = tuple(_lay_out_column(column, wanted, table) for column in shape.columns)
    return msgspec.structs.replace(
        shape, columns=columns, order_by=tuple(wanted.order_by), partition_by=wanted.partition_by or ""
    )


def _check_order(shape: Shape, order_by: list[str], table: str) -> None:
    if order_by and sorted(order_by) != sorted(shape.key):
        raise _wrong(
            table,
            f"order_by must name each column of the key once: {', '.join(shape.key) or 'it has none'}.",
            f"Got {', '.join(order_by)}. By any other column, a row would stay beside its update.",
        )


def _check_partition(shape: Shape, expression: str, table: str) -> None:
    """An expression may call any function; a word that is a column must be one of the key."""
    words = {"".join(match.groups("")) for match in _WORD.finditer(_STRING.sub("", expression))}
    others = sorted(words & {column.name for column in shape.columns} - set(shape.key))
    if others or (expression and not words & set(shape.key)):
        raise _wrong(
            table,
            f"partition_by must be made of columns of the key: {', '.join(shape.key) or 'it has none'}.",
            f"Got {expression}. A row whose {', '.join(others) or 'place'} changes would stand in two partitions.",
        )
    if expression.count("(") != expression.count(")") or ";" in expression:
        raise _wrong(table, "partition_by is not an expression.", f"Got {expression}.")


def _lay_out_column(column: Column, wanted: MirroredTable, table: str) -> Column:
    low_cardinality = column.name in wanted.low_cardinality
    if low_cardinality and column.target.clickhouse not in ("String", "LowCardinality(String)"):
        raise _wrong(
            table,
            f"low_cardinality is for text, and {column.name} becomes {column.target.clickhouse}.",
            "Numbers and dates are small already.",
        )
    codec = wanted.codecs.get(column.name, "")
    if codec and not _CODEC.fullmatch(codec):
        raise _wrong(table, f"The codec of {column.name} is none.", f'Got {codec}; such as "ZSTD(3)" or "Delta, ZSTD".')
    return msgspec.structs.replace(column, low_cardinality=low_cardinality, codec=codec)


def _wrong(table: str, message: str, detail: str) -> InvalidConfiguration:
    return InvalidConfiguration(f"{table}: {message}", detail, f'Correct [mirror.table."{table}"] in headrace.toml.')


def wanted_shape(table: SourceTable, settings: Mapping[str, MirroredTable]) -> Shape:
    """The shape and layout of a source table with what headrace.toml has for it. Raises InvalidConfiguration."""
    wanted = settings.get(table.full_name, MirroredTable())
    shape = msgspec.structs.replace(shape_of(table, wanted.columns), where=wanted.where)
    check_filter(wanted.where, shape, table.full_name)
    return lay_out(shape, wanted, table.full_name)


def next_shape(was: Shape, table: SourceTable, settings: Mapping[str, MirroredTable]) -> Shape:
    """As `wanted_shape`, for a table that is mirrored already.

    Raises InvalidConfiguration also when values or rows that were hidden would be shown because a line is missing.
    """
    check_still_filtered(was, table.full_name, has_settings=table.full_name in settings)
    wanted = wanted_shape(table, settings)
    if lost := no_more_personal(was, wanted, table):
        raise InvalidConfiguration(no_longer_personal(table.full_name, lost))
    return wanted
