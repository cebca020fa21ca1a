"""Personal columns of mirrored tables: what stands for their values in everything that leaves this stage.

A value is replaced where it is decoded, before it is in a batch, a dead letter or a statement. The same value gives the
same text on every way, so that changes, copied rows and repairs agree (decision 13).
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa

from headrace.bus.batch import Definition
from headrace.capture.tuples import Images, Values
from headrace.events.keyed_hash import keyed_hash

DROP: Final = "drop"
KINDS: Final = (DROP, "hash", "mask", "tokenize")
TOKEN_DIGITS: Final = 32
_TOKEN: Final = b"token\0"  # so that a token tells nothing of the hash of its value
TOKENS_REMEMBERED_MAX: Final = 100_000
MASK: Final = "***"
_EMAIL: Final = re.compile(r"[^@\s]+@[A-Za-z0-9.-]+")

Replace = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Protection:
    """How the rows of one shape of a table are handed on. `definition` is without the dropped columns; `kept` are the
    others with what replaces their values, None: nothing.

    `withheld` says why no value of the table can be handed on: all of them are NULL then.
    """

    definition: Definition
    kept: tuple[tuple[int, Replace | None], ...]
    withheld: str = ""

    def apply(self, images: Images) -> Images:
        """The images as they may be seen."""
        return replace(images, old=self._columns(images.old), new=self._columns(images.new))

    def _columns(self, columns: Sequence[Values]) -> list[Values]:
        return [self._column(columns[index], change) for index, change in self.kept] if columns else []

    def _column(self, column: Values, change: Replace | None) -> Values:
        if self.withheld:
            return Values(pa.nulls(len(column.values), pa.binary()))
        return column if change is None else replace(column, values=replace_values(column.values, change))


class Personal:
    """The personal columns of all tables: by full name of the table, then by column, one of `KINDS`.

    `use_key` comes before anything is protected. Where nobody can tell any more which values are personal, since a
    table or column got another name, every value of the table is withheld.
    """

    def __init__(self, columns: Mapping[str, Mapping[str, str]]) -> None:
        self._columns = {table: dict(kinds) for table, kinds in columns.items() if kinds}
        self._known: dict[int, Mapping[str, str]] = {}
        self._names: dict[int, tuple[str, ...]] = {}
        self._protections: dict[Definition, Protection | None] = {}
        self._key = b""
        self._lock = threading.Lock()
        self._new_tokens: dict[str, str] = {}
        self._known_tokens: set[str] = set()
        self.storing = asyncio.Lock()

    @property
    def needs_key(self) -> bool:
        """Whether any column is to be replaced. Without one it can still know what was personal, and withhold it."""
        return bool(self._columns)

    def __repr__(self) -> str:  # the key is nobody's business
        return f"Personal({self._columns})"

    def use_key(self, key: bytes) -> None:
        """The key of hashes and tokens; the one that joinable fields of events are hashed with."""
        self._key = key

    def know(self, oid: int, kinds: Mapping[str, str], names: Sequence[str] = ()) -> None:
        """The table with this number has had these personal columns, and `names` of all handed on, in order."""
        self.forget(oid)
        self._known[oid] = kinds
        self._names[oid] = tuple(names)

    def forget(self, oid: int) -> None:
        """The table is not mirrored any more: what is personal in it is as the configuration has it."""
        self._known.pop(oid, None)
        self._names.pop(oid, None)
        # A copy: the stream is decoded in another thread.
        for each in [each for each in list(self._protections) if each.oid == oid]:
            self._protections.pop(each, None)

    def of_stream(self, definition: Definition) -> Protection | None:
        """How the stream's rows of this shape are handed on; None: as they are."""
        if not self._columns and not self._known:
            return None
        if definition not in self._protections:
            self._protections[definition] = self._protect(definition)
        return self._protections[definition]

    def of_table(self, full_name: str) -> Mapping[str, str]:
        """What is done with each personal column of a table."""
        return self._columns.get(full_name, {})

    def of_columns(self, full_name: str, columns: Sequence[str]) -> list[Replace | None] | None:
        """What replaces the values of these columns of a table; None: nothing in any of them."""
        kinds = self._columns.get(full_name, {})
        found = [self._replace(kinds[name]) if name in kinds else None for name in columns]
        return found if any(found) else None

    def take_tokens(self) -> dict[str, str]:
        """New tokens with the values that they stand for, which are to be stored before anybody sees them."""
        with self._lock:
            taken, self._new_tokens = self._new_tokens, {}
        return taken

    def give_back(self, tokens: Mapping[str, str]) -> None:
        """They could not be stored."""
        with self._lock:
            self._new_tokens.update(tokens)

    def _protect(self, definition: Definition) -> Protection | None:
        full_name = definition.relation.full_name
        kinds = self._columns.get(full_name, {})
        if lost := self._known.setdefault(definition.oid, kinds).keys() - kinds.keys():
            return _withhold(definition, no_longer_personal(full_name, lost))
        if missing := kinds.keys() - {column.name for column in definition.columns}:
            return _withhold(definition, f"The personal column {', '.join(sorted(missing))} is not there any more.")
        if not kinds:
            return None
        kept = [index for index, column in enumerate(definition.columns) if kinds.get(column.name) != DROP]
        columns = [definition.columns[index] for index in kept]
        hidden = [column.name for column in definition.columns if column.key and column.name in kinds]
        if hidden and definition.identity in ("d", "i"):
            return _withhold(definition, f"The personal column {', '.join(hidden)} is part of its key now.")
        names = tuple(column.name for column in columns)
        if not _can_tell(self._names.get(definition.oid, ()), names):
            return _withhold(definition, "Columns were renamed so that nobody can tell where the personal values are.")
        self._names[definition.oid] = names
        changes = [self._replace(kinds[column.name]) if column.name in kinds else None for column in columns]
        return Protection(replace(definition, columns=tuple(columns)), tuple(zip(kept, changes, strict=True)))

    def _replace(self, kind: str) -> Replace:
        assert self._key, "without a key a hash can be guessed"
        match kind:
            case "hash":
                return lambda value: keyed_hash(self._key, value).encode()
            case "mask":
                return masked
            case "tokenize":
                return self._tokenize
        raise AssertionError(kind)

    def _tokenize(self, value: bytes) -> bytes:
        token = f"tok_{keyed_hash(self._key, _TOKEN + value)[:TOKEN_DIGITS]}"
        if token not in self._known_tokens:
            with self._lock:
                if len(self._known_tokens) >= TOKENS_REMEMBERED_MAX:
                    self._known_tokens.clear()
                self._known_tokens.add(token)
                self._new_tokens[token] = value.decode()
        return token.encode()


