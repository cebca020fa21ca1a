"""The SQL of the event store, read from the files beside this module: it works from a wheel and from a zip.

All SQL of this package is in those files; no module builds any.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from typing import NamedTuple


class Script(NamedTuple):
    """One .sql file: `name` like `migrations/0001_create_events.sql`, its text, and the SHA-256 of that text."""

    name: str
    text: bytes
    checksum: str


@cache
def query(name: str) -> bytes:
    """The statement in sql/queries/NAME.sql."""
    return (files(__package__) / "sql" / "queries" / f"{name}.sql").read_bytes()


def scripts(folder: str) -> list[Script]:
    """The files of sql/FOLDER, in the order of their names."""
    entries = sorted((files(__package__) / "sql" / folder).iterdir(), key=lambda entry: entry.name)
    found = []
    for entry in entries:
        if entry.name.endswith(".sql"):
            text = entry.read_bytes()
            found.append(Script(f"{folder}/{entry.name}", text, hashlib.sha256(text).hexdigest()))
    return found
