"""Sessions, query ids, limits on concurrency, and what happens to a query whose client has gone."""

from __future__ import annotations

import asyncio
import socket
from functools import partial

import httpx
import pytest
from support import waiting

from headrace.embedded.clickhouse.process import EmbeddedClickHouse

pytestmark = pytest.mark.timeout(60)

ENDLESS = "SELECT sum(sipHash64(number)) FROM numbers(100000000000)"
CLIENT_ID = "Settings['function_implementation']"
until = partial(waiting.until, deadline_s=20)


async def sql(http: httpx.AsyncClient, query: str, **arguments: str) -> httpx.Response:
    return await http.post("/", content=query, params=arguments)


async def running(http: httpx.AsyncClient, query_id: str) -> bool:
    found = await sql(http, f"SELECT count() FROM system.processes WHERE {CLIENT_ID} = '{query_id}'")
    return found.text == "1\n"


async def test_session_keeps_temporary_tables_and_set(http: httpx.AsyncClient) -> None:
    await sql(http, "CREATE TEMPORARY TABLE mine (a Int8)", session_id="keeps")
    await sql(http, "INSERT INTO mine FORMAT CSV\n1\n2\n", session_id="keeps")
    await sql(http, "SET max_threads = 1", session_id="keeps")
    await sql(http, "USE system", session_id="keeps")
    assert (await sql(http, "SELECT count() FROM mine", session_id="keeps")).text == "2\n"
    state = "SELECT getSetting('max_threads'), currentDatabase()"
    assert (await sql(http, state, session_id="keeps")).text == "1\tsystem\n"
    assert (await sql(http, "SELECT count() FROM mine", session_id="other")).status_code == 404
    assert (await sql(http, "SELECT count() FROM mine")).status_code == 404
    assert (await sql(http, state)).text != "1\tsystem\n"


async def test_arguments_of_a_request_do_not_stay_in_its_session(http: httpx.AsyncClient) -> None:
    state = "SELECT getSetting('max_threads'), getSetting('max_block_size'), currentDatabase()"
    await sql(http, "SET max_threads = 3", session_id="stays")
    inside = await sql(http, state, session_id="stays", max_threads="1", max_block_size="7", database="system")
    assert inside.text == "1\t7\tsystem\n"
    outside = (await sql(http, state, session_id="stays")).text
    assert outside.startswith("3\t")
    assert outside.endswith("\tdefault\n")
    assert "\t7\t" not in outside


async def test_session_survives_a_failed_query_without_its_rows(http: httpx.AsyncClient) -> None:
    await sql(http, "CREATE TEMPORARY TABLE kept (a Int8)", session_id="fails")
    failing = "SELECT throwIf(number = 5000000) FROM numbers(10000000) SETTINGS max_block_size = 1000"
    assert "Code: 395" in (await sql(http, failing, session_id="fails", wait_end_of_query="1", max_threads="1")).text
    assert (await sql(http, "SELECT count() FROM kept", session_id="fails")).text == "0\n"
    assert (await sql(http, "SELECT getSetting('max_threads') != 1", session_id="fails")).text == "1\n"


async def test_session_runs_one_query_at_a_time(http: httpx.AsyncClient) -> None:
    long = asyncio.ensure_future(sql(http, ENDLESS, session_id="locked", query_id="locks_the_session"))
    await until(lambda: running(http, "locks_the_session"))
    refused = await sql(http, "SELECT 1", session_id="locked")
    assert refused.headers["x-clickhouse-exception-code"] == "373"
    await sql(http, "KILL QUERY WHERE query_id = 'locks_the_session' SYNC")
    assert (await long).headers["x-clickhouse-exception-code"] == "394"
    assert (await sql(http, "SELECT 1", session_id="locked")).text == "1\n"


async def test_session_expires_and_can_be_required_or_closed(http: httpx.AsyncClient) -> None:
    missing = await sql(http, "SELECT 1", session_id="never_made", session_check="1")
    assert missing.headers["x-clickhouse-exception-code"] == "372"
    await sql(http, "CREATE TEMPORARY TABLE short (a Int8)", session_id="short", session_timeout="0")

    async def expired() -> bool:
        check = await sql(http, "SELECT 1", session_id="short", session_check="1", session_timeout="0")
        return str(check.headers.get("x-clickhouse-exception-code")) == "372"

    await until(expired)
    await sql(http, "SELECT 1", session_id="closed", close_session="1")
    closed = await sql(http, "SELECT 1", session_id="closed", session_check="1")
    assert closed.headers["x-clickhouse-exception-code"] == "372"
    wrong = await sql(http, "SELECT 1", session_id="x", session_timeout="a week")
    assert wrong.headers["x-clickhouse-exception-code"] == "374"


