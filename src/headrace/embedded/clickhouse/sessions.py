"""Sessions of the HTTP interface: one connection each, so that temporary tables and SET last from query to query.

A session runs one query at a time and is forgotten after its idle timeout. A request's own settings and database hold
for that request only: they are put back afterwards.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from headrace.embedded.clickhouse.engine import QUERY_ID_SETTING, Connection, Engine
from headrace.embedded.clickhouse.exceptions import Code, refused
from headrace.embedded.clickhouse.statement import identifier, quoted

SESSIONS_MAX: Final = 1000


class Unshared:
    """The connection of a request without a session: opened for it, closed after it. Nothing can leak from it."""

    keeps_read_only = True

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None

    @property
    def open(self) -> bool:
        """Whether `end` is still to be called."""
        return self._connection is not None

    def begin(self, settings: Mapping[str, str], database: str, query_id: str, *, read_only: bool) -> Connection:
        """Open the connection. Blocks; runs in a query's thread."""
        self._connection = connection = self._engine.connect(query_id, read_only=read_only)
        if database:
            connection.use(database)
        connection.set(settings)
        return connection

    def end(self, settings: Mapping[str, str], database: str, *, forget: bool) -> None:
        """Close the connection, which cancels what still runs on it."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Session:
    """One session: its connection and what its settings are outside of any request."""

    # `readonly` could not be taken back after a GET, so writing statements are refused by what they are.
    keeps_read_only = False

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.busy = False
        self.open = False
        self.expires_at = 0.0
        # setting → its value outside of requests, None for the default; "" is the current database.
        self._outside: dict[str, str | None] = {}

    def begin(self, settings: Mapping[str, str], database: str, query_id: str, *, read_only: bool) -> Connection:
        """Apply one request's settings and database. Blocks; runs in a query's thread."""
        self.open = True
        self._learn([*settings], database)
        if database:
            self.connection.use(database)
        self.connection.set({**settings, QUERY_ID_SETTING: query_id})
        return self.connection

    def end(self, settings: Mapping[str, str], database: str, *, forget: bool) -> None:
        """Put settings and database back. `forget` after a SET or USE, which may have changed what is outside."""
        self.open = False
        self.connection.recover()
        put_back = {name: self._outside.get(name) for name in settings if not name.startswith("param_")}
        changes = [
            f"{identifier(name)} = {'DEFAULT' if value is None else quoted(value)}" for name, value in put_back.items()
        ]
        if changes:
            self.connection.query(f"SET {', '.join(changes)}")
        if database and (outside := self._outside.get("")):
            self.connection.use(outside)
        if forget:
            self._outside.clear()

    def _learn(self, names: list[str], database: str) -> None:
        unknown = [name for name in names if name not in self._outside and not name.startswith("param_")]
        if unknown:
            listed = ", ".join(map(quoted, unknown))
            rows = self.connection.query(
                f"SELECT name, value FROM system.settings WHERE changed AND name IN ({listed})", "TSVRaw"
            )
            known = dict(line.split("\t", 1) for line in rows.decode().splitlines())
            self._outside.update({name: known.get(name) for name in unknown})
        if database and "" not in self._outside:
            self._outside[""] = self.connection.query("SELECT currentDatabase()", "TSVRaw").decode().rstrip("\n")


class Sessions:
    """All sessions of the server. Not thread-safe: it belongs to the event loop."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sessions: dict[str, Session] = {}

    @contextmanager
    def use(self, session_id: str, timeout_s: int, *, must_exist: bool, close_after: bool) -> Iterator[Session]:
        """Hold a session for one query. Raises 373 when it is in use, 372 when it must exist and does not."""
        session = self._sessions.get(session_id)
        if session is None:
            if must_exist:
                raise refused(Code.SESSION_NOT_FOUND, f"Session {session_id} not found")
            if len(self._sessions) >= SESSIONS_MAX:
                raise refused(Code.TOO_MANY_SIMULTANEOUS_QUERIES, f"Too many sessions. Maximum: {SESSIONS_MAX}")
            session = self._sessions[session_id] = Session(self._engine.connect(""))
        if session.busy:
            raise refused(Code.SESSION_IS_LOCKED, f"Session {session_id} is locked by a concurrent client")
        session.busy = True
        try:
            yield session
        finally:
            session.busy = False
            session.expires_at = time.monotonic() + timeout_s
            if close_after:
                self._close(session_id)

    def expire(self) -> None:
        """Close the sessions whose idle time is over."""
        now = time.monotonic()
        for session_id in [key for key, one in self._sessions.items() if not one.busy and one.expires_at < now]:
            self._close(session_id)

    def close(self) -> None:
        """Close every session; their queries must have ended."""
        for session_id in list(self._sessions):
            self._close(session_id)

    def _close(self, session_id: str) -> None:
        self._sessions.pop(session_id).connection.close()
