"""The catalog: every file `queries/<name>.sql` of a project, read and checked once, at the start.

    -- title: Distance per month
    -- description: Kilometres per calendar month.
    -- parameter user_id: One user; empty means everyone.
    -- default user_id: ''
    -- cache_s: 5
    SELECT … WHERE user_id = {user_id:String}

A file that cannot work is refused here, by file and line, before anything is served. Nothing here talks to ClickHouse.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Self

from headrace.errors import InvalidConfiguration, InvalidInput, Unknown
from headrace.queries.parameter_type import parse_type
from headrace.queries.parameters import Parameter

FILE_BYTES_MAX = 256 * 1024

# The API's own parameters, which stand beside a query's.
RESERVED = ("format", "min_position")

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_HEADER = re.compile(r"--\s?(?P<key>[a-z_]+)(?:\s+(?P<of>\w+))?:\s*(?P<value>.*)")
_CONTINUED = re.compile(r"--\s{2,}(?P<value>\S.*)")
_KEYS = ("title", "description", "parameter", "default", "cache_s", "time_max_s", "rows_max")
# What may hold braces, semicolons and keywords without meaning them: strings, quoted names, comments.
_TOKEN = re.compile(
    r"""(?P<opaque>'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.)*"|`(?:[^`\\]|\\.)*`|--[^\n]*|/\*.*?\*/)"""
    r"""|\{(?P<name>[A-Za-z_]\w*):(?P<type>[^{}]+)\}|(?P<brace>[{}])|(?P<semicolon>;)""",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Query:
    """One file: its statement without the header, its parameters in order of appearance, and its own limits.

    `cache_s`: an answer this old may be served again. `time_max_s`, `rows_max`: in place of the settings' limits.
    """

    name: str
    title: str
    description: str
    sql: str
    parameters: tuple[Parameter, ...]
    path: Path
    cache_s: float = 0.0
    time_max_s: float | None = None
    rows_max: int | None = None


@dataclass(frozen=True, slots=True)
class Catalog:
    """The queries of a project by name, in alphabetical order."""

    queries: Mapping[str, Query]

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read `folder/*.sql`; a missing folder is an empty catalog. Raises InvalidConfiguration: file and line."""
        queries = (parse_query(path.stem, _read(path), path) for path in sorted(folder.glob("*.sql")))
        return cls({query.name: query for query in queries})

    def get(self, name: str) -> Query:
        """The query of that name. Raises Unknown, with the closest name."""
        if name in self.queries:
            return self.queries[name]
        close = get_close_matches(name, list(self.queries), n=1)
        raise Unknown(
            f"There is no query {name[:60]!r}.",
            f"The catalog has {', '.join(self.queries)}." if self.queries else "The catalog is empty.",
            f"Did you mean {close[0]!r}?" if close else "Add queries/NAME.sql to the project.",
        )

    def __iter__(self) -> Iterator[Query]:
        return iter(self.queries.values())

    def __len__(self) -> int:
        return len(self.queries)


def parse_query(name: str, text: str, path: Path) -> Query:
    """Understand one file. Raises InvalidConfiguration, naming the file and the line."""
    if not _NAME.fullmatch(name):
        raise InvalidConfiguration(
            f"{path}: {name!r} cannot be the name of a query.",
            "A name has small letters, digits and underscores, begins with a letter and is at most 63 long.",
            f"Rename the file to {re.sub(r'[^a-z0-9_]+', '_', name.lower()).strip('_') or 'query'}.sql.",
        )
    header = _Header.parse(text, path)
    sql = "\n".join(text.splitlines()[header.lines :]).strip()
    types = _parameter_types(sql, path, header.lines)
    statement = sql.rstrip().rstrip(";").rstrip()
    _require_one_select(statement, path, header.lines + 1)
    return Query(
        name=name,
        title=header.title or name.replace("_", " ").capitalize(),
        description=header.description,
        sql=statement,
        parameters=tuple(_parameters(types, header, path)),
        path=path,
        cache_s=header.numbers.get("cache_s", 0.0),
        time_max_s=header.numbers.get("time_max_s"),
        rows_max=int(header.numbers["rows_max"]) if "rows_max" in header.numbers else None,
    )


@dataclass(slots=True)
class _Header:
    title: str = ""
    description: str = ""
    descriptions: dict[str, str] = field(default_factory=dict)
    defaults: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, float] = field(default_factory=dict)
    line_of: dict[str, int] = field(default_factory=dict)
    lines: int = 0

    @classmethod
    def parse(cls, text: str, path: Path) -> _Header:
        header, last = cls(), ("", "")
        for number, line in enumerate(text.splitlines(), start=1):
            if line.strip() and not line.startswith("--"):
                break
            header.lines = number
            if entry := _HEADER.fullmatch(line):
                last = (entry["key"], entry["of"] or "")
                header._set(*last, entry["value"].strip(), f"{path}:{number}", number)
            elif (more := _CONTINUED.fullmatch(line)) and last[0] in ("description", "parameter"):
                header._continue(*last, more["value"].strip())
        return header

    def _set(self, key: str, of: str, value: str, where: str, number: int) -> None:
        if key not in _KEYS or bool(of) != (key in ("parameter", "default")):
            close = get_close_matches(key, _KEYS, n=1)
            raise InvalidConfiguration(
                f"{where}: the header has no entry {' '.join((key, of)).strip()!r}.",
                "Entries are title, description, parameter NAME, default NAME, cache_s, time_max_s and rows_max.",
                f"Did you mean {close[0]!r}?" if close else "Put a plain comment below the first line of SQL.",
            )
        if key in ("cache_s", "time_max_s", "rows_max"):
            self.numbers[key] = _positive(value, key, where)
        elif key == "default":
            self.defaults[of], self.line_of[of] = _unquoted(value), number
        elif key == "parameter":
            self.descriptions[of], self.line_of[of] = value, number
        else:
            setattr(self, key, value)

    def _continue(self, key: str, of: str, value: str) -> None:
        if key == "parameter":
            self.descriptions[of] = f"{self.descriptions[of]} {value}"
        else:
            self.description = f"{self.description} {value}"


def _parameter_types(sql: str, path: Path, header_lines: int) -> dict[str, str]:
    types: dict[str, str] = {}
    end = len(sql.rstrip())
    for token in _TOKEN.finditer(sql):
        where = f"{path}:{header_lines + 1 + sql.count(chr(10), 0, token.start())}"
        if token["brace"]:
            raise InvalidConfiguration(
                f"{where}: this brace is not part of a parameter.",
                hint="Write {name:Type}, without spaces around the name.",
            )
        if token["semicolon"] and token.end() < end:
            raise InvalidConfiguration(f"{where}: a query file holds one statement.", "There is text behind this ;.")
        if token["name"] and types.setdefault(token["name"], token["type"].strip()) != token["type"].strip():
            raise InvalidConfiguration(
                f"{where}: the parameter {token['name']!r} has two types.",
                f"{types[token['name']]} before, {token['type'].strip()} here.",
            )
    return types


def _parameters(types: Mapping[str, str], header: _Header, path: Path) -> Iterator[Parameter]:
    for name in (*header.defaults, *header.descriptions):
        if name not in types:
            raise InvalidConfiguration(
                f"{path}:{header.line_of[name]}: the statement has no parameter {name!r}.",
                f"It has {', '.join(types) or 'none'}.",
            )
    for name, type_text in types.items():
        if name in RESERVED:
            raise InvalidConfiguration(
                f"{path}: a parameter cannot be called {name!r}.", "The API uses that name itself.", "Rename it."
            )
        yield _parameter(name, type_text, header, path)


def _parameter(name: str, type_text: str, header: _Header, path: Path) -> Parameter:
    try:
        type_ = parse_type(type_text)
    except ValueError as error:
        raise InvalidConfiguration(
            f"{path}: the parameter {name!r} has the type {type_text!r}: {error}.",
            hint="Use a plain type, Nullable(T) or Array(T); docs/reference/queries.md lists them.",
        ) from error
    parameter = Parameter(name, type_, header.descriptions.get(name, ""), header.defaults.get(name))
    try:
        if not parameter.required:
            parameter.read((), datetime.now(UTC))
    except InvalidInput as error:
        where = f"{path}:{header.line_of.get(name, 1)}"
        raise InvalidConfiguration(f"{where}: the default of {name!r} does not fit.", error.detail) from error
    return parameter


def _require_one_select(sql: str, path: Path, line: int) -> None:
    bare = _TOKEN.sub(lambda token: " " if token["opaque"] else token[0], sql).strip()
    if not re.match(r"\(*\s*(SELECT|WITH)\b", bare, re.IGNORECASE):
        raise InvalidConfiguration(
            f"{path}:{line}: a query file holds one SELECT.",
            f"It begins with {bare[:20]!r}." if bare else "It is empty.",
        )
    if ending := re.search(r"\b(FORMAT\s+\w+|INTO\s+OUTFILE.*)\s*$", bare, re.IGNORECASE):
        raise InvalidConfiguration(
            f"{path}: {ending[1]!r} does not belong in a query file.",
            "The format of an answer is the caller's choice.",
            "Remove it; ask with ?format=csv or an Accept header.",
        )


def _read(path: Path) -> str:
    data = path.read_bytes()
    if len(data) > FILE_BYTES_MAX:
        raise InvalidConfiguration(f"{path} is larger than a query may be.", f"{len(data)} > {FILE_BYTES_MAX} bytes.")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InvalidConfiguration(f"{path} is not UTF-8.", str(error)) from error


def _positive(value: str, key: str, where: str) -> float:
    whole = key == "rows_max"
    if not re.fullmatch(r"\d{1,9}" if whole else r"\d{1,9}(\.\d+)?", value) or float(value) == 0:
        expected = "a whole number above 0" if whole else "a number of seconds above 0"
        raise InvalidConfiguration(f"{where}: {key} is not {expected}.", f"Got {value!r}.")
    return float(value)


def _unquoted(value: str) -> str:
    """Single quotes around a default are optional, and the only way to write the empty text or outer spaces."""
    return value[1:-1] if len(value) >= 2 and value[0] == value[-1] == "'" else value
