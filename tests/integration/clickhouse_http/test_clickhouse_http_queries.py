"""Queries over plain HTTP: where the query may stand, formats, parameters, settings, errors, credentials."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pyarrow as pa
import pytest

from headrace.embedded.clickhouse.process import EmbeddedClickHouse

pytestmark = pytest.mark.timeout(60)


async def sql(http: httpx.AsyncClient, query: str, **arguments: str) -> httpx.Response:
    return await http.post("/", content=query, params=arguments)


async def test_health_needs_no_credentials(server: EmbeddedClickHouse) -> None:
    async with httpx.AsyncClient(base_url=server.url) as anonymous:
        for path in ("/ping", "/replicas_status", "/"):
            assert (await anonymous.get(path)).text == "Ok.\n"
        assert (await anonymous.head("/ping")).status_code == 200
        assert (await anonymous.get("/nowhere")).status_code == 404


async def test_query_in_url_body_or_both(http: httpx.AsyncClient) -> None:
    assert (await http.get("/", params={"query": "SELECT 1"})).text == "1\n"
    assert (await sql(http, "SELECT 2")).text == "2\n"
    assert (await http.post("/", params={"query": "SELECT"}, content="3")).text == "3\n"
    assert (await http.head("/", params={"query": "SELECT 1"})).headers["x-clickhouse-format"] == "TabSeparated"


async def test_format_comes_from_statement_then_header_then_argument(http: httpx.AsyncClient) -> None:
    response = await sql(http, "SELECT 1 AS a FORMAT JSONEachRow", default_format="CSV")
    assert response.text == '{"a":1}\n'
    assert response.headers["x-clickhouse-format"] == "JSONEachRow"
    assert response.headers["content-type"] == "application/x-ndjson; charset=UTF-8"
    response = await http.post(
        "/", content="SELECT 'x'", headers={"X-ClickHouse-Format": "CSV"}, params={"default_format": "TSV"}
    )
    assert response.text == '"x"\n'
    assert (await sql(http, "SELECT 'x' AS x", default_format="JSONCompact")).json()["data"] == [["x"]]


async def test_parameters_in_url_and_form(http: httpx.AsyncClient) -> None:
    query = "SELECT {text:String} || '!', {many:Array(UInt8)}"
    response = await sql(http, query, param_text="it's \\\\ ü", param_many="[1,2]")
    assert response.text == "it\\'s \\\\ ü!\t[1,2]\n"
    form = {"query": (None, query), "param_text": (None, "ä\\nb"), "param_many": (None, "[3]")}
    assert (await http.post("/", files=form)).text == "ä\\nb!\t[3]\n"


async def test_settings_hold_for_one_request(http: httpx.AsyncClient) -> None:
    assert (await sql(http, "SELECT getSetting('max_threads')", max_threads="1")).text == "1\n"
    assert (await sql(http, "SELECT getSetting('max_threads')")).text != "1\n"
    response = await sql(http, "SELECT 1", no_such_setting="1")
    assert response.status_code == 404
    assert response.headers["x-clickhouse-exception-code"] == "115"


async def test_database_from_argument_and_header(http: httpx.AsyncClient) -> None:
    assert (await sql(http, "SELECT currentDatabase()", database="system")).text == "system\n"
    response = await http.post("/", content="SELECT currentDatabase()", headers={"X-ClickHouse-Database": "system"})
    assert response.text == "system\n"
    assert (await sql(http, "SELECT currentDatabase()")).text == "default\n"
    assert (await sql(http, "SELECT 1", database="nope")).status_code == 404


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("SELEC 1", 400, 62),
        ("SELECT nope", 404, 47),
        ("SELECT * FROM nope", 404, 60),
        ("SELECT 1; SELECT 2", 400, 62),
        ("", 400, 62),
        ("SELECT throwIf(1)", 500, 395),
        ("SELECT 1 INTO OUTFILE '/tmp/x'", 500, 358),
        ("INSERT INTO nope FROM INFILE '/etc/passwd' FORMAT CSV", 404, 78),
        ("SELECT 1 FORMAT NoSuchFormat", 404, 73),
        ("SELECT number FROM numbers(10) SETTINGS max_rows_to_read = 1", 500, 158),
        ("SELECT sleep(3) SETTINGS max_execution_time = 1", 408, 159),
        ("SELECT groupArray(number) FROM numbers(50000000) SETTINGS max_memory_usage = 10000000", 500, 241),
    ],
)
async def test_errors_have_clickhouses_status_code_and_body(
    http: httpx.AsyncClient, query: str, status: int, code: int
) -> None:
    response = await sql(http, query)
    assert (response.status_code, response.headers["x-clickhouse-exception-code"]) == (status, str(code))
    assert response.text.startswith(f"Code: {code}. DB::Exception: ")
    assert response.text.count("Code:") == 1
    assert "(version " in response.text


async def test_a_failed_querys_rows_never_reach_the_next(http: httpx.AsyncClient) -> None:
    failing = "SELECT throwIf(number = 5000000) FROM numbers(10000000) FORMAT TSV SETTINGS max_block_size = 1000"
    assert "Code: 395" in (await sql(http, failing, wait_end_of_query="1")).text
    for _ in range(5):
        assert (await sql(http, "SELECT 'clean'")).text == "clean\n"


async def test_get_is_read_only(http: httpx.AsyncClient) -> None:
    await sql(http, "CREATE TABLE read_only_t (a Int8) ENGINE = Memory")
    for query in (
        "CREATE TABLE get_made_this (a Int8) ENGINE = Memory",
        "INSERT INTO read_only_t VALUES (1)",
        "INSERT INTO read_only_t SELECT 1",
        "DROP TABLE read_only_t",
    ):
        response = await http.get("/", params={"query": query})
        assert response.headers["x-clickhouse-exception-code"] == "164"
    in_session = await http.get("/", params={"query": "DROP TABLE read_only_t", "session_id": "get_is_read_only"})
    assert in_session.headers["x-clickhouse-exception-code"] == "164"


async def test_credentials_in_headers_basic_or_url(server: EmbeddedClickHouse, password: str) -> None:
    async with httpx.AsyncClient(base_url=server.url) as client:
        basic = httpx.BasicAuth("headrace", password)
        assert (await client.post("/", content="SELECT 1", auth=basic)).text == "1\n"
        url = {"user": "headrace", "password": password}
        assert (await client.post("/", content="SELECT 1", params=url)).text == "1\n"
        for wrong in ({}, {"user": "headrace"}, {"user": "headrace", "password": "wrong"}, {"user": "x"}):
            response = await client.post("/", content="SELECT 1", params=wrong)
            assert response.status_code == 403
            assert response.headers["x-clickhouse-exception-code"] == "516"
            assert "a secret" not in response.text


async def test_summary_counts_what_was_read_and_written(http: httpx.AsyncClient) -> None:
    await sql(http, "CREATE OR REPLACE TABLE counted (a UInt64) ENGINE = MergeTree ORDER BY a")
    written = json.loads((await sql(http, "INSERT INTO counted FORMAT CSV\n1\n2\n3\n")).headers["x-clickhouse-summary"])
    assert written["written_rows"] == "3"
    read = json.loads((await sql(http, "SELECT a FROM counted LIMIT 2")).headers["x-clickhouse-summary"])
    assert (read["read_rows"], read["result_rows"]) == ("3", "2")
    copied = await sql(http, "INSERT INTO counted SELECT number FROM numbers(100)")
    assert json.loads(copied.headers["x-clickhouse-summary"])["written_rows"] == "100"
    assert int(read["elapsed_ns"]) > 0


async def test_headers_name_query_format_and_time_zone(http: httpx.AsyncClient) -> None:
    response = await sql(http, "SELECT 1", query_id="my-query")
    assert response.headers["x-clickhouse-query-id"] == "my-query"
    assert response.headers["x-clickhouse-timezone"]
    assert response.headers["x-clickhouse-server-display-name"]
    assert (await sql(http, "SELECT 1")).headers["x-clickhouse-query-id"] not in ("", "my-query")


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "lz4", "deflate"])
async def test_results_are_compressed_as_accepted(http: httpx.AsyncClient, encoding: str) -> None:
    import gzip
    import zlib

    import lz4.frame
    import zstandard

    decompress = {
        "gzip": gzip.decompress,
        "deflate": zlib.decompress,
        "lz4": lz4.frame.decompress,
        "zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
    }[encoding]
    headers = {"Accept-Encoding": encoding}
    for rows in (3, 500_000):
        query = f"SELECT number FROM numbers({rows})"
        async with http.stream("POST", "/", content=query, headers=headers) as response:
            assert response.headers["content-encoding"] == encoding
            raw = b"".join([piece async for piece in response.aiter_raw()])
        assert decompress(raw) == b"".join(b"%d\n" % number for number in range(rows))
    plain = await http.post("/", content="SELECT 1", headers=headers, params={"enable_http_compression": "0"})
    assert "content-encoding" not in plain.headers


@pytest.mark.parametrize(
    "format_name",
    [
        "TSV", "TSVWithNames", "TSVWithNamesAndTypes", "CSV", "CSVWithNames", "JSONEachRow", "Native",
        "JSONCompactEachRowWithNamesAndTypes", "RowBinaryWithNamesAndTypes", "RowBinaryWithNames", "MsgPack",
    ],
)  # fmt: skip
async def test_streamed_result_equals_whole_result(http: httpx.AsyncClient, format_name: str) -> None:
    columns = 'number AS "a\nb", toString(number) AS s'
    many_blocks = f"SELECT {columns} FROM numbers(3000) SETTINGS max_block_size = 1000"
    one_block = f"SELECT {columns} FROM numbers(3000) SETTINGS max_block_size = 10000"
    streamed = (await sql(http, f"{many_blocks} FORMAT {format_name}")).content
    whole = (await sql(http, f"{one_block} FORMAT {format_name}")).content
    if format_name == "Native":  # its blocks are part of the format: compare what they hold
        assert streamed.count(b"UInt64") == 3
        assert whole.count(b"UInt64") == 1
    else:
        assert streamed == whole


async def test_arrow_stream_of_many_blocks_is_one_stream(http: httpx.AsyncClient) -> None:
    query = "SELECT number, toLowCardinality(toString(number % 3)) AS s FROM numbers(200000)"
    response = await sql(http, f"{query} FORMAT ArrowStream SETTINGS max_block_size = 10000")
    table = pa.ipc.open_stream(response.content).read_all()
    assert table.num_rows == 200_000
    assert table.column("number").to_pylist()[-1] == 199_999
    empty = await sql(http, "SELECT 1 AS a WHERE 0 FORMAT ArrowStream")
    assert pa.ipc.open_stream(empty.content).read_all().num_rows == 0


async def test_totals_and_array_of_rows_are_not_glued(http: httpx.AsyncClient) -> None:
    totals = "SELECT number % 2 AS k, count() FROM numbers(10) GROUP BY k WITH TOTALS ORDER BY k FORMAT TSV"
    assert (await sql(http, totals)).text == "0\t5\n1\t5\n\n0\t10\n"
    rows = await sql(
        http,
        "SELECT number AS a FROM numbers(4) SETTINGS max_block_size = 1",
        default_format="JSONEachRow",
        output_format_json_array_of_rows="1",
    )
    assert rows.json() == [{"a": 0}, {"a": 1}, {"a": 2}, {"a": 3}]


async def test_failure_in_the_middle_of_a_result_breaks_it_off(http: httpx.AsyncClient) -> None:
    query = "SELECT throwIf(number = 4000000), number FROM numbers(5000000)"
    received = bytearray()
    tag = ""

    async def read_all() -> None:
        nonlocal tag
        async with http.stream("POST", "/", content=query) as response:
            tag = response.headers["x-clickhouse-exception-tag"]
            async for piece in response.aiter_raw():
                received.extend(piece)

    with pytest.raises(httpx.RemoteProtocolError):
        await read_all()
    assert f"__exception__\r\n{tag}\r\nCode: 395. DB::Exception: ".encode() in received
    assert received.endswith(f" {tag}\r\n__exception__\r\n".encode())


async def test_wait_end_of_query_answers_a_late_failure_with_a_status(http: httpx.AsyncClient) -> None:
    query = "SELECT throwIf(number = 4000000), number FROM numbers(5000000)"
    response = await sql(http, query, wait_end_of_query="1")
    assert response.status_code == 500
    assert response.headers["x-clickhouse-exception-code"] == "395"


async def test_large_result_passes_through_without_being_held(
    http: httpx.AsyncClient, server: EmbeddedClickHouse
) -> None:
    def resident_bytes() -> int:
        return int(Path(f"/proc/{server.pid}/statm").read_text().split()[1]) * 4096

    before = highest = resident_bytes()
    length = 0
    async with http.stream("POST", "/", content="SELECT number FROM numbers(40000000)") as response:
        async for piece in response.aiter_raw():
            length += len(piece)
            highest = max(highest, resident_bytes())
    assert length > 300_000_000
    assert highest - before < 150_000_000
