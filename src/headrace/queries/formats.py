"""The formats of an answer: what a caller may ask for, and what ClickHouse calls it."""

from __future__ import annotations

from dataclasses import dataclass

from headrace.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Format:
    """`name` for `?format=`, `media_type` for Accept and Content-Type, `clickhouse` for the FORMAT clause."""

    name: str
    media_type: str
    clickhouse: str
    extension: str


JSON = Format("json", "application/json", "JSON", "json")
CSV = Format("csv", "text/csv", "CSVWithNames", "csv")
ARROW = Format("arrow", "application/vnd.apache.arrow.stream", "ArrowStream", "arrows")
PARQUET = Format("parquet", "application/vnd.apache.parquet", "Parquet", "parquet")
FORMATS = (JSON, CSV, ARROW, PARQUET)


def format_named(name: str) -> Format:
    """The format that `?format=` names. Raises InvalidInput with the list."""
    for format_ in FORMATS:
        if format_.name == name.lower():
            return format_
    raise InvalidInput(
        f"There is no format {name[:40]!r}.",
        f"Answers come as {', '.join(format_.name for format_ in FORMATS)}.",
        "Leave out ?format= for JSON.",
    )
