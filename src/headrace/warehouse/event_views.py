"""Event types as ClickHouse views: the typed fields of the JSON in `events`, and where each event stands.

The names and types come from the domain's classes alone, so a project cannot disagree with itself.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Any

from msgspec import inspect

from headrace.errors import InvalidConfiguration
from headrace.events.event import Event
from headrace.events.personal import PersonalField, personal_fields
from headrace.events.sealing import SEALED
from headrace.warehouse.client import ClickHouse

# What views show in the place of a personal field; the keyed hash, where the field is joinable.
HIDDEN = "[personal]"

_SCALARS: dict[type, str] = {
    inspect.StrType: "String",
    inspect.IntType: "Int64",
    inspect.FloatType: "Float64",
    inspect.BoolType: "Bool",
    inspect.DateTimeType: "DateTime64(6, 'UTC')",
    inspect.DateType: "Date32",
    inspect.UUIDType: "UUID",
    inspect.DecimalType: "Decimal(38, 9)",
    inspect.EnumType: "String",
    inspect.LiteralType: "String",
}


def clickhouse_type(field_type: inspect.Type, where: str) -> str:
    """The ClickHouse type of a field's declared type. Raises InvalidConfiguration, naming `where`."""
    match field_type:
        case inspect.Metadata(type=inner_type):
            return clickhouse_type(inner_type, where)
        case inspect.UnionType(types=types) if any(isinstance(member, inspect.NoneType) for member in types):
            rest = [member for member in types if not isinstance(member, inspect.NoneType)]
            if len(rest) == 1:
                inner = clickhouse_type(rest[0], where)
                # ClickHouse has no nullable arrays, maps and tuples; an absent one is an empty one.
                return inner if inner.startswith(("Array", "Map", "Tuple")) else f"Nullable({inner})"
        case inspect.LiteralType(values=values) if not all(isinstance(value, str) for value in values):
            pass
        case inspect.EnumType(cls=cls) if not issubclass(cls, str | enum.StrEnum):
            pass
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item) | inspect.SetType(item_type=item):
            return f"Array({clickhouse_type(item, where)})"
        case inspect.DictType(value_type=value):
            return f"Map(String, {clickhouse_type(value, where)})"
        case inspect.StructType(fields=fields):
            parts = (f"`{f.encode_name}` {clickhouse_type(f.type, f'{where}.{f.name}')}" for f in fields)
            return f"Tuple({', '.join(parts)})"
        case _ if type(field_type) in _SCALARS:
            return _SCALARS[type(field_type)]
    raise InvalidConfiguration(
        f"The field {where} has a type that no column can hold.",
        f"Got {type(field_type).__name__.removesuffix('Type')}.",
        "Use str, int, float, bool, datetime, date, Decimal, UUID, Literal or Enum of strings, lists, dicts, Structs.",
    )


def columns(event_type: type[Event]) -> dict[str, str]:
    """The typed columns of one event type, in the order of its fields."""
    info: Any = inspect.type_info(event_type)
    name = event_type.__name__
    return {field.encode_name: clickhouse_type(field.type, f"{name}.{field.name}") for field in info.fields}


def create_view_sql(event_type: type[Event], database: str) -> str:
    """`CREATE OR REPLACE VIEW` of one event type and of those that inherit from it: a corrected entry is an entry.

    The JSON is parsed once per row, whatever the field count. A row of another version than the class's is not in the
    view: the log holds it as it was stored only because it could not be upcast.
    """
    # Not IN: ClickHouse reads the text behind a one-element IN as the name of a table, and finds this very view.
    types = " OR ".join(f"type = {_text(name)} AND schema_version = {version}" for name, version in _family(event_type))
    fields = columns(event_type)
    typed = ", ".join(f"`{name}` {column_type}" for name, column_type in fields.items())
    personal = {field.encode_name: field for field in personal_fields(event_type)}
    picked = "".join(f"{_shown(name, personal.get(name))} AS `{name}`, " for name in fields)
    extracted = f", JSONExtract(data, {_text(f'Tuple({typed})')}) AS fields" if fields else ""
    return (
        f"CREATE OR REPLACE VIEW `{database}`.`{event_type.__name__}` AS "
        f"SELECT {picked}type AS _type, stream AS _stream, version AS _version, recorded_at AS _recorded_at, "
        f"_lsn, _ordinal, _batch "
        f"FROM (SELECT type, stream, version, recorded_at, _lsn, _ordinal, _batch{extracted} "
        f"FROM `{database}`.events WHERE {types})"
    )


async def create_event_views(clickhouse: ClickHouse, event_types: Iterable[type[Event]]) -> None:
    """Make or renew the view of every event type. Safe to repeat."""
    for event_type in event_types:
        await clickhouse.execute(create_view_sql(event_type, clickhouse.database))


def _shown(name: str, personal: PersonalField | None) -> str:
    """The field; of a personal one nothing but that it is there, and the keyed hash that stands in it."""
    field = f"tupleElement(fields, {_text(name)})"
    if personal is None:
        return field
    hashed = f"splitByChar(':', assumeNotNull({field}))[4]"
    shown = (
        f"if(startsWith({field}, {_text(SEALED)}), {hashed}, {_text(HIDDEN)})" if personal.joinable else _text(HIDDEN)
    )
    return f"if(isNull({field}), NULL, {shown})" if personal.optional else shown


def _family(event_type: type[Event]) -> list[tuple[str, int]]:
    """The type and its heirs, each with the version that the log holds it at."""
    found = [(event_type.__name__, event_type.schema_version)]
    for heir in event_type.__subclasses__():
        found += _family(heir)
    return sorted(set(found))


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
