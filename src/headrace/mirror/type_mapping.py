"""The mapping of types: which one a column of a mirrored table gets, with what the user chose for it. Pure.

The page docs/reference/mirror-types.md has it as a table.
"""

from __future__ import annotations

from dataclasses import replace

from headrace.errors import InvalidConfiguration
from headrace.mirror.array_type import array_type
from headrace.mirror.column_type import ColumnType, SourceType
from headrace.mirror.scalar_type import scalar_type, text_type

_AS_TEXT = "PostgreSQL's text of it"
_PERSONAL = {
    "hash": "a keyed hash of PostgreSQL's text",
    "mask": "its first character, of an e-mail address its domain too",
    "tokenize": "a token; what it stands for is in PostgreSQL",
}
_NO_ELEMENTS = ("bytea", "oid")
_VECTORS = ("int2vector", "oidvector")  # arrays to the catalog, written without braces


def column_type(source: SourceType, *, not_null: bool, choice: str | None = None) -> ColumnType:
    """What the column of a mirrored table becomes.

    `not_null`: the source column is NOT NULL, so that an empty array stands for nothing else.
    `choice`: of the user, for this column. None: the best that holds every value, or nearly; "text": PostgreSQL's
    text, whatever the type; "array": an array although the column may be NULL, which becomes the empty array; "hash",
    "mask" and "tokenize": text that stands for a personal value.
    Raises InvalidConfiguration for any other choice, and for "array" where there is no array type for the column.
    """
    match choice:
        case None:
            return _best(source, not_null=not_null)
        case "text":
            return text_type(f"{_AS_TEXT}, by choice")
        case "array":
            array = _array(source)
            if array is None:
                raise InvalidConfiguration(
                    "A column cannot be mirrored as an array.",
                    f"Got {_name(source)}; expected an array of booleans, numbers, text, UUIDs, dates, timestamps "
                    "or labels of an enum.",
                    'Leave the choice out, or choose "text".',
                )
            return array if not_null else replace(array, note=f"{array.note}; NULL becomes the empty array")
        case "hash" | "mask" | "tokenize":
            return text_type(f"personal: {_PERSONAL[choice]}")
    raise InvalidConfiguration(
        "There is no such way to mirror a column.",
        f'Got {choice!r}; expected "text" or "array".',
        "Leave the choice out for the type that fits best.",
    )


def _best(source: SourceType, *, not_null: bool) -> ColumnType:
    if source.kind != "array":
        return scalar_type(source) or text_type(_AS_TEXT)
    array = _array(source)
    if array is None:
        return text_type(_AS_TEXT)
    return array if not_null else text_type(f'{_AS_TEXT}: NULL and {{}} stay apart; "array" can be chosen')


def _array(source: SourceType) -> ColumnType | None:
    """None where the elements have no type of their own in ClickHouse, or are seldom met in arrays."""
    if source.element is None or source.element.name in _NO_ELEMENTS or source.name in _VECTORS:
        return None
    element = source.element
    typed = scalar_type(replace(element, typmod=source.typmod) if element.typmod == -1 else element)
    return None if typed is None else array_type(typed)


def _name(source: SourceType) -> str:
    return f"{source.element.name}[]" if source.element else source.name
