"""Just enough of ClickHouse's lexer to serve its HTTP interface: where an INSERT's data starts, which format a
SELECT asks for, and whether a statement is one that this interface must handle itself.

Pure functions over bytes; everything else about SQL is the engine's business and may not be decided here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from headrace.embedded.clickhouse.exceptions import Code, refused

_TOKEN: Final = re.compile(
    rb"""
      (?P<space>  \s+ | --[^\n]* | \#[!\ ][^\n]* | /\*.*?\*/ )
    | (?P<string> '(?:[^'\\]|\\.|'')*' | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$ )
    | (?P<quoted> `(?:[^`\\]|\\.|``)*` | "(?:[^"\\]|\\.|"")*" )
    | (?P<word>   [A-Za-z_][A-Za-z0-9_]* )
    | (?P<number> [0-9][0-9A-Za-z_.]* )
    | (?P<other>  . )
    """,
    re.VERBOSE | re.DOTALL,
)
_SETTINGS_AFTER_FORMAT: Final = re.compile(
    rb"\s+SETTINGS\s+\w+\s*=\s*(?:'(?:[^'\\]|\\.)*'|[^\s,]+)(?:\s*,\s*\w+\s*=\s*(?:'(?:[^'\\]|\\.)*'|[^\s,]+))*",
    re.IGNORECASE,
)
_FORMAT_NAME: Final = re.compile(rb"\s+(\w+)")
_DATA_SEPARATOR: Final = re.compile(rb"[^\S\n]*\n?")
_TYPES_OF_TABLE: Final = "use_structure_from_insertion_table_in_table_functions"
_SELECTS: Final = frozenset((b"SELECT", b"WITH", b"FROM", b"EXPLAIN", b"WATCH"))


@dataclass(frozen=True, slots=True)
class Token:
    """One token that is not white space; `text` is upper case for words, `depth` counts open brackets."""

    kind: str
    text: bytes
    start: int
    end: int
    depth: int


class Incomplete(Exception):
    """The text ends inside the head of a statement: more of the request's body is needed to understand it."""


class InputSelect(NamedTuple):
    """The SELECT of `INSERT … SELECT … FROM input(structure) … FORMAT …`, cut around the function's call."""

    before: str
    structure: str  # the argument, as written
    after: str


@dataclass(frozen=True, slots=True)
class InlineInsert:
    """An INSERT whose rows follow its text. The data starts at `data_start` of the text that was parsed."""

    target: str  # "INSERT INTO [TABLE] name (columns)"
    table: str  # its name, as written
    columns: tuple[str, ...]  # unquoted; empty when none are listed
    settings: str  # "SETTINGS …" or nothing
    format: str
    data_start: int
    select: InputSelect | None = None

    def from_input(self, path: str, compression: str) -> str:
        """The INSERT … SELECT over the rows, with a file or named pipe in the place of `input`."""
        assert self.select is not None, "the statement reads with input()"
        before, structure, after = self.select
        source = f"file({quoted(path)}, {quoted(self.format)}, {structure}, {quoted(compression)})"
        return f"{self.target} {before}{source}{after} {self.settings}"

    def from_file(self, path: str, compression: str) -> str:
        """The same INSERT, reading its rows from a file or a named pipe."""
        source = f"FROM INFILE {quoted(path)} COMPRESSION {quoted(compression)}"
        return f"{self.target}\n{source} {self.settings} FORMAT {self.format}"

    def from_select(self, path: str, compression: str) -> str:
        """The same INSERT as INSERT … SELECT, for what FROM INFILE cannot do. The columns must be listed."""
        columns = ", ".join(map(identifier, self.columns))
        # The rows have the types and the order of the listed columns; nothing is guessed from them.
        settings = f"{self.settings or 'SETTINGS'}{',' if self.settings else ''} {_TYPES_OF_TABLE} = 1"
        source = f"file({quoted(path)}, {quoted(self.format)}, 'auto', {quoted(compression)})"
        return f"{self.target}\n{settings} SELECT {columns} FROM {source}"


def tokens(text: bytes) -> Iterator[Token]:
    """The tokens of `text`, white space and comments left out."""
    depth = 0
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or ""
        kind = "string" if kind == "tag" else kind
        if kind == "space":
            continue
        value = match[0]
        if value in (b")", b"]"):
            depth = max(0, depth - 1)
        yield Token(kind, value.upper() if kind == "word" else value, match.start(), match.end(), depth)
        if value in (b"(", b"["):
            depth += 1


def inline_insert(text: bytes, *, complete: bool) -> InlineInsert | None:
    """Find an INSERT with data at the start of `text`.

    `complete` says that no more text will come. Returns None for every other statement, and for an INSERT … SELECT that
    does not select from `input`.
    Raises `Incomplete` when more text is needed, and refuses FROM INFILE, as the server does.
    """
    scan = tokens(text)
    first = next(scan, None)
    if first is None or (not complete and first.end == len(text)):
        if complete:
            return None
        raise Incomplete
    if first.text != b"INSERT":
        return None
    head = _Head(text)
    for token in scan:
        if not complete and (token.end == len(text) or token.text in (b"'", b"`", b'"', b"$")):
            raise Incomplete
        if head.takes(token) or token.depth or token.kind != "word":
            continue
        if token.text in _SELECTS:
            if token.text == b"FROM":
                raise refused(Code.UNKNOWN_TYPE_OF_QUERY, "Query has infile and was send directly to server")
            if complete and not _has(text, b"INPUT"):
                return None
            return _insert_from_input(text, token, scan, head, complete=complete)
        if token.text == b"SETTINGS":
            head.settings_start = token.start
        elif token.text == b"VALUES":
            return head.insert(token.start, "Values", token.end)
        elif token.text == b"FORMAT":
            return _insert_with_format(text, token, head, complete=complete)
    if not complete:
        raise Incomplete
    if text.rstrip().endswith(b")") and b"SELECT" in text.upper():
        return None  # INSERT INTO t (SELECT …)
    return head.insert(len(text), "Values", len(text))


