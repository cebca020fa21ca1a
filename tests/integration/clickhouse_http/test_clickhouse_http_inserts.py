"""Inserts: every way the rows may arrive, streamed, compressed, deduplicated, and refused without a trace."""

from __future__ import annotations

import gzip
import json
import time
import zlib
from collections.abc import AsyncIterator

import httpx
import lz4.frame
import pyarrow as pa
import pytest
import zstandard

pytestmark = pytest.mark.timeout(60)


async def sql(http: httpx.AsyncClient, query: str | bytes, **arguments: str) -> httpx.Response:
    return await http.post("/", content=query, params=arguments)


async def done(http: httpx.AsyncClient, query: str | bytes, **arguments: str) -> str:
    response = await sql(http, query, **arguments)
    assert response.status_code == 200, response.text
    return response.text


def arrow_stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


@pytest.fixture
async def table(http: httpx.AsyncClient) -> str:
    await done(http, "CREATE OR REPLACE TABLE rows (a UInt64, s String) ENGINE = MergeTree ORDER BY a")
    return "rows"


@pytest.mark.parametrize(
    ("url", "body"),
    [
        ("", "INSERT INTO rows VALUES (1, 'x'), (2, upper('y;'))"),
        ("", "INSERT INTO rows (s, a) VALUES ('x', 1) , ('Y;', 1 + 1);"),
        ("INSERT INTO rows VALUES", "(1,'x'),(2,'Y;')"),
        ("INSERT INTO rows FORMAT CSV", '1,"x"\n2,"Y;"\n'),
        ("INSERT INTO rows SETTINGS max_threads = 1 FORMAT CSV", '1,"x"\n2,"Y;"\n'),
        ("", 'INSERT INTO rows FORMAT CSV\n1,"x"\n2,"Y;"\n'),
        ("", 'INSERT INTO rows\n  -- a comment\nFORMAT JSONEachRow {"a":1,"s":"x"}\n{"a":2,"s":"Y;"}\n'),
        ("INSERT INTO rows FORMAT", "TSV\n1\tx\n2\tY;\n"),
        ("INSERT INTO", "`rows` (a, s) FORMAT TSVWithNames\na\ts\n1\tx\n2\tY;\n"),
        ("", "INSERT INTO rows SELECT number + 1, ['x', 'Y;'][number + 1] FROM numbers(2)"),
    ],
)
async def test_rows_may_stand_in_url_and_body(http: httpx.AsyncClient, table: str, url: str, body: str) -> None:
    response = await http.post("/", params={"query": url} if url else {}, content=body)
    assert response.status_code == 200, response.text
    assert await done(http, "SELECT * FROM rows ORDER BY a") == "1\tx\n2\tY;\n"


async def test_binary_rows_may_hold_any_byte(http: httpx.AsyncClient, table: str) -> None:
    eight_bytes = b"\n\n;'\\\0\xff`"
    number = int.from_bytes(eight_bytes, "little")
    await done(http, b"INSERT INTO rows FORMAT RowBinary\n" + eight_bytes + b"\x04\n\n;'")
    assert await done(http, "SELECT hex(s), a FROM rows") == f"0A0A3B27\t{number}\n"
    numbers = pa.table({"a": pa.array(range(100_000), pa.uint64()), "s": pa.array(["\n\n;"] * 100_000)})
    await done(http, b"INSERT INTO rows FORMAT ArrowStream\n" + arrow_stream(numbers))
    assert await done(http, "SELECT count(), countIf(s = '\\n\\n;') FROM rows") == "100001\t100000\n"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd", "lz4"])
@pytest.mark.parametrize("rows", [10, 300_000])
async def test_bodies_may_be_compressed(http: httpx.AsyncClient, table: str, encoding: str, rows: int) -> None:
    compress = {
        "gzip": gzip.compress,
        "deflate": zlib.compress,
        "lz4": lz4.frame.compress,
        "zstd": zstandard.ZstdCompressor().compress,
    }[encoding]
    body = b"INSERT INTO rows FORMAT CSV\n" + b"".join(b"%d,x\n" % number for number in range(rows))
    headers = {"Content-Encoding": encoding}
    response = await http.post("/", content=compress(body), headers=headers)
    assert response.status_code == 200, response.text
    assert await done(http, "SELECT count(), sum(a) FROM rows") == f"{rows}\t{rows * (rows - 1) // 2}\n"
    cut = await http.post("/", content=compress(body)[:-12], headers=headers)
    assert cut.status_code != 200
    assert await done(http, "SELECT count() FROM rows") == f"{rows}\n"


