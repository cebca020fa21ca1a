"""Answer: what a query said, at which watermark. Its JSON is ClickHouse's own bytes, put into our envelope.

No row becomes a Python object here unless `records` is asked for; that is what keeps an endpoint as fast as its SQL.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from headrace.warehouse.watermark import NOTHING, Watermark

_DATA = b'\n\t],\n\n\t"data":\n\t['
_END = b'\n\t],\n\n\t"'
_ROWS = re.compile(rb'"rows": (\d+)')


class Column(msgspec.Struct, frozen=True):
    """A column of an answer: its name, and its type as ClickHouse writes it."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Answer:
    """`data` and `columns` are JSON arrays as ClickHouse wrote them; `rows` counts rows; `elapsed_ms` is its time."""

    query: str
    columns: bytes
    data: bytes
    rows: int
    watermark: Watermark
    elapsed_ms: float

    @classmethod
    def from_json(cls, raw: bytes, *, query: str, watermark: Watermark, elapsed_ms: float) -> Answer:
        """Cut ClickHouse's `FORMAT JSON` into its parts.

        It puts each part on lines of its own with exactly one tab before its bracket, and a newline or tab inside a
        value is always escaped, so these marks cannot occur in data.
        """
        columns_end = raw.index(_DATA)
        data_start = columns_end + len(_DATA)
        # From the end, where it is near: what may follow the rows (totals, extremes) never closes with a bracket.
        data_end = raw.rindex(_END, data_start - 1)
        rows = _ROWS.search(raw, data_end)
        return cls(
            query=query,
            columns=on_one_line(raw[raw.index(b"[") : columns_end] + b"]"),
            data=raw[data_start - 1 : data_end] + b"]",
            rows=int(rows[1]) if rows else 0,
            watermark=watermark,
            elapsed_ms=elapsed_ms,
        )

    def as_json(self, now: datetime | None = None) -> bytes:
        """The whole body of an HTTP answer: data, columns, rows, watermark, age_s, elapsed_ms."""
        age_s = age(self.watermark, now)
        return b'{"data":%s,"columns":%s,"rows":%d,"watermark":"%s","age_s":%s,"elapsed_ms":%.1f}' % (
            self.data,
            self.columns,
            self.rows,
            str(self.watermark.position).encode(),
            b"null" if age_s is None else b"%.3f" % age_s,
            self.elapsed_ms,
        )

    def column_list(self) -> list[Column]:
        """The columns in order."""
        return msgspec.json.decode(self.columns, type=list[Column])

    def records(self) -> list[dict[str, Any]]:
        """The rows as dictionaries, for a page or a terminal. Times are ISO 8601 texts in UTC."""
        rows: list[dict[str, Any]] = msgspec.json.decode(self.data)
        return rows

    def same_rows(self, other: Answer | None) -> bool:
        """Whether both say the same, whatever their watermarks."""
        return other is not None and self.data == other.data and self.columns == other.columns


def age(watermark: Watermark, now: datetime | None = None) -> float | None:
    """Seconds since the read side last declared itself complete up to this watermark; None before its first batch.

    An idle system that is caught up keeps declaring it, so its age stays small: age grows only when the read side
    is behind or stopped.
    """
    if watermark == NOTHING:
        return None
    return max(0.0, ((now or datetime.now(UTC)) - watermark.written_at).total_seconds())


def on_one_line(json: bytes) -> bytes:
    """The same JSON without the newlines and tabs between its parts. Not done to every answer: 9 MB take 20 ms."""
    return json.translate(None, b"\n\t")
