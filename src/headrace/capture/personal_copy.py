"""Personal columns in the text of COPY: the same replacement as in the stream, for rows on their way to the mirror."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from headrace.capture.personal import Personal, Replace, replace_values
from headrace.capture.personal_tokens import store_tokens

_NULL = b"\\N"
_LETTERS = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_SPECIAL = {ord("\\"): "\\\\", **{ord(value): f"\\{letter.decode()}" for letter, value in _LETTERS.items()}}


async def protect_rows(
    rows: bytes, columns: Sequence[str], personal: Personal | None, full_name: str, url: str
) -> bytes:
    """Copied rows of a table with what stands for the values of its personal columns. Raises Unavailable."""
    changes = personal.of_columns(full_name, columns) if personal and rows else None
    if personal is None or changes is None:
        return rows
    replaced = await asyncio.to_thread(protect_copied, rows, changes)
    await store_tokens(personal, url)
    return replaced


def protect_copied(rows: bytes, changes: Sequence[Replace | None]) -> bytes:
    """Whole rows in COPY's text format, the values of each column replaced by its change; None: left as they are."""
    names = [str(place) for place in range(len(changes))]
    (batch,) = csv.read_csv(
        pa.BufferReader(rows),
        csv.ReadOptions(use_threads=False, block_size=len(rows) + 1, column_names=names),
        # Every separator in a value is escaped by PostgreSQL, so all that are found separate.
        csv.ParseOptions(delimiter="\t", quote_char=False, escape_char=False, ignore_empty_lines=False),
        csv.ConvertOptions(column_types=dict.fromkeys(names, pa.binary()), check_utf8=False, strings_can_be_null=False),
    ).to_batches()
    columns = [
        column if change is None else replace_values(column, _on_text(change))
        for column, change in zip(batch.columns, changes, strict=True)
    ]
    columns[-1] = pc.binary_join_element_wise(columns[-1], pa.scalar(b"", pa.binary()), pa.scalar(b"\n", pa.binary()))
    lines = pc.binary_join_element_wise(*columns, pa.scalar(b"\t", pa.binary()))
    whole: bytes = pc.binary_join(pa.ListArray.from_arrays([0, len(lines)], lines), b"")[0].as_py()
    return whole


def _on_text(change: Replace) -> Replace:
    """The change of a value, as one of its text in COPY."""

    def changed(text: bytes) -> bytes:
        return text if text == _NULL else _escaped(change(_unescaped(text)))

    return changed


def _unescaped(text: bytes) -> bytes:
    return _ESCAPE.sub(lambda found: _LETTERS.get(found[1], found[1]), text) if b"\\" in text else text


def _escaped(value: bytes) -> bytes:
    return value.decode().translate(_SPECIAL).encode()
