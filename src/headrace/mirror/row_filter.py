"""Row filter: which conditions may choose the rows of a mirrored table. Pure.

PostgreSQL works them out for each change, where it sends us the log: a condition that fails for one row would end the
reading of all tables, for good. So only what cannot fail is taken: columns beside constants. And PostgreSQL
refuses an application's UPDATE when a condition names a column that is not in the replica identity: so the columns are
those of the key. https://www.postgresql.org/docs/current/logical-replication-row-filter.html
"""

from __future__ import annotations

import re
from typing import NoReturn

from headrace.capture.publication import wrong_filter
from headrace.errors import InvalidConfiguration
from headrace.mirror.shape import Shape

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<value> [+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?(?![\w.]) | '(?:[^']|'')*' | (?:true|false)\b )
      | (?P<name> [^\W\d][\w$]* | "(?:[^"]|"")+" )
      | (?P<sign> <> | != | <= | >= | [=<>(),] )
    )\s*""",
    re.IGNORECASE | re.VERBOSE,
)
_COMPARED = {"=", "<>", "!=", "<", "<=", ">", ">="}
# PostgreSQL takes these for the moment at which the condition is set, and for another one when rows are copied.
_MOMENT = re.compile(r"'\s*(now|today|tomorrow|yesterday)\b", re.IGNORECASE)
_GRAMMAR = "It is made of columns beside constants, by = <> < <= > >= IN BETWEEN IS NULL, with AND, OR, NOT around."


def check_filter(where: str, shape: Shape, table: str) -> None:
    """Raises InvalidConfiguration for a condition that could fail for a row, or stop the application."""
    if not where:
        return
    columns = _Condition(where, table).columns()
    allowed = set(shape.key) or {column.name for column in shape.columns}
    if others := sorted(columns - allowed):
        raise wrong_filter(
            table,
            where,
            f"{', '.join(others)}: it may name the columns of the key, which are {', '.join(sorted(allowed))}. "
            "PostgreSQL refuses updates of a table whose condition names others.",
        )


def check_still_filtered(shape: Shape, table: str, *, has_settings: bool) -> None:
    """Raises InvalidConfiguration when rows that were left out would be shown because a line is missing."""
    if shape.where and not has_settings:
        raise InvalidConfiguration(
            f"Only the rows where {shape.where} were mirrored, and headrace.toml says nothing of {table}.",
            f'Write [mirror.table."{table}"] with that `where`, or with `where = ""` for all rows.',
        )


class _Condition:
    """Reads a condition, word by word."""

    def __init__(self, text: str, table: str) -> None:
        self._text, self._table = text, table
        self._place = 0
        self._columns: set[str] = set()

    def columns(self) -> set[str]:
        """The columns that it names."""
        if _MOMENT.search(self._text):
            self._fail("A moment such as 'now' is another one each time that it is read.")
        self._condition()
        if self._place < len(self._text):
            self._fail()
        return self._columns

    def _condition(self) -> None:
        self._term()
        while self._take("and") or self._take("or"):
            self._term()

    def _term(self) -> None:
        if self._take("not"):
            self._term()
        elif self._take("("):
            self._condition()
            self._expect(")")
        else:
            self._comparison()

    def _comparison(self) -> None:
        name = self._next("name")
        self._columns.add(name[1:-1].replace('""', '"') if name.startswith('"') else name.lower())
        if any(self._take(sign) for sign in _COMPARED):
            self._next("value")
        elif self._take("is"):
            self._take("not")
            self._expect("null")
        else:
            self._take("not")
            self._range()

    def _range(self) -> None:
        if self._take("between"):
            self._next("value")
            self._expect("and")
            self._next("value")
            return
        self._expect("in")
        self._expect("(")
        self._next("value")
        while self._take(","):
            self._next("value")
        self._expect(")")

    def _next(self, kind: str) -> str:
        found = _TOKEN.match(self._text, self._place)
        if found is None or found[kind] is None:
            self._fail()
        self._place = found.end()
        return found[kind]

    def _take(self, word: str) -> bool:
        found = _TOKEN.match(self._text, self._place)
        if found is None or word != (found["name"] or found["sign"] or "").lower():
            return False
        self._place = found.end()
        return True

    def _expect(self, word: str) -> None:
        if not self._take(word):
            self._fail()

    def _fail(self, detail: str = _GRAMMAR) -> NoReturn:
        raise wrong_filter(self._table, self._text, detail)
