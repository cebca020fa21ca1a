"""chDB: the only module that touches it, and the record of what must be known to use it safely.

Three habits of chDB shape this file (docs/decisions/0001-embedded-clickhouse.md has the experiments):

- A failed query leaves its half-written result in the connection, and the next query returns it. So a connection
  that raised is never used again; opening one costs 0.2 ms.
- `send_insert` reports success when the rows could not be stored. So it is not used; inserts read their rows from a
  file or a named pipe, through the path that reports every error.
- A query's id cannot be chosen. So each connection carries the client's id in an obsolete setting, which is visible
  in `system.processes` and found by KILL QUERY.

Nothing here knows HTTP.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from headrace.embedded.clickhouse.exceptions import from_engine
from headrace.embedded.clickhouse.statement import identifier, quoted

# An obsolete setting: ClickHouse accepts and ignores it, and lists it with the query in `system.processes`.
QUERY_ID_SETTING: Final = "function_implementation"

# An id that may stand in chDB's connection string, which has no escaping but saves a SET.
_PLAIN_ID: Final = re.compile(r"[A-Za-z0-9_.:-]+")

# What a server has, where chDB's defaults differ. `implicit_select` would run a typing error as an expression.
_SERVER_DEFAULTS: Final = {
    "implicit_select": "0",
    "allow_introspection_functions": "0",
    "storage_file_read_method": "pread",
}


@dataclass(slots=True)
class Progress:
    """What a query read and wrote, in the words of X-ClickHouse-Summary."""

    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    result_rows: int = 0
    result_bytes: int = 0

    def add(self, result: Any) -> None:
        self.read_rows += result.storage_rows_read()
        self.read_bytes += result.storage_bytes_read()
        self.written_rows += result.rows_written()
        self.written_bytes += result.bytes_written()
        self.result_rows += result.rows_read()
        self.result_bytes += result.size()


class Connection:
    """One connection of the engine. It runs one statement at a time, and none after an exception."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._stream: Any = None
        self.broken = False

    def set(self, settings: Mapping[str, str]) -> None:
        """SET settings (or `param_…` for query parameters) for the following statements."""
        if settings:
            pairs = ", ".join(f"{identifier(name)} = {quoted(value)}" for name, value in settings.items())
            self.query(f"SET {pairs}")

    def query(
        self,
        sql: str | bytes,
        format_name: str = "TabSeparated",
        params: Mapping[str, str] | None = None,
        progress: Progress | None = None,
    ) -> bytes:
        """Run one statement and return its whole result."""
        try:
            result = self._raw.query(sql, format_name, params=dict(params or {}))
        except RuntimeError as error:
            self.broken = True
            raise from_engine(str(error)) from None
        if progress is not None:
            progress.add(result)
        data: bytes = result.bytes()
        return data

    def start_stream(self, sql: str | bytes, format_name: str, params: Mapping[str, str]) -> None:
        """Begin a SELECT whose result is then taken by `fetch`, one block at a time."""
        try:
            self._stream = self._raw.send_query(sql, format_name, params=dict(params))
        except RuntimeError as error:
            self.broken = True
            raise from_engine(str(error)) from None

    def fetch(self, progress: Progress) -> bytes | None:
        """The next chunk of the running stream (a complete document each), or None at its end."""
        try:
            result = self._raw.streaming_fetch_result(self._stream)
        except RuntimeError as error:
            self.broken = True
            self._stream = None
            raise from_engine(str(error)) from None
        if result.size() == 0:
            self._stream = None
            return None
        progress.add(result)
        data: bytes = result.bytes()
        return data

    def classify(self, sql: bytes) -> tuple[int, bool]:
        """How many statements the text holds (0 when it does not parse), and whether they only read."""
        report = self._raw.classify_query(sql)
        return report["statement_count"], report["query_class"].name == "READ_ONLY"

    def use(self, database: str) -> None:
        """Make `database` the current one."""
        self.query(f"USE {identifier(database)}")

    def recover(self) -> None:
        """Cancel an unfinished stream and throw a failed query's leftovers away, so that the connection is as new."""
        if self._stream is not None:
            self._raw.streaming_cancel_query(self._stream)
            self._stream = None
            self.broken = True
        if self.broken:
            self._raw.query("SELECT 1", "TabSeparated")
            self.broken = False

    def close(self) -> None:
        """Cancel what runs and free the connection."""
        self._stream = None
        self._raw.close()


class Engine:
    """The one engine of this process, on one data folder."""

    def __init__(self, path: Path, *, memory_bytes_max: int) -> None:
        # chdb is an optional extra and takes half a second to load: only the child process may pay for it.
        import chdb

        native: Any = chdb._chdb
        # The process's signals belong to the server (drain, then stop), not to the engine.
        native.set_signal_handlers_enabled(0)
        self._connect = native.connect
        self._address = _address(path, _SERVER_DEFAULTS)
        # The engine lives as long as one connection does; this one also runs KILL QUERY for all others.
        self._control = Connection(
            native.connect(_address(path, {**_SERVER_DEFAULTS, "max_server_memory_usage": str(memory_bytes_max)}))
        )
        self._control_lock = threading.Lock()
        self.version, self.timezone, self.display_name = (
            self._control.query("SELECT version(), timezone(), displayName()").decode().rstrip("\n").split("\t")
        )

    def connect(self, query_id: str, *, read_only: bool = False) -> Connection:
        """Open a connection whose query is known as `query_id`. `read_only` is ClickHouse's `readonly = 2`."""
        address = f"{self._address}&readonly=2" if read_only else self._address
        if _PLAIN_ID.fullmatch(query_id):
            return Connection(self._connect(f"{address}&{QUERY_ID_SETTING}={query_id}"))
        connection = Connection(self._connect(address))
        connection.set({QUERY_ID_SETTING: query_id})
        return connection

    def kill(self, query_id: str) -> bool:
        """Cancel the query that a connection opened with this id is running. False when none is running (yet)."""
        condition = f"Settings[{quoted(QUERY_ID_SETTING)}] = {quoted(query_id)}"
        with self._control_lock:
            return bool(self._control.query(f"KILL QUERY WHERE {condition} ASYNC"))

    def kill_all(self) -> None:
        """Cancel every running query, before stopping."""
        with self._control_lock:
            self._control.query("KILL QUERY WHERE query_id != queryID() ASYNC")

    def close(self) -> None:
        """Shut the engine down; every other connection must be closed before."""
        with self._control_lock:
            self._control.close()


def _address(path: Path, settings: Mapping[str, str]) -> str:
    return f"{path}?" + "&".join(f"{name}={value}" for name, value in settings.items())
