r"""Arrays, from PostgreSQL's text of them: `{1,NULL,"a, b","say \"x\""}`. Pure.

Such a text has its elements in quotes where they are empty, are the word NULL, or hold a comma, a brace, a quote, a
backslash or white space; a backslash stands before quotes and backslashes (PostgreSQL manual, "Array Input and Output
Syntax"). More dimensions begin with two braces, other lower bounds than 1 with a bracket: no array of ClickHouse is so.
"""

from __future__ import annotations

from headrace.mirror.column_type import ColumnType

_TEXTUAL = ("String", "LowCardinality(String)")


def array_type(element: ColumnType) -> ColumnType:
    """Arrays of one dimension. NULL becomes the empty array: for a column that is NOT NULL, or where that is wanted."""
    clickhouse = f"Array({element.declaration(nullable=True)})"
    textual = element.clickhouse in _TEXTUAL

    def elements(text: str) -> str:
        return _texts(text) if textual else _words(text)

    def fits(text: str) -> str:
        return " AND ".join([_flat(text), *_held(element, elements(_given(text)), textual=textual, text=_given(text))])

    def value(text: str) -> str:
        values = f"arrayMap(_element -> {element.value('_element')}, {elements(_given(text))})"
        return f"if({fits(text)}, {values}, CAST([] AS {clickhouse}))"

    return ColumnType(
        clickhouse=clickhouse,
        nullable_allowed=False,
        value=value,
        fits=fits,
        source_text=lambda column: _source_text(element, column),
        mirror_text=lambda column: _mirror_text(element, column),
        note="one dimension, counted from 1; others do not fit",
    )


def _given(text: str) -> str:
    return f"ifNull({text}, '{{}}')"


def _flat(text: str) -> str:
    given = _given(text)
    return f"(startsWith({given}, '{{') AND NOT startsWith({given}, '{{{{') AND endsWith({given}, '}}'))"


def _held(element: ColumnType, elements: str, *, textual: bool, text: str) -> list[str]:
    """What else must be so. Regular expressions pass over what is not UTF-8: it would be lost unseen."""
    if textual:
        return [f"isValidUTF8({text})"]
    return [f"arrayAll(_element -> {element.fits('_element')}, {elements})"]


def _words(text: str) -> str:
    """Array(Nullable(String)) of elements that never need a backslash: numbers, and times, which are in quotes."""
    return f"""arrayMap(_word -> nullIf(_word, 'NULL'), extractAll({text}, '[^,{{}}"]+'))"""


def _texts(text: str) -> str:
    """Array(Nullable(String)) of any elements. A NUL, which no text of PostgreSQL has, keeps the place of `\\\\`."""
    unquoted = "substring(_token, 2, length(_token) - 2)"
    unescaped = rf"replaceAll(replaceAll(replaceAll({unquoted}, '\\\\', '\0'), '\\', ''), '\0', '\\')"
    return (
        f"""arrayMap(_token -> if(startsWith(_token, '"'), {unescaped}, nullIf(_token, 'NULL')), """
        rf"""extractAll({text}, '(?s)"(?:[^"\\\\]|\\\\.)*"|[^",{{}}]+'))"""
    )


def _source_text(element: ColumnType, column: str) -> str:
    """PostgreSQL: each element with a comma after it, NULL as a backslash and N, backslashes before both signs."""
    escaped = rf"replace(replace({element.source_text('element')}, E'\\', E'\\\\'), ',', E'\\,')"
    return (
        rf"(SELECT coalesce(string_agg(coalesce({escaped}, E'\\N') || ',', '' ORDER BY place), '') "
        f"FROM unnest({column}) WITH ORDINALITY AS elements(element, place))"
    )


def _mirror_text(element: ColumnType, column: str) -> str:
    escaped = rf"replaceAll(replaceAll({element.mirror_text('_element')}, '\\', '\\\\'), ',', '\\,')"
    each = rf"arrayMap(_element -> concat(ifNull({escaped}, '\\N'), ','), {column})"
    return f"toNullable(arrayStringConcat({each}))"