async def test_arrow_columns_that_the_table_lacks_are_passed_over(http: httpx.AsyncClient, table: str) -> None:
    # The engine passes over such a column, and over padding, with a seek. Through a bare pipe that failed
    # with "Cannot seek through file" (code 87): always for a long column, once in hundreds of inserts for padding.
    rows = 20_000
    lacking = pa.array([f"{number:0100}" for number in range(rows)])
    strings = pa.array([str(number) for number in range(rows)])
    wide = pa.table({"s": strings, "lacking": lacking, "a": pa.array(range(rows), pa.uint64())})
    await done(http, b"INSERT INTO rows FORMAT ArrowStream\n" + arrow_stream(wide))
    assert await done(http, "SELECT count(), sum(a), countIf(s = toString(a)) FROM rows") == "20000\t199990000\t20000\n"


async def test_streamed_body_of_unknown_length(http: httpx.AsyncClient, table: str) -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield b"1,x\n" * 10_000

    response = await http.post("/", params={"query": "INSERT INTO rows FORMAT CSV"}, content=body())
    assert response.status_code == 200, response.text
    assert await done(http, "SELECT count() FROM rows") == "2000000\n"


@pytest.mark.parametrize("rows", [2, 200_000])
async def test_failing_insert_stores_nothing_and_says_so(http: httpx.AsyncClient, rows: int) -> None:
    """chDB's own `send_insert` reports success for all of these; see docs/decisions/0001-embedded-clickhouse.md."""
    await done(
        http, "CREATE OR REPLACE TABLE strict (a UInt64, CONSTRAINT c CHECK a < 10) ENGINE = MergeTree ORDER BY a"
    )
    await done(http, "CREATE OR REPLACE TABLE seen (a UInt64) ENGINE = MergeTree ORDER BY a")
    await done(http, "DROP VIEW IF EXISTS throwing")
    await done(http, "CREATE OR REPLACE TABLE source (a UInt64) ENGINE = MergeTree ORDER BY a")
    await done(http, "CREATE MATERIALIZED VIEW throwing TO seen AS SELECT throwIf(a = 20) + a AS a FROM source")
    await done(http, "CREATE OR REPLACE TABLE parted (a UInt64) ENGINE = MergeTree PARTITION BY a ORDER BY a")
    good = "1\n" * rows
    many = "".join(f"{number % 1000}\n" for number in range(max(rows, 300)))
    for name, body, code in (
        ("strict", good + "20\n", "469"),
        ("strict", good + "x\n", "117"),
        ("source", good + "20\n", "395"),
        ("parted", many, "252"),
        ("no_such_table", good, "60"),
    ):
        response = await sql(http, f"INSERT INTO {name} FORMAT CSV\n{body}")
        assert response.headers.get("x-clickhouse-exception-code") == code, (name, response.text)
    assert await done(http, "SELECT count() FROM strict") == "0\n"
    assert await done(http, "SELECT count() FROM parted") == "0\n"


async def test_insert_over_its_time_limit_fails(http: httpx.AsyncClient, table: str) -> None:
    async def slow() -> AsyncIterator[bytes]:
        ends_at = time.monotonic() + 1.5
        while time.monotonic() < ends_at:
            yield b"1,x\n" * 50_000

    response = await http.post(
        "/", params={"query": "INSERT INTO rows FORMAT CSV", "max_execution_time": "1"}, content=slow()
    )
    assert response.headers.get("x-clickhouse-exception-code") == "159"