class _Head:
    """What an INSERT says before its data: the table's name, the columns, the settings."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._name_expected = True
        self._table: Token | None = None
        self._table_end = 0
        self._columns: list[str] | None = None
        self.settings_start: int | None = None

    def takes(self, token: Token) -> bool:
        """Whether the token belongs to the table's name or the list of columns."""
        if self._name_expected:
            self._name_expected = token.text in (b"INTO", b"TABLE")
            if not self._name_expected:
                self._table = self._table or token
                self._table_end = token.end
            return True
        if token.depth == 0 and token.text == b"." and self._columns is None:
            self._name_expected = True  # a table may be called `values` or `format`
            return True
        if token.text == b"(" and token.depth == 0 and self._columns is None:
            self._columns = []
            return True
        if token.depth == 1 and self._columns is not None and token.text != b",":
            self._columns.append(_unquoted(self._text[token.start : token.end]))
        return token.depth > 0

    def insert(self, end: int, format_name: str, data_start: int, settings: bytes = b"") -> InlineInsert:
        text = self._text
        split = end if self.settings_start is None else self.settings_start
        table = text[self._table.start : self._table_end] if self._table else b""
        return InlineInsert(
            text[:split].strip().decode(),
            table.decode(),
            tuple(self._columns or ()),
            (text[split:end].strip() or settings).decode(),
            format_name,
            data_start,
        )


def _unquoted(name: bytes) -> str:
    if name[:1] in (b"`", b'"'):
        return re.sub(rb"\\(.)", rb"\1", name[1:-1]).decode()
    return name.decode()


def _insert_with_format(text: bytes, keyword: Token, head: _Head, *, complete: bool) -> InlineInsert:
    name = _FORMAT_NAME.match(text, keyword.end)
    if name is None or (name.end() == len(text) and not complete):
        if complete:
            place = keyword.end + 1
            raise refused(Code.SYNTAX_ERROR, f"Syntax error: failed at position {place}: expected a format's name")
        raise Incomplete
    data_start = name.end()
    settings = b""
    if after := _SETTINGS_AFTER_FORMAT.match(text, data_start):
        settings, data_start = after[0].strip(), after.end()
    # The data begins on the next line or, without one, after the white space.
    separator = _DATA_SEPARATOR.match(text, data_start)
    if separator is not None:
        data_start = separator.end()
        if data_start == len(text) and not separator[0].endswith(b"\n") and not complete:
            raise Incomplete
    return head.insert(keyword.start, name[1].decode(), data_start, settings)


