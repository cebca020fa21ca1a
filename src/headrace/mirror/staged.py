"""Staged changes: what the staging table says of each change beside its values, and the words that statements share.

Column n of the table is called `c<n>` in what travels and in the staging table, so that no name of the application's
can clash with a name of ours.
"""

from __future__ import annotations

from typing import Final

PLACE: Final = "_lsn, _ordinal"
IN_SLICE: Final = "_batch > {after:UInt64} AND _batch <= {upto:UInt64}"
INSERT, UPDATE, DELETE = (ord(kind) for kind in "IUD")
# `prepare` makes these columns.
STAGED: Final = (
    ("_kind", "UInt8"),
    ("_lsn", "UInt64"),
    ("_ordinal", "UInt32"),
    ("_xid", "UInt32"),
    ("_committed_at", "DateTime64(6, 'UTC')"),
    ("_unchanged", "Array(UInt16)"),
    ("_moved", "UInt8"),
    ("_chain", "UInt32"),
)


def quoted(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def escaped(text: str) -> str:
    """For the inside of a string literal."""
    return text.replace("\\", "\\\\").replace("'", "\\'")