def no_longer_personal(full_name: str, columns: Collection[str]) -> str:
    """Why a table cannot be mirrored as the configuration has it now."""
    return (
        f"headrace.toml does not name {', '.join(sorted(columns))} of {full_name} as personal any more. "
        "Name it; or remove the table and add it again, if its values may be seen."
    )


def _withhold(definition: Definition, reason: str) -> Protection:
    return Protection(definition, tuple((index, None) for index in range(len(definition.columns))), reason)


def _can_tell(before: Sequence[str], now: Sequence[str]) -> bool:
    """Whether each column has the name that it had, or one that was never another's.

    PostgreSQL adds columns at the end, and sends no numbers of them. `email` renamed away and `new_email` renamed to
    `email` would otherwise show the old values under the name in between.
    """
    if len(now) < len(before):
        rest = iter(before)
        return all(name in rest for name in now)
    renamed = [(old, new) for old, new in zip(before, now, strict=False) if old != new]
    crosswise = any(old in now or new in before for old, new in renamed)
    return not renamed or (len(now) == len(before) and not crosswise)


def replace_values(values: pa.BinaryArray, change: Replace) -> pa.BinaryArray:
    """Each value replaced, NULL by NULL. Python sees each different value once."""
    encoded = values.dictionary_encode()
    return pa.array(map(change, encoded.dictionary.to_pylist()), pa.binary()).take(encoded.indices)


def masked(value: bytes) -> bytes:
    """The first character and `***`; of an e-mail address its domain too; of less than four characters only `***`."""
    text = value.decode()
    if _EMAIL.fullmatch(text):  # and not any text with an @ in it
        return f"{text[0]}{MASK}{text[text.index('@') :]}".encode()
    return (MASK if len(text) < 4 else f"{text[0]}{MASK}").encode()