async def test_query_ids_are_unique_while_running_and_kill_works_across_connections(http: httpx.AsyncClient) -> None:
    long = asyncio.ensure_future(sql(http, ENDLESS, query_id="long_one"))
    await until(lambda: running(http, "long_one"))
    same = await sql(http, "SELECT 1", query_id="long_one")
    assert same.headers["x-clickhouse-exception-code"] == "216"
    killed = await sql(http, "KILL QUERY WHERE query_id = 'long_one' SYNC FORMAT JSONEachRow")
    assert killed.json()["query_id"] == "long_one"
    assert killed.json()["query"] == ENDLESS
    assert (await long).headers["x-clickhouse-exception-code"] == "394"
    assert (await sql(http, "KILL QUERY WHERE query_id = 'long_one' SYNC")).text == ""


async def test_client_that_goes_away_cancels_its_query(http: httpx.AsyncClient) -> None:
    long = asyncio.ensure_future(sql(http, ENDLESS, query_id="abandoned"))
    await until(lambda: running(http, "abandoned"))
    long.cancel()

    async def ended() -> bool:
        return not await running(http, "abandoned")

    await until(ended)


async def test_client_that_goes_away_in_a_result_cancels_its_query(http: httpx.AsyncClient) -> None:
    query = "SELECT number FROM numbers(100000000000)"
    async with http.stream("POST", "/", content=query, params={"query_id": "half_read"}) as response:
        pieces = response.aiter_raw()  # kept: the end of it closes the response
        await anext(pieces)
        assert await running(http, "half_read")

    async def ended() -> bool:
        return not await running(http, "half_read")

    await until(ended)


async def test_cut_off_insert_stores_nothing(
    http: httpx.AsyncClient, server: EmbeddedClickHouse, password: str
) -> None:
    await sql(http, "CREATE OR REPLACE TABLE cut_off (a UInt64) ENGINE = MergeTree ORDER BY a")
    _, writer = await asyncio.open_connection(*server.url.removeprefix("http://").split(":"))
    query = "INSERT%20INTO%20cut_off%20FORMAT%20CSV&query_id=cut_off&user=headrace"
    quoted = str(httpx.QueryParams({"password": password}))
    head = f"POST /?query={query}&{quoted} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n"
    writer.write(head.encode() + b"1\n" * 200_000)
    await writer.drain()
    await until(lambda: running(http, "cut_off"))
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.close()

    async def ended() -> bool:
        return not await running(http, "cut_off")

    await until(ended)
    assert (await sql(http, "SELECT count() FROM cut_off")).text == "0\n"


async def test_queries_run_side_by_side_and_wait_beyond_the_limit(http: httpx.AsyncClient) -> None:
    naps = [asyncio.ensure_future(sql(http, "SELECT sleep(0.5)")) for _ in range(4)]
    started = asyncio.get_running_loop().time()
    assert all(response.text == "0\n" for response in await asyncio.gather(*naps))
    assert asyncio.get_running_loop().time() - started < 1.5
    answers = await asyncio.gather(*(sql(http, f"SELECT {number}") for number in range(30)))
    assert [answer.text for answer in answers] == [f"{number}\n" for number in range(30)]


async def test_too_many_queries_are_refused_at_once(http: httpx.AsyncClient) -> None:
    limits = httpx.Limits(max_connections=100)
    async with httpx.AsyncClient(base_url=http.base_url, headers=http.headers, limits=limits, timeout=30) as many:
        naps = [asyncio.ensure_future(sql(many, ENDLESS, query_id=f"crowd-{number}")) for number in range(4 * 9 + 1)]
        done, _ = await asyncio.wait(naps, return_when=asyncio.FIRST_COMPLETED)
        assert {one.result().headers["x-clickhouse-exception-code"] for one in done} == {"202"}
        for nap in naps:
            nap.cancel()
        await asyncio.gather(*naps, return_exceptions=True)

    async def idle() -> bool:
        return (await sql(http, f"SELECT countIf({CLIENT_ID} LIKE 'crowd%') FROM system.processes")).text == "0\n"

    await until(idle)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Host": "evil.example:8123"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
async def test_no_web_page_may_send_sql(http: httpx.AsyncClient, headers: dict[str, str]) -> None:
    """A page can post to 127.0.0.1 without being asked; SQL reads files and opens connections."""
    refused = await http.post("/", content="SELECT 1", headers=headers)
    assert refused.status_code == 403
    assert "refused" in refused.text
