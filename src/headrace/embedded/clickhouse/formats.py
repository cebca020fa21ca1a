"""What the HTTP interface must know about output formats: their content types, and how chunks become one result.

chDB streams a result as one complete document per block: every chunk of `CSVWithNames` begins with the names, every
chunk of `ArrowStream` is a whole stream. Here those chunks are glued into the bytes that a server would have sent.
Formats that cannot be glued (JSON, Parquet, …) are materialised by the engine; that decision is made here as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_TEXT: Final = "text/plain; charset=UTF-8"
_TSV: Final = "text/tab-separated-values; charset=UTF-8"
_JSON: Final = "application/json; charset=UTF-8"
_NDJSON: Final = "application/x-ndjson; charset=UTF-8"
_BINARY: Final = "application/octet-stream"

# Settings or clauses whose presence anywhere in a request makes the gluing of chunks wrong.
_UNGLUED_MARKS: Final = (
    b"TOTALS",
    b"EXTREMES",
    b"OUTPUT_FORMAT_JSON_ARRAY_OF_ROWS",
    b"FORMAT_CUSTOM_RESULT",
    b"OUTPUT_FORMAT_NATIVE",
)


def _no_head(chunk: bytes) -> int:
    return 0


def _lines(count: int) -> Callable[[bytes], int]:
    """The length of the first `count` lines; names cannot hold a raw line feed in these formats."""

    def head(chunk: bytes) -> int:
        end = 0
        for _ in range(count):
            end = chunk.index(b"\n", end) + 1
        return end

    return head


def _csv_lines(count: int) -> Callable[[bytes], int]:
    """The same for CSV, where a quoted name may hold line feeds: a line ends where the quotes are balanced."""

    def head(chunk: bytes) -> int:
        end = 0
        for _ in range(count):
            start = end
            end = chunk.index(b"\n", end) + 1
            while chunk.count(b'"', start, end) % 2:
                end = chunk.index(b"\n", end) + 1
        return end

    return head


def _row_binary_strings(parts: int) -> Callable[[bytes], int]:
    """The length of RowBinary's head: a count, then `parts` lists (names, types) of length-prefixed strings."""

    def head(chunk: bytes) -> int:
        columns, at = _varint(chunk, 0)
        for _ in range(columns * parts):
            length, at = _varint(chunk, at)
            at += length
        return at

    return head


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _arrow_schema(chunk: bytes) -> int:
    """The length of an Arrow stream's schema message: a marker, a length, and the (padded) message without a body."""
    return 8 + int.from_bytes(chunk[4:8], "little")


_ARROW_END: Final = b"\xff\xff\xff\xff\x00\x00\x00\x00"

# The formats whose chunks can be glued: how long a chunk's head is, which later chunks must lose.
_HEADS: Final[dict[str, Callable[[bytes], int]]] = {
    **dict.fromkeys(
        (
            "TabSeparated", "TSV", "TabSeparatedRaw", "TSVRaw", "Raw", "CSV", "TSKV", "LineAsString", "RawBLOB",
            "JSONEachRow", "JSONLines", "NDJSON", "JSONStringsEachRow", "JSONCompactEachRow",
            "JSONCompactStringsEachRow", "PrettyJSONEachRow", "RowBinary", "Native", "MsgPack", "BSONEachRow",
        ),
        _no_head,
    ),
    **dict.fromkeys(
        (
            "TabSeparatedWithNames", "TSVWithNames", "TabSeparatedRawWithNames", "TSVRawWithNames",
            "JSONCompactEachRowWithNames", "JSONCompactStringsEachRowWithNames",
        ),
        _lines(1),
    ),
    **dict.fromkeys(
        (
            "TabSeparatedWithNamesAndTypes", "TSVWithNamesAndTypes", "TabSeparatedRawWithNamesAndTypes",
            "TSVRawWithNamesAndTypes", "JSONCompactEachRowWithNamesAndTypes",
            "JSONCompactStringsEachRowWithNamesAndTypes",
        ),
        _lines(2),
    ),
    "CSVWithNames": _csv_lines(1),
    "CSVWithNamesAndTypes": _csv_lines(2),
    "RowBinaryWithNames": _row_binary_strings(1),
    "RowBinaryWithNamesAndTypes": _row_binary_strings(2),
    "ArrowStream": _arrow_schema,
}  # fmt: skip


def content_type(format_name: str) -> str:
    """The Content-Type that ClickHouse gives a result in this format."""
    if format_name == "JSON" or format_name.startswith(("JSONCompact", "JSONColumns", "JSONStrings", "JSONObject")):
        return _NDJSON if "EachRow" in format_name else _JSON
    if format_name in ("JSONEachRow", "JSONLines", "NDJSON", "PrettyJSONEachRow"):
        return _NDJSON
    if format_name.startswith(("TabSeparated", "TSV")):
        return _TSV
    if format_name.startswith("CSV"):
        return f"text/csv; charset=UTF-8; header={'present' if 'WithNames' in format_name else 'absent'}"
    if format_name.startswith(("RowBinary", "Native", "MsgPack", "Protobuf", "BSON", "Npy", "Avro", "ORC", "RawBLOB")):
        return _BINARY
    special = {
        "XML": "application/xml; charset=UTF-8",
        "Arrow": "application/vnd.apache.arrow.file",
        "ArrowStream": "application/vnd.apache.arrow.stream",
        "Parquet": "application/vnd.apache.parquet",
        "Markdown": "text/markdown; charset=UTF-8",
    }
    return special.get(format_name, _TEXT)


def can_be_glued(format_name: str, request_text: bytes) -> bool:
    """Whether a result may be streamed block by block. `request_text` is the statement and its settings."""
    if format_name not in _HEADS:
        return False
    upper = request_text.upper()
    return not any(mark in upper for mark in _UNGLUED_MARKS)


class Glue:
    """Turns the engine's chunks of one result into consecutive pieces of one document."""

    def __init__(self, format_name: str) -> None:
        self._head = _HEADS[format_name]
        self._arrow = format_name == "ArrowStream"
        self._first = True

    def piece(self, chunk: bytes) -> bytes:
        """The bytes to send for the next chunk."""
        start = 0 if self._first else self._head(chunk)
        end = len(chunk)
        if self._arrow and chunk.endswith(_ARROW_END):
            end -= len(_ARROW_END)
        self._first = False
        return chunk if start == 0 and end == len(chunk) else chunk[start:end]

    def end(self) -> bytes:
        """What closes the document; nothing for an empty result or for formats without a closing mark."""
        return _ARROW_END if self._arrow and not self._first else b""
