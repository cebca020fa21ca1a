"""What ksqlDB, ClickHouse or standard SQL have and this language does not, each with what to write instead.

Only refusals live here. A construct that becomes supported loses its entry in the same change.
"""

from __future__ import annotations

from typing import Final

from headrace.errors import InvalidSQL
from headrace.streaming_sql.cursor import Cursor

_LATER = "Put it into a query file: queries read streams and tables with all of ClickHouse's SQL."

# The word that opens a clause after FROM: (message, hint).
_CLAUSES: Final = {
    **dict.fromkeys(
        ("JOIN", "LEFT", "RIGHT", "INNER", "FULL", "CROSS", "ANY", "ASOF", "GLOBAL"),
        ("A definition reads one source; joins are not supported", _LATER),
    ),
    **dict.fromkeys(
        ("WINDOW", "WITHIN", "GRACE"),
        ("Windows are not supported", "Group by the start of an interval: toStartOfInterval(time, INTERVAL 5 MINUTE)."),
    ),
    "PARTITION": ("PARTITION BY is not supported", "Store in another order instead: WITH (order_by = 'user_id')."),
    "HAVING": ("HAVING is not supported in a definition", f"Filter when reading. {_LATER}"),
    "ORDER": ("ORDER BY is not supported in a definition", "Choose the stored order: WITH (order_by = '…')."),
    "LIMIT": ("LIMIT is not supported in a definition", _LATER),
    "UNION": ("UNION is not supported in a definition", "Write one definition per source."),
    "SETTINGS": ("SETTINGS are not supported in a definition", "Streams take WITH (order_by = '…')."),
    "PREWHERE": ("PREWHERE is not supported", "Write WHERE."),
    "FINAL": ("FINAL is not supported in a definition", ""),
    "SAMPLE": ("SAMPLE is not supported in a definition", ""),
}

# The word that opens a statement: (message, hint).
_STATEMENTS: Final = {
    "SELECT": ("A query is not a definition", _LATER),
    "INSERT": (
        "INSERT is not supported",
        "Facts come from events: send a command, or write CREATE STREAM … AS SELECT.",
    ),
    "ALTER": ("ALTER is not supported", "Edit the CREATE statement; a changed definition is filled again."),
    "LIST": ("LIST is not supported", "Write SHOW."),
    "DESC": ("DESC is not supported", "Write DESCRIBE."),
}


def refuse_clause(cursor: Cursor) -> None:
    """Raise InvalidSQL if a clause comes next that is known and not supported."""
    _refuse(cursor, _CLAUSES)


def refuse_statement(cursor: Cursor) -> None:
    """Raise InvalidSQL if a statement comes next that is known and not supported."""
    _refuse(cursor, _STATEMENTS)


def subquery(cursor: Cursor) -> InvalidSQL:
    """The error for a SELECT in the place of a value or a source."""
    hint = "Define a stream for the inner SELECT and read from it."
    return cursor.script.error("Subqueries are not supported in a definition", cursor.token.span, hint)


def over(cursor: Cursor) -> InvalidSQL:
    """The error for `OVER` after a call."""
    message = "Window functions (OVER) are not supported: they need rows of other batches"
    return cursor.script.error(message, cursor.token.span, _LATER)


def _refuse(cursor: Cursor, refusals: dict[str, tuple[str, str]]) -> None:
    if cursor.token.keyword in refusals:
        message, hint = refusals[cursor.token.keyword]
        raise cursor.script.error(message, cursor.token.span, hint)
