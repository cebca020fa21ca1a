"""Personal columns in the text of COPY: the same replacement as in the stream, for rows on their way to the mirror."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from headrace.capture.personal import Replace, replace_values

_NULL = b"\\N"
_LETTERS = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_SPECIAL = {ord("\\"): "\\\\", ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t"}


def protect_copied(rows: bytes, changes: Sequence[Replace | None]) -> bytes:
    """Whole rows in COPY's text format, the values of each column replaced by its change; None: left as they are."""
    names = [str(place) for place in range(len(changes))]
    table = csv.read_csv(
        pa.BufferReader(rows),
        csv.ReadOptions(use_threads=False, block_size=len(rows) + 1, column_names=names),
        # Every separator in a value is escaped by PostgreSQL, so all that are found separate.
        csv.ParseOptions(delimiter="\t", quote_char=False, escape_char=False, ignore_empty_lines=False),
        csv.ConvertOptions(column_types=dict.fromkeys(names, pa.binary()), check_utf8=False, strings_can_be_null=False),
    ).combine_chunks()
    columns = [
        column if change is None else replace_values(column.combine_chunks(), _on_text(change))
        for column, change in zip(table.columns, changes, strict=True)
    ]
    columns[-1] = pc.binary_join_element_wise(columns[-1], pa.scalar(b"", pa.binary()), pa.scalar(b"\n", pa.binary()))
    lines = pc.binary_join_element_wise(*columns, pa.scalar(b"\t", pa.binary()))
    return b"".join(_data(chunk) for chunk in (lines.chunks if isinstance(lines, pa.ChunkedArray) else [lines]))


def _on_text(change: Replace) -> Replace:
    """The change of a value, as one of its text in COPY."""

    def changed(text: bytes) -> bytes:
        return text if text == _NULL else _escaped(change(_unescaped(text)))

    return changed


def _unescaped(text: bytes) -> bytes:
    return _ESCAPE.sub(lambda found: _LETTERS.get(found[1], found[1]), text) if b"\\" in text else text


def _escaped(value: bytes) -> bytes:
    return value.decode().translate(_SPECIAL).encode()


def _data(values: pa.BinaryArray) -> bytes:
    """The bytes of all values, one behind the other."""
    offsets = pa.Array.from_buffers(pa.int32(), len(values) + 1, [None, values.buffers()[1]], offset=values.offset)
    begin, end = offsets[0].as_py(), offsets[-1].as_py()
    data: bytes = values.buffers()[2].slice(begin, end - begin).to_pybytes() if end > begin else b""
    return data
