"""Backlog: the events that were committed before the slot began, which no log can give any more.

They are read from their table in an order that never changes, below the snapshot that the slot began with. So a page
can be read again with the same bounds after a crash, like a batch from the log. Their positions lie before every
position of the log: a PostgreSQL log never begins below `LSN_MAX`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC
from importlib import resources

import psycopg
import pyarrow as pa
from psycopg import sql
from pyarrow import csv

from headrace.bus.batch import Batch, Relation
from headrace.errors import Corrupt, Unavailable
from headrace.events.position import ORDINAL_MAX, START, Position

EVENTS_TABLE = "headrace.events"
EVENTS = Relation(*EVENTS_TABLE.split("."))
# The first log segment of a new cluster begins at 0/1000000.
LSN_MAX = 0xFFFFFF
_ORDINALS = ORDINAL_MAX  # ordinals below it; ORDINAL_MAX itself stands for a whole transaction

_COLUMNS = {
    "stream": pa.string(),
    "version": pa.int64(),
    "type": pa.string(),
    "schema_version": pa.int32(),
    "data": pa.string(),
    "metadata": pa.string(),
    "recorded_at": pa.timestamp("us", "UTC"),
    "transaction_id": pa.string(),
    "ordinal": pa.int64(),
}


class Backlog:
    """Pages of at most `rows_max` events, from behind `after` on."""

    def __init__(self, *, postgres_url: str, snapshot: str, after: Position, rows_max: int) -> None:
        self._url = postgres_url
        self._snapshot = snapshot
        self._rows_max = rows_max
        self._read = 0 if after == START else _index(after) + 1
        # Behind the last row that was read; where a restart does not know it, the rows before are counted off.
        self._key: tuple[str, int, str, int] | None = None

    async def next(self, *, last: Position | None = None) -> Batch | None:
        """The next page, or the one that ends exactly at `last`; None when there are no more. Raises Unavailable."""
        if last is not None and last.lsn > LSN_MAX:
            return None  # it was planned from the log, so all of the backlog is behind us
        rows = self._rows_max if last is None else _index(last) - self._read + 1
        page = await self._copy(rows)
        if last is not None and page.num_rows != rows:
            raise Corrupt(
                f"The event store holds fewer events than an unfinished batch was planned with, up to {last}.",
                f"Of {rows} events behind the first {self._read} it has {page.num_rows}.",
                "Stored events were deleted: restore them.",
            )
        return self._batch(page) if page.num_rows else None

    def _batch(self, page: pa.Table) -> Batch:
        first, count = self._read, page.num_rows
        tail = page.slice(count - 1).to_pylist()[0]
        self._read += count
        self._key = (tail["transaction_id"], tail["ordinal"], tail["stream"], tail["version"])
        places = [_position(index) for index in range(first, first + count)]
        table = page.drop_columns(["transaction_id", "ordinal"])
        table = table.append_column("_lsn", pa.array([place.lsn for place in places], pa.uint64()))
        table = table.append_column("_ordinal", pa.array([place.ordinal for place in places], pa.uint32()))
        return Batch(
            first=places[0],
            last=places[-1],
            confirm_lsn=0,
            committed_at=tail["recorded_at"].astimezone(UTC),
            transactions=0,
            inserts={EVENTS: table},
        )

    async def _copy(self, rows: int) -> pa.Table:
        transaction_id, ordinal, stream, version = self._key or ("0", 0, "", 0)
        statement = sql.SQL((resources.files(__package__) / "sql" / "copy_backlog.sql").read_text()).format(
            snapshot=sql.Literal(self._snapshot),
            transaction_id=sql.Literal(transaction_id),
            ordinal=sql.Literal(ordinal),
            stream=sql.Literal(stream),
            version=sql.Literal(version),
            skip=sql.Literal(0 if self._key else self._read),
            rows=sql.Literal(rows),
        )
        async with _cursor(self._url) as cursor, cursor.copy(statement) as copy:
            text = b"".join([bytes(block) async for block in copy])
        if not text:
            return pa.table({name: pa.array([], type_) for name, type_ in _COLUMNS.items()})
        return csv.read_csv(
            pa.BufferReader(text),
            read_options=csv.ReadOptions(column_names=list(_COLUMNS), block_size=max(len(text), 1)),
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=csv.ConvertOptions(column_types=_COLUMNS, strings_can_be_null=False),
        )


def _position(index: int) -> Position:
    """The place of the event that `index` others stand before."""
    return Position(1 + index // _ORDINALS, index % _ORDINALS)


def _index(position: Position) -> int:
    return (position.lsn - 1) * _ORDINALS + position.ordinal


@asynccontextmanager
async def _cursor(url: str) -> AsyncIterator[psycopg.AsyncCursor[tuple[object, ...]]]:
    try:
        async with (
            await psycopg.AsyncConnection.connect(url, autocommit=True, options="-c timezone=UTC") as connection,
            connection.cursor() as cursor,
        ):
            yield cursor
    except psycopg.OperationalError as error:
        raise Unavailable(
            "PostgreSQL failed while stored events were read.", str(error).strip(), "Start it, or wait."
        ) from error