def _insert_from_input(
    text: bytes, select: Token, scan: Iterator[Token], head: _Head, *, complete: bool
) -> InlineInsert | None:
    """The INSERT … SELECT whose words `scan` goes on to give, if it reads the request's data with `input`."""
    call: list[Token] = []  # `input`, its bracket, and the closing one
    depth = settings_start = 0
    for token in scan:
        if not complete and (token.end == len(text) or token.text in (b"'", b"`", b'"', b"$")):
            raise Incomplete
        if len(call) == 1 and token.text != b"(":
            call.clear()  # a column of that name
        elif len(call) == 1:
            call.append(token)
            depth = token.depth
        elif len(call) == 2 and token.text == b")" and token.depth == depth:
            call.append(token)
        if not call and token.text == b"INPUT":
            call.append(token)
        elif token.depth == 0 and token.text == b"SETTINGS":
            settings_start = token.start
        elif token.depth == 0 and token.text == b"FORMAT":
            if len(call) < 3:
                return None
            insert = _insert_with_format(text, token, head, complete=complete)
            end = settings_start or token.start
            before, structure, after = (
                text[begin:stop].decode()
                for begin, stop in (
                    (select.start, call[0].start),
                    (call[1].end, call[2].start),
                    (call[2].end, end),
                )
            )
            return replace(
                insert,
                target=text[: select.start].strip().decode(),
                settings=text[end : token.start].strip().decode() or insert.settings,
                select=InputSelect(before, structure, after),
            )
    if not complete:
        raise Incomplete
    return None


def output_format(text: bytes) -> str | None:
    """The name after a statement's closing `FORMAT`, or None. Refuses INTO OUTFILE, as the server does."""
    if not _has(text, b"FORMAT") and not _has(text, b"OUTFILE"):
        return None
    found: str | None = None
    words = [token for token in tokens(text) if token.depth == 0]
    for at, token in enumerate(words):
        following = words[at + 1] if at + 1 < len(words) else None
        if token.text == b"INTO" and following and following.text == b"OUTFILE":
            raise refused(Code.INTO_OUTFILE_NOT_ALLOWED, "INTO OUTFILE is not allowed")
        if token.text == b"FORMAT" and following and following.kind == "word":
            ending = words[at + 2] if at + 2 < len(words) else None
            if ending is None or ending.text in (b";", b"SETTINGS"):
                found = text[following.start : following.end].decode()
    return found


def refuse_input_function(text: bytes) -> None:
    """Refuse `INSERT … SELECT … FROM input(…)` without FORMAT: chDB would answer success and drop the rows."""
    if not _has(text, b"INPUT") or first_words(text, 1) != (b"INSERT",):
        return
    previous = b""
    for token in tokens(text):
        if previous == b"INPUT" and token.text == b"(":
            raise refused(Code.NOT_IMPLEMENTED, "The input() table function needs a FORMAT for the data that follows")
        previous = token.text if token.kind == "word" else b""


def first_words(text: bytes, count: int = 2) -> tuple[bytes, ...]:
    """The first words of a statement in upper case, opening brackets skipped."""
    words: list[bytes] = []
    for token in tokens(text):
        if token.text == b"(" and not words:
            continue
        if token.kind != "word" or len(words) == count:
            break
        words.append(token.text)
    return tuple(words)


def kill_query_condition(text: bytes) -> tuple[str, str] | None:
    """For `KILL QUERY WHERE <condition> [SYNC|ASYNC|TEST]`: the condition and the mode. None for anything else."""
    if first_words(text) != (b"KILL", b"QUERY"):
        return None
    words = [token for token in tokens(text) if token.depth == 0]
    where = next((token for token in words if token.text == b"WHERE"), None)
    if where is None:
        return None
    mode, end = "ASYNC", len(text)
    for token in words:
        if token.start > where.start and token.text in (b"SYNC", b"ASYNC", b"TEST", b"FORMAT", b";"):
            end = min(end, token.start)
            if token.kind == "word" and token.text != b"FORMAT":
                mode = token.text.decode()
    return text[where.end : end].decode(), mode


def _has(text: bytes, word: bytes) -> bool:
    """Whether the word, in upper case, can be in the text at all: most often not, and then no token need be looked at.

    Cutting a long statement into tokens takes milliseconds.
    """
    return word in text.upper()


def quoted(text: str) -> str:
    """A ClickHouse string literal."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"'{escaped}'"


def identifier(name: str) -> str:
    """A quoted ClickHouse identifier."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"