async def test_token_makes_a_repeated_insert_a_no_op(http: httpx.AsyncClient) -> None:
    window = "SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1"
    for name in ("token_source", "token_target"):
        await done(http, f"CREATE OR REPLACE TABLE {name} (a UInt64) ENGINE = MergeTree ORDER BY a {window}")
    body = arrow_stream(pa.table({"a": pa.array(range(1000), pa.uint64())}))
    for token in ("one", "one", "two"):
        query = f"INSERT INTO token_source SETTINGS insert_deduplication_token = '{token}' FORMAT ArrowStream"
        assert (await http.post("/", params={"query": query}, content=body)).status_code == 200
    assert await done(http, "SELECT count() FROM token_source") == "2000\n"
    for token in ("one", "one", "two"):
        select = "SELECT a FROM token_source WHERE a < 10"
        await done(http, f"INSERT INTO token_target SETTINGS insert_deduplication_token = '{token}' {select}")
    assert await done(http, "SELECT count() FROM token_target") == "40\n"


@pytest.mark.parametrize("rows", [1, 100_000])
async def test_materialized_columns_may_be_given(http: httpx.AsyncClient, rows: int) -> None:
    columns = "a UInt64, m UInt64 MATERIALIZED a + 1, d UInt64 DEFAULT a + 2"
    window = "SETTINGS non_replicated_deduplication_window = 100"
    await done(http, f"CREATE OR REPLACE TABLE computed ({columns}) ENGINE = MergeTree ORDER BY a {window}")
    given = arrow_stream(pa.table({"m": pa.array([9] * rows, pa.int16()), "a": pa.array(range(rows), pa.uint64())}))
    for token in ("x", "x", "y"):
        settings = f"SETTINGS insert_allow_materialized_columns = 1, insert_deduplication_token = '{token}'"
        query = f"INSERT INTO computed (a, m) {settings} FORMAT ArrowStream"
        response = await http.post("/", params={"query": query}, content=given)
        assert response.status_code == 200, response.text
    assert await done(http, "SELECT count(), sum(m), max(d - a) FROM computed") == f"{2 * rows}\t{2 * rows * 9}\t2\n"
    by_place = await sql(http, "INSERT INTO computed (m, a) FORMAT CSV\n5,1\n", insert_allow_materialized_columns="1")
    assert by_place.status_code == 200, by_place.text
    assert await done(http, "SELECT a FROM computed WHERE m = 5") == "1\n"
    unlisted = await sql(http, "INSERT INTO computed FORMAT CSV\n5,1\n", insert_allow_materialized_columns="1")
    assert unlisted.headers["x-clickhouse-exception-code"] == "48"
    unknown = await sql(http, "INSERT INTO computed (a, z) FORMAT CSV\n5,1\n", insert_allow_materialized_columns="1")
    assert unknown.headers["x-clickhouse-exception-code"] in ("16", "47")
    cut_short = await http.post("/", params={"query": query.replace("'y'", "'z'")}, content=given[:-100])
    assert cut_short.status_code != 200


async def test_exchange_tables(http: httpx.AsyncClient) -> None:
    await done(http, "CREATE OR REPLACE TABLE left_one ENGINE = MergeTree ORDER BY tuple() AS SELECT 1 AS a")
    await done(http, "CREATE OR REPLACE TABLE right_one ENGINE = MergeTree ORDER BY tuple() AS SELECT 2 AS a")
    await done(http, "EXCHANGE TABLES left_one AND right_one")
    assert await done(http, "SELECT a FROM left_one") == "2\n"
    assert (await sql(http, "DROP TABLE left_one SYNC")).status_code == 200


async def test_rows_are_computed_from_input(http: httpx.AsyncClient, table: str) -> None:
    query = "INSERT INTO rows SELECT x, 'from input' FROM input('x UInt64') WHERE x > 1 FORMAT CSV\n1\n2\n3\n"
    answer = await sql(http, query)
    assert json.loads(answer.headers["x-clickhouse-summary"])["written_rows"] == "2"
    assert (await sql(http, "SELECT * FROM rows ORDER BY 1")).text == "2\tfrom input\n3\tfrom input\n"


async def test_rows_for_input_without_a_format_are_refused_not_dropped(http: httpx.AsyncClient, table: str) -> None:
    query = "INSERT INTO rows SELECT x, 'from input' FROM input('x UInt64')"
    assert (await sql(http, query)).headers["x-clickhouse-exception-code"] == "48"
