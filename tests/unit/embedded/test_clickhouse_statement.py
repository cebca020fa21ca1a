"""Where an INSERT's data begins, which format a statement asks for, and what is refused before the engine sees it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.embedded.clickhouse.exceptions import ClickHouseException
from headrace.embedded.clickhouse.statement import (
    Incomplete,
    first_words,
    inline_insert,
    kill_query_condition,
    output_format,
    refuse_input_function,
)


@pytest.mark.parametrize(
    ("text", "table", "columns", "settings", "format_name", "data"),
    [
        (b"INSERT INTO t VALUES (1)", "t", (), "", "Values", b" (1)"),
        (b"insert into t values(1)", "t", (), "", "Values", b"(1)"),
        (b"INSERT INTO db.t (a, `b c`) FORMAT CSV\n1,2\n", "db.t", ("a", "b c"), "", "CSV", b"1,2\n"),
        (b"INSERT INTO TABLE t FORMAT CSV 1,2\n", "t", (), "", "CSV", b"1,2\n"),
        (b"INSERT INTO t FORMAT CSV\n\n1", "t", (), "", "CSV", b"\n1"),
        (b"INSERT INTO t SETTINGS a = 'FORMAT x' FORMAT CSV\n1", "t", (), "SETTINGS a = 'FORMAT x'", "CSV", b"1"),
        (b"INSERT INTO t FORMAT CSV SETTINGS a = 1\n1", "t", (), "SETTINGS a = 1", "CSV", b"1"),
        (b"INSERT INTO `values` /* SELECT */ FORMAT TSV\n1", "`values`", (), "", "TSV", b"1"),
        (b"INSERT INTO db.values -- FORMAT CSV\n FORMAT TSV\n1", "db.values", (), "", "TSV", b"1"),
        (b"INSERT INTO format FORMAT Native\n\xff\x00", "format", (), "", "Native", b"\xff\x00"),
        (b"INSERT INTO t", "t", (), "", "Values", b""),
    ],
)  # fmt: skip
def test_insert_is_split_into_head_and_data(
    text: bytes, table: str, columns: tuple[str, ...], settings: str, format_name: str, data: bytes
) -> None:
    insert = inline_insert(text, complete=True)
    assert insert is not None
    assert (insert.table, insert.columns, insert.settings, insert.format) == (table, columns, settings, format_name)
    assert text[insert.data_start :] == data


@pytest.mark.parametrize(
    "text",
    [
        b"SELECT 1", b"  -- INSERT\nSELECT 1", b"INSERT INTO t SELECT 1", b"INSERT INTO t (a) WITH 1 AS x SELECT x",
        b"INSERT INTO t (SELECT 1)", b"", b"INSERTED", b"EXPLAIN INSERT INTO t VALUES (1)",
    ],
)  # fmt: skip
def test_other_statements_have_no_data(text: bytes) -> None:
    assert inline_insert(text, complete=True) is None


HEAD = b"INSERT INTO `a'b`.t (x, \"y z\") SETTINGS s = 'it''s FORMAT' FORMAT JSONEachRow\n"


@given(st.integers(1, len(HEAD)), st.binary(max_size=50))
def test_a_head_arriving_in_two_pieces_is_understood_once_and_the_same(cut: int, data: bytes) -> None:
    whole = inline_insert(HEAD + data, complete=True)
    assert whole is not None
    assert whole.data_start == len(HEAD)
    try:
        early = inline_insert(HEAD[:cut], complete=False)
    except Incomplete:
        return
    assert early == whole


@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_crash_the_lexer(data: bytes, complete: bool) -> None:
    for text in (data, b"INSERT INTO t " + data):
        try:
            inline_insert(text, complete=complete)
            output_format(text)
        except (Incomplete, ClickHouseException, UnicodeDecodeError):
            pass


def test_insert_reads_its_rows_from_a_path_with_quotes() -> None:
    insert = inline_insert(b"INSERT INTO t (a) -- note\nSETTINGS x = 1 FORMAT CSV\n", complete=True)
    assert insert is not None
    assert insert.from_file("/it's", "none") == (
        "INSERT INTO t (a) -- note\nFROM INFILE '/it\\'s' COMPRESSION 'none' SETTINGS x = 1 FORMAT CSV"
    )
    assert insert.from_select("/p", "lz4") == (
        "INSERT INTO t (a) -- note\nSETTINGS x = 1, use_structure_from_insertion_table_in_table_functions = 1 "
        "SELECT `a` FROM file('/p', 'CSV', 'auto', 'lz4')"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"SELECT 1", None),
        (b"SELECT 1 FORMAT CSV", "CSV"),
        (b"SELECT 1 FORMAT CSV;", "CSV"),
        (b"SELECT 1 format Native SETTINGS max_threads = 1", "Native"),
        (b"SELECT format FROM t", None),
        (b"SELECT format('{}', 1)", None),
        (b"SELECT (SELECT 1 FORMAT CSV)", None),
        (b"SELECT 'FORMAT CSV'", None),
        (b"SHOW TABLES FORMAT JSON -- end", "JSON"),
    ],
)
def test_output_format_is_the_closing_clause(text: bytes, expected: str | None) -> None:
    assert output_format(text) == expected


@pytest.mark.parametrize(
    "text",
    [b"INSERT INTO t FROM INFILE '/etc/passwd' FORMAT CSV", b"INSERT INTO t FORMAT"],
)
def test_inserts_from_server_files_are_refused(text: bytes) -> None:
    with pytest.raises(ClickHouseException):
        inline_insert(text, complete=True)


def test_outfile_and_input_are_refused() -> None:
    with pytest.raises(ClickHouseException, match="INTO OUTFILE"):
        output_format(b"SELECT 1 INTO OUTFILE 'x' FORMAT CSV")
    with pytest.raises(ClickHouseException, match="input"):
        refuse_input_function(b"INSERT INTO t SELECT * FROM input('a Int8') FORMAT CSV\n1")
    refuse_input_function(b"SELECT input (1)")


def test_rows_are_selected_from_input() -> None:
    text = b"INSERT INTO t (a) WITH 1 AS one SELECT input, f(')') FROM input('a Int8') WHERE a > (1) FORMAT CSV\n1\n"
    insert = inline_insert(text, complete=True)
    assert insert is not None
    assert text[insert.data_start :] == b"1\n"
    assert insert.from_input("/p", "none") == (
        "INSERT INTO t (a) WITH 1 AS one SELECT input, f(')') FROM file('/p', 'CSV', 'a Int8', 'none') WHERE a > (1)  "
    )
    for end in range(len(text) - 3):
        with pytest.raises(Incomplete):
            inline_insert(text[:end], complete=False)


def test_settings_of_a_select_from_input_stay() -> None:
    insert = inline_insert(
        b"INSERT INTO t SELECT * FROM input('a Int8') SETTINGS max_threads = 1 FORMAT CSV 1", complete=True
    )
    assert insert is not None
    assert insert.from_input("/p", "none").endswith("'none')  SETTINGS max_threads = 1")


def test_kill_query_condition() -> None:
    assert kill_query_condition(b"KILL QUERY WHERE query_id = 'SYNC' SYNC FORMAT TSV") == (
        " query_id = 'SYNC' ",
        "SYNC",
    )
    assert kill_query_condition(b"kill query where 1") == (" 1", "ASYNC")
    assert kill_query_condition(b"KILL MUTATION WHERE 1") is None
    assert kill_query_condition(b"SELECT 1") is None


def test_first_words() -> None:
    assert first_words(b" /* c */ (select 1)", 1) == (b"SELECT",)
    assert first_words(b"kill query where 1") == (b"KILL", b"QUERY")
    assert first_words(b"") == ()
