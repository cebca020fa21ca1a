"""GET /queries/<name> over a real ClickHouse."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from httpx import AsyncClient, RemoteProtocolError

from headrace.warehouse.client import ClickHouse

CompleteUpTo = Callable[[int], Awaitable[None]]


async def test_an_answer_carries_rows_columns_watermark_and_age(http: AsyncClient) -> None:
    response = await http.get("/queries/rows", params={"count": 2})
    assert response.status_code == 200
    body = response.json()
    assert body["data"] == [{"number": 0, "text": "0"}, {"number": 1, "text": "1"}]
    assert body["columns"] == [{"name": "number", "type": "UInt64"}, {"name": "text", "type": "String"}]
    assert body["rows"] == 2
    assert body["watermark"] == response.headers["x-headrace-watermark"]
    assert 0 <= body["age_s"] < 60
    assert float(response.headers["x-headrace-age-seconds"]) >= 0
    assert body["elapsed_ms"] > 0


async def test_every_type_arrives_as_it_was_sent(http: AsyncClient) -> None:
    sent = {
        "i": "-5",
        "f": "1.5",
        "d": "12.30",
        "b": "true",
        "u": "6f9619ff-8b86-d011-b42d-00c04fc964ff",
        "day": "2026-01-31",
        "t": "2026-01-31T12:00:00+02:00",
        "tz": "2026-01-31T12:00:00Z",
        "t64": "1969-12-31T23:59:58.250000Z",
    }
    response = await http.get("/queries/every_type", params=sent)
    assert response.status_code == 200, response.text
    assert response.json()["data"] == [
        {
            "i": -5,
            "f": 1.5,
            "d": 12.3,
            "b": True,
            "u": sent["u"],
            "day": "2026-01-31",
            "t": "2026-01-31T10:00:00Z",
            "tz": "2026-01-31T12:00:00Z",
            "t64": "1969-12-31T23:59:58.250000Z",
            "n": None,
        }
    ]


@pytest.mark.parametrize(
    "text", ["", "it's", 'a"b', "back\\slash", "tab\tnewline\n", "\\N", "{x:Int8}", "'; DROP TABLE counted; --", "ß→🦔"]
)
async def test_any_text_is_a_value_and_never_sql(http: AsyncClient, text: str) -> None:
    response = await http.get("/queries/echo", params={"text": text, "numbers": [1, -2]})
    assert response.json()["data"] == [{"text": text, "numbers": [1, -2]}]


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/queries/rows?count=-1", 400, "whole number from 0"),
        ("/queries/rows?cuont=1", 400, "Did you mean 'count'?"),
        ("/queries/every_type", 400, "'i' is missing"),
        ("/queries/rows?format=xml", 400, "json, csv, arrow, parquet"),
        ("/queries/rows?min_position=soon", 400, "Not a position"),
        ("/queries/row", 404, "Did you mean 'rows'?"),
        ("/queries/row/live", 404, "Did you mean 'rows'?"),
        ("/queries/rows?min_position=0/FFFF", 504, "did not reach 0/FFFF"),
        ("/queries/rows?count=20000", 413, "query.rows_max"),
        ("/queries/rows?count=20000&format=csv", 413, "query.rows_max"),
        ("/queries/endless", 413, "0.3 s of time"),
        ("/queries/greedy", 413, "query.memory_bytes_max"),
        ("/queries/missing_table", 503, "does not exist (yet)"),
        ("/queries/missing_column", 500, "Correct "),
        ("/queries/writes", 500, "refused"),
    ],
)
async def test_what_goes_wrong_says_what_and_what_to_do(http: AsyncClient, path: str, status: int, says: str) -> None:
    response = await http.get(path)
    assert response.status_code == status, response.text
    body = response.json()
    assert set(body) == {"error", "message", "detail", "hint"}
    assert says in f"{body['message']} {body['detail']} {body['hint']}"


async def test_formats_by_name_and_by_accept(http: AsyncClient) -> None:
    csv = await http.get("/queries/rows?format=csv")
    assert csv.headers["content-type"].startswith("text/csv")
    assert csv.text.splitlines()[:2] == ['"number","text"', '0,"0"']
    assert "x-headrace-watermark" in csv.headers
    arrow = await http.get("/queries/rows", headers={"Accept": "application/vnd.apache.arrow.stream"})
    assert pa.ipc.open_stream(arrow.content).read_all().to_pydict()["text"] == ["0", "1", "2", "3", "4"]
    parquet = await http.get("/queries/rows?format=parquet")
    assert pq.read_table(io.BytesIO(parquet.content)).num_rows == 5
    browser = await http.get("/queries/rows", headers={"Accept": "text/html,*/*;q=0.8"})
    assert browser.headers["content-type"].startswith("application/json")
    refused = await http.get("/queries/rows", headers={"Accept": "image/png"})
    assert refused.status_code == 406
    assert refused.json()["error"] == "NotAcceptable"


async def test_an_answer_that_breaks_off_is_never_taken_for_whole(http: AsyncClient) -> None:
    """A failure after the first bytes cannot change the status any more; the connection must break instead."""
    received: list[bytes] = []

    async def read() -> None:
        async with http.stream("GET", "/queries/breaks_midway?format=csv") as response:
            assert response.status_code == 200
            async for chunk in response.aiter_bytes():
                received.append(chunk)

    with pytest.raises(RemoteProtocolError):
        await read()
    assert received


async def test_min_position_waits_for_the_watermark(http: AsyncClient, complete_up_to: CompleteUpTo) -> None:
    await complete_up_to(0x200)
    for request in ({"params": {"min_position": "0/200"}}, {"headers": {"X-Headrace-Min-Position": "0/200"}}):
        answers: dict[str, Any] = request
        response = await http.get("/queries/rows", **answers)
        assert response.status_code == 200
        assert response.json()["watermark"] == "0/200"


async def test_a_cached_answer_is_served_until_a_later_position_is_asked_for(
    http: AsyncClient, clickhouse: ClickHouse, complete_up_to: CompleteUpTo
) -> None:
    first = (await http.get("/queries/cached")).json()
    await clickhouse.execute("INSERT INTO counted VALUES (1)")
    await complete_up_to(0x300)
    second = (await http.get("/queries/cached")).json()
    assert (second["data"], second["watermark"]) == (first["data"], first["watermark"])
    third = (await http.get("/queries/cached?min_position=0/300")).json()
    assert third["data"][0]["count"] == first["data"][0]["count"] + 1


async def test_the_list_and_openapi_name_every_query_with_its_types(http: AsyncClient) -> None:
    listed = (await http.get("/queries")).json()["queries"]
    assert {"name": "count", "type": "UInt32", "required": False, "default": "5", "description": ""} in next(
        query["parameters"] for query in listed if query["name"] == "rows"
    )
    paths = (await http.get("/schema/openapi.json")).json()["paths"]
    parameters = {p["name"]: p for p in paths["/queries/every_type"]["get"]["parameters"]}
    assert parameters["i"]["schema"] == {"type": "integer", "format": "int32", "minimum": -128, "maximum": 127}
    assert parameters["i"]["required"]
    assert parameters["b"]["schema"] == {"type": "boolean"}
    assert not parameters["n"]["required"]
    assert "text/event-stream" in paths["/queries/rows/live"]["get"]["responses"]["200"]["content"]
