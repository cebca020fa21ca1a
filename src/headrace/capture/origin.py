"""Origin: which server the log is from, and which of its histories.

A position in the log means nothing without it: a standby that took over writes other changes from the place on where it
left the history of its primary, and a restored server has another log altogether.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import psycopg
from psycopg import pq
from psycopg.pq.abc import PGresult

from headrace.errors import Unavailable
from headrace.events.position import Position


class Origin(NamedTuple):
    """`system` is PostgreSQL's number of the database cluster, which its standbys share; `timeline` the number of the
    history that it writes, which a standby changes when it takes over.
    """

    system: int
    timeline: int


def read_origin(connection: psycopg.Connection[Any]) -> Origin:
    """What a server says of itself over a replication connection. Raises Unavailable."""
    result = _run(connection, "IDENTIFY_SYSTEM")
    system, timeline = (int(result.get_value(0, column) or b"0") for column in (0, 1))
    return Origin(system, timeline)


def read_history(connection: psycopg.Connection[Any], timeline: int) -> str:
    """The file that tells where each history led to the next; empty for the first. Raises Unavailable."""
    if timeline == 1:
        return ""
    return (_run(connection, f"TIMELINE_HISTORY {timeline}").get_value(0, 1) or b"").decode(errors="replace")


def left_at(history: str, timeline: int) -> int | None:
    """The LSN at which `timeline` was left for the next, by the text of a history file; None when it never was. Pure.

    A line is the number of a history, the place of its end, and a reason, with tabs between.
    """
    for line in history.splitlines():
        fields = line.split()
        if len(fields) >= 2 and fields[0] == str(timeline):
            return Position.parse(fields[1]).lsn
    return None


def why_no_continuation(found: Origin, history: str, known: Origin, after: Position) -> str:
    """Why a log of `found` does not go on where one of `known` was loaded up to `after`; empty when it does. Pure.

    A standby that took over does if it left the known history behind `after`: all that was loaded is on it then.
    """
    if found == known:
        return ""
    if found.system != known.system:
        return f"Its system identifier is {found.system}; that of the log that was loaded is {known.system}."
    end = left_at(history, known.timeline)
    if end is None:
        return f"It is on timeline {found.timeline}, which does not come from timeline {known.timeline}."
    if after.lsn >= end:
        return (
            f"It left timeline {known.timeline} at {Position(end)}, and what is loaded goes up to {after}: "
            "the last of it may never have been on this server."
        )
    return ""


def refuse_other(connection: psycopg.Connection[Any], expected: Origin) -> None:
    """Raises Unavailable when a server took over while its log was read: a start finds out whether that can go on."""
    found = read_origin(connection)
    if found != expected:
        raise Unavailable(
            "Another PostgreSQL server answers than the one that was read.",
            f"System and timeline are {found.system} and {found.timeline}; expected {expected.system} and "
            f"{expected.timeline}.",
            "Start the worker again: it checks whether its log goes on where the read models stopped.",
        )


def _run(connection: psycopg.Connection[Any], command: str) -> PGresult:
    result = connection.pgconn.exec_(command.encode())
    if result.status != pq.ExecStatus.TUPLES_OK:
        raise Unavailable(f"PostgreSQL does not answer {command}.", result.get_error_message().strip())
    return result
