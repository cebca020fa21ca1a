"""The names of everything that is generated, and of the columns that every source brings.

A name is made here or nowhere. Users' names hold no double underscore, generated ones do, so they cannot meet.
"""

from __future__ import annotations

import re
from typing import Final

NAME_CHARS_MAX: Final = 100
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")

# The position of the change a row comes from, and the batch that brought it.
LSN: Final = "_lsn"
ORDINAL: Final = "_ordinal"
BATCH: Final = "_batch"
# The types of the columns above, in the order in which a stream's table holds them.
BOOKKEEPING: Final = ((LSN, "UInt64"), (ORDINAL, "UInt32"), (BATCH, "UInt64"))
# Columns of a source that `*` does not mean, and that no output column may be called.
HIDDEN: Final = (LSN, ORDINAL, BATCH, "_type", "_stream", "_version", "_recorded_at")

# What a change stream has beside a mirrored table's columns and the bookkeeping. `_sign` says whether the image is
# there from now on (+1) or is gone (-1).
SIGN: Final = "_sign"
CHANGE: Final = ("_operation", SIGN, "_xid", "_committed_at")
# In a stream over changes: which row of a position it is, since an update makes two and a TRUNCATE many.
ROW: Final = "_row"

# In a table's view: the subquery that merges the partial aggregates.
MERGED: Final = "_merged"
# In the state of a table over rows that change: how many rows it counts, and which values it counts them for.
ROWS: Final = "_agg_rows"
ENTRY: Final = "_agg_entry"


def state(table: str) -> str:
    """The ClickHouse table that holds the keys and partial aggregates of a table."""
    return f"{table}__state"


def changes(table: str) -> str:
    """The change stream of a mirrored table."""
    return f"{table}_changes"


def argument(number: int) -> str:
    """The column of the aggregates' argument `number`, counted from 1, in the state over rows that change."""
    return f"_agg_arg_{number}"


def count(aggregate_column: str) -> str:
    """The column that counts the values of an aggregate over rows that change."""
    return aggregate_column.replace("_agg_", "_agg_count_", 1)


def total(aggregate_column: str) -> str:
    """The column that adds up the values of an aggregate over rows that change."""
    return aggregate_column.replace("_agg_", "_agg_sum_", 1)


def aggregate(number: int) -> str:
    """The column of the partial aggregate `number`, counted from 1."""
    return f"_agg_{number}"


def key(number: int) -> str:
    """The column of the key `number`, counted from 1, where it has no name of its own."""
    return f"_key_{number}"


def is_taken(column: str) -> bool:
    """Whether a column of this name would meet a generated one in the state of a table."""
    return column == BATCH or column.startswith(("_agg_", "_key_"))


def problem(name: str) -> str:
    """What is wrong with `name` as the name of a stream or table, or an empty string."""
    if not _NAME.fullmatch(name):
        return "may hold only a-z, A-Z, 0-9 and _, and begins with a letter"
    if "__" in name:
        return "may not hold a double underscore, which marks generated tables"
    if len(name) > NAME_CHARS_MAX:
        return f"has {len(name)} characters; at most {NAME_CHARS_MAX} are allowed"
    return ""
