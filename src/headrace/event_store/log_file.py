"""Log file: the whole log outside the store, as JSON lines or as Parquet, read back event by event.

What a file says is checked here, and each error names the line or the row. `data` and `metadata` pass through as text.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

import msgspec
import pyarrow as pa
from pyarrow import parquet

from headrace.errors import InvalidInput
from headrace.events.event import Metadata, check_tag

Format = Literal["jsonl", "parquet"]

SCHEMA = pa.schema(
    {
        "stream": pa.string(),
        "version": pa.int64(),
        "type": pa.string(),
        "schema_version": pa.int32(),
        "recorded_at": pa.timestamp("us", "UTC"),
        "tags": pa.list_(pa.string()),
        "data": pa.string(),
        "metadata": pa.string(),
    }
)
_ROWS_MAX = 5_000


class LogEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One event of the file: what makes a line, and a row."""

    stream: str
    version: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
    type: Annotated[str, msgspec.Meta(min_length=1)]
    schema_version: Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
    recorded_at: Annotated[datetime, msgspec.Meta(tz=True)]
    tags: tuple[str, ...]
    data: msgspec.Raw
    metadata: msgspec.Raw


_decode = msgspec.json.Decoder(LogEvent).decode
_decode_raw = msgspec.json.Decoder(msgspec.Raw).decode
_decode_metadata = msgspec.json.Decoder(Metadata).decode


class JsonLines:
    """A file of one event a line. `done` of `total` are bytes; a `total` of 0 is unknown."""

    unit = "line"

    def __init__(self, file: BinaryIO, *, name: str, total: int) -> None:
        self._file = file
        self.name = name
        self.total = total
        self.done = 0

    def __iter__(self) -> Iterator[LogEvent]:
        """Raises InvalidInput, with the number of the line."""
        for number, line in enumerate(self._file, 1):
            try:
                line.decode()  # msgspec does not look into what stays raw
                event = _decode(line)
                _check(event)
            except (ValueError, InvalidInput) as error:
                cut = "It has no end: the file was cut off here." if not line.endswith(b"\n") else ""
                raise _no_event(self, number, error, cut or "Correct the line.") from error
            self.done += len(line)
            yield event


class ParquetRows:
    """A Parquet file with the columns of `SCHEMA`. `done` of `total` are rows."""

    unit = "row"

    def __init__(self, path: Path) -> None:
        """Raises InvalidInput for a file that is cut off, is no Parquet, or has other columns."""
        self.name = str(path)
        try:
            self._file = parquet.ParquetFile(path)
        except pa.ArrowException as error:
            raise InvalidInput(
                f"{path} is no whole Parquet file.", f"{error}", "Export it again; a cut-off one cannot be read."
            ) from error
        found = self._file.schema_arrow
        if not found.equals(SCHEMA):
            raise InvalidInput(
                f"{path} has other columns than an exported log.",
                f"Expected {_columns(SCHEMA)}; got {_columns(found)}.",
                "Import what `headrace events export` wrote.",
            )
        self.total: int = self._file.metadata.num_rows
        self.done = 0

    def __iter__(self) -> Iterator[LogEvent]:
        """Raises InvalidInput, with the number of the row."""
        try:
            for batch in self._file.iter_batches(_ROWS_MAX):
                for row in batch.to_pylist():
                    yield self._event(row)
        except (pa.ArrowException, OSError) as error:
            raise InvalidInput(
                f"{self.name} cannot be read behind row {self.done:,}.", f"{error}", "Export it again."
            ) from error

    def _event(self, row: dict[str, object]) -> LogEvent:
        try:
            raw = {name: _decode_raw(str(row.pop(name))) for name in ("data", "metadata")}
            event = msgspec.convert({**row, **raw}, LogEvent)
            _check(event)
        except (ValueError, InvalidInput) as error:
            raise _no_event(self, self.done + 1, error, "Correct the row.") from error
        self.done += 1
        return event


LogFile = JsonLines | ParquetRows


def _check(event: LogEvent) -> None:
    if not event.type.isprintable():
        raise InvalidInput(f"Not an event type: {event.type[:80]!r}.")
    for tag in event.tags:
        check_tag(tag)
    _decode_metadata(event.metadata)


def _no_event(file: LogFile, number: int, error: ValueError | InvalidInput, hint: str) -> InvalidInput:
    return InvalidInput(f"{file.unit.capitalize()} {number:,} of {file.name} is no event.", f"{error}", hint)


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)
