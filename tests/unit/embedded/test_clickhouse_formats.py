"""Content types, and chunks of a result glued into one document."""

from __future__ import annotations

import pytest

from headrace.embedded.clickhouse.formats import Glue, can_be_glued, content_type


@pytest.mark.parametrize(
    ("format_name", "chunks", "document"),
    [
        ("TSV", [b"1\n", b"2\n"], b"1\n2\n"),
        ("TSVWithNamesAndTypes", [b"a\nUInt8\n1\n", b"a\nUInt8\n2\n"], b"a\nUInt8\n1\n2\n"),
        ("CSVWithNames", [b'"a\n""b"\n1\n', b'"a\n""b"\n2\n'], b'"a\n""b"\n1\n2\n'),
        (
            "RowBinaryWithNamesAndTypes",
            [b"\x01\x01a\x05UInt8\x01", b"\x01\x01a\x05UInt8\x02"],
            b"\x01\x01a\x05UInt8\x01\x02",
        ),
        ("JSONCompactEachRowWithNames", [b'["a"]\n[1]\n', b'["a"]\n[2]\n'], b'["a"]\n[1]\n[2]\n'),
    ],
)
def test_chunks_become_one_document(format_name: str, chunks: list[bytes], document: bytes) -> None:
    glue = Glue(format_name)
    assert b"".join([*map(glue.piece, chunks), glue.end()]) == document


def test_arrow_streams_become_one_stream() -> None:
    end = b"\xff\xff\xff\xff\0\0\0\0"
    schema = b"\xff\xff\xff\xff\x08\0\0\0SCHEMA__"
    glue = Glue("ArrowStream")
    pieces = [glue.piece(schema + b"batch 1 " + end), glue.piece(schema + b"batch 2 " + end), glue.end()]
    assert b"".join(pieces) == schema + b"batch 1 batch 2 " + end
    assert Glue("ArrowStream").end() == b""


def test_what_cannot_be_glued_is_materialised() -> None:
    assert can_be_glued("TSV", b"SELECT 1")
    for format_name in ("JSON", "Parquet", "Arrow", "Pretty", "Values", "XML", "NoSuchFormat"):
        assert not can_be_glued(format_name, b"SELECT 1")
    assert not can_be_glued("TSV", b"SELECT count() GROUP BY a with totals")
    assert not can_be_glued("JSONEachRow", b"SELECT 1 output_format_json_array_of_rows")


def test_content_types() -> None:
    assert content_type("TabSeparatedWithNames").startswith("text/tab-separated-values")
    assert content_type("JSONCompact") == "application/json; charset=UTF-8"
    assert content_type("JSONCompactEachRow") == "application/x-ndjson; charset=UTF-8"
    assert content_type("CSVWithNames") == "text/csv; charset=UTF-8; header=present"
    assert content_type("Native") == "application/octet-stream"
    assert content_type("Pretty") == "text/plain; charset=UTF-8"
