"""One statement on one connection: the blocking half of a request, run in a worker thread.

Knows statements, formats and the engine; knows neither HTTP nor the event loop.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from headrace.embedded.clickhouse.compression import Encoder
from headrace.embedded.clickhouse.engine import QUERY_ID_SETTING, Connection, Progress
from headrace.embedded.clickhouse.exceptions import Code, refused
from headrace.embedded.clickhouse.formats import Glue, can_be_glued
from headrace.embedded.clickhouse.statement import (
    InlineInsert,
    first_words,
    kill_query_condition,
    output_format,
    quoted,
    refuse_input_function,
)

# A result up to this size is answered in one piece, with its length and a complete summary.
FIRST_PIECE_BYTES: Final = 1 << 20

_MATERIALIZED: Final = "insert_allow_materialized_columns"
_CHANGES_SESSION: Final = frozenset((b"SET", b"USE"))


@dataclass(slots=True)
class Result:
    """A result on its way out; `first` is its beginning."""

    format: str
    progress: Progress = field(default_factory=Progress)
    first: bytes = b""


class Execution:
    """Runs one statement. Every method blocks, and one at a time may be called.

    Until `ended` is true, `next_piece` has more of the result.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        parameters: Mapping[str, str],
        default_format: str,
        whole: bool,
        encoder: Encoder | None,
    ) -> None:
        self._connection = connection
        self._parameters = parameters
        self._default_format = default_format
        self._whole = whole  # wait_end_of_query: send nothing before the query has ended
        self._encoder = encoder
        self._glue: Glue | None = None
        self.result = Result(default_format)
        self.ended = True

    def insert(self, insert: InlineInsert, path: str, compression: str, settings: Mapping[str, str]) -> Result:
        """Run an INSERT with its rows in a file or pipe."""
        materialized = settings.get(_MATERIALIZED, "0") not in ("0", "false") or _MATERIALIZED in insert.settings
        if insert.select is not None:
            sql = insert.from_input(path, compression)
        elif materialized:
            # FROM INFILE knows no MATERIALIZED columns: it would refuse them, or ignore the given values.
            if not insert.columns:
                raise refused(Code.NOT_IMPLEMENTED, f"{_MATERIALIZED} needs the columns: INSERT INTO t (a, b) …")
            sql = insert.from_select(path, compression)
        else:
            sql = insert.from_file(path, compression)
        self._connection.set({f"param_{name}": value for name, value in self._parameters.items()})
        self._connection.query(sql, progress=self.result.progress)
        return self.result

    def statement(self, text: bytes, settings: bytes, *, refuse_writes: bool) -> Result:
        """Run any other statement up to its first piece. `settings` are the request's, as text."""
        format_name = output_format(text) or self._default_format
        self.result.format = format_name
        statements, only_reads = self._connection.classify(text)
        if statements > 1:
            raise refused(Code.SYNTAX_ERROR, "Syntax error (Multi-statements are not allowed)")
        refuse_input_function(text)
        if refuse_writes and not (only_reads or changes_session(text)):
            raise refused(Code.READONLY, "Cannot execute query in readonly mode.")
        if (kill := kill_query_condition(text)) is not None:
            return self._finish(self._kill_query(*kill, format_name))
        selects = only_reads and first_words(text, 1) in ((b"SELECT",), (b"WITH",))
        if selects and can_be_glued(format_name, text + settings):
            return self._stream(text, format_name)
        return self._finish(self._connection.query(text, format_name, self._parameters, self.result.progress))

    def next_piece(self) -> bytes:
        """The next piece of a streamed result, compressed as asked; sets `ended` with the last one."""
        assert self._glue is not None
        while True:
            chunk = self._connection.fetch(self.result.progress)
            if chunk is None:
                self.ended = True
                return self._encoded(self._glue.end(), last=True)
            if piece := self._encoded(self._glue.piece(chunk), last=False):
                return piece

    def _stream(self, text: bytes, format_name: str) -> Result:
        self._glue = Glue(format_name)
        self._connection.start_stream(text, format_name, self._parameters)
        self.ended = False
        pieces: list[bytes] = []
        size = 0
        while not self.ended and (self._whole or size < FIRST_PIECE_BYTES):
            pieces.append(self.next_piece())
            size += len(pieces[-1])
        self.result.first = b"".join(pieces)
        return self.result

    def tail(self, data: bytes) -> bytes:
        """Close a result that failed in its middle: what is left in the compressor, then `data`."""
        return self._encoded(data, last=True)

    def _finish(self, data: bytes) -> Result:
        self.result.first = self._encoded(data, last=True)
        return self.result

    def _encoded(self, data: bytes, *, last: bool) -> bytes:
        if self._encoder is None:
            return data
        body = self._encoder.compress(data) if data else b""
        return body + self._encoder.flush() if last else body

    def _kill_query(self, condition: str, mode: str, format_name: str) -> bytes:
        """KILL QUERY over the ids that clients know. The engine has ids of its own, which no client has seen."""
        client_id = f"Settings[{quoted(QUERY_ID_SETTING)}]"
        processes = f"""
            SELECT engine_query_id, query_id FROM (
                SELECT * REPLACE (if({client_id} = '', query_id, {client_id}) AS query_id), engine_query_id
                FROM (SELECT *, query_id AS engine_query_id FROM system.processes)
            ) WHERE ({condition}) AND engine_query_id != queryID()"""
        found = self._connection.query(processes, "JSONEachRow", self._parameters).decode().splitlines()
        client_ids = {row["engine_query_id"]: row["query_id"] for row in map(json.loads, found)}
        listed = ", ".join(map(quoted, client_ids)) or "''"
        killed = self._connection.query(f"KILL QUERY WHERE query_id IN ({listed}) {mode}", "JSONEachRow").decode()
        rows = [json.loads(line) for line in killed.splitlines()]
        answer = "\n".join(json.dumps({**row, "query_id": client_ids[row["query_id"]]}) for row in rows)
        columns = "kill_status String, query_id String, user String, query String"
        sql = f"SELECT * FROM format(JSONEachRow, {quoted(columns)}, {quoted(answer)})"
        return self._connection.query(sql, format_name, progress=self.result.progress) if rows else b""


def changes_session(text: bytes) -> bool:
    """Whether the statement changes what a session's settings or database are outside of requests."""
    return not _CHANGES_SESSION.isdisjoint(first_words(text, 1))
