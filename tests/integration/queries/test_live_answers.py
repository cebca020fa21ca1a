"""GET /queries/<name>/live over a real ClickHouse."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from httpx import AsyncClient

from headrace.warehouse.client import ClickHouse

CompleteUpTo = Callable[[int], Awaitable[None]]

DEADLINE_S = 10.0


@asynccontextmanager
async def feed(http: AsyncClient, path: str, **options: Any) -> AsyncIterator[AsyncIterator[dict[str, str]]]:
    """The events of a stream, each as its fields."""

    async def events(lines: AsyncIterator[str]) -> AsyncIterator[dict[str, str]]:
        event: dict[str, str] = {}
        async for line in lines:
            if line:
                name, _, value = line.partition(": ")
                event[name] = value
            elif event:
                yield event
                event = {}

    async with http.stream("GET", path, **options) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        yield events(response.aiter_lines())


async def following(events: AsyncIterator[dict[str, str]]) -> dict[str, str]:
    async with asyncio.timeout(DEADLINE_S):
        return await anext(events)


async def test_a_feed_answers_now_and_after_each_change(
    http: AsyncClient, clickhouse: ClickHouse, complete_up_to: CompleteUpTo
) -> None:
    await complete_up_to(0x400)
    async with feed(http, "/queries/counter/live") as events:
        first = await following(events)
        assert (first["event"], first["id"]) == ("answer", "0/400")
        before = json.loads(first["data"])["data"][0]["count"]
        await complete_up_to(0x401)  # moves, but changes nothing: not sent
        await clickhouse.execute("INSERT INTO counted VALUES (7)")
        await complete_up_to(0x402)
        second = await following(events)
        assert json.loads(second["data"])["data"][0]["count"] == before + 1


async def test_a_reader_who_comes_back_is_not_sent_what_it_has(
    http: AsyncClient, clickhouse: ClickHouse, complete_up_to: CompleteUpTo
) -> None:
    await complete_up_to(0x500)
    async with feed(http, "/queries/counter/live", headers={"Last-Event-ID": "0/500"}) as events:
        coming = asyncio.create_task(following(events))
        await clickhouse.execute("INSERT INTO counted VALUES (8)")
        await complete_up_to(0x501)
        assert (await coming)["id"] == "0/501"


async def test_a_failing_query_says_so_in_the_feed(http: AsyncClient) -> None:
    async with feed(http, "/queries/missing_table/live") as events:
        event = await following(events)
        assert event["event"] == "failure"
        assert json.loads(event["data"])["error"] == "Unavailable"


async def test_bad_parameters_are_refused_before_the_feed_begins(http: AsyncClient) -> None:
    response = await http.get("/queries/rows/live?count=x")
    assert response.status_code == 400


async def test_feeds_are_bounded_and_a_closed_one_makes_room(http: AsyncClient) -> None:
    path = "/queries/rows/live"
    async with feed(http, path) as one, feed(http, path) as two:
        async with feed(http, path) as three:
            for events in (one, two, three):
                await following(events)
            refused = await http.get(path)
            assert refused.status_code == 503
            assert "at most 3" in refused.json()["detail"]
        async with asyncio.timeout(DEADLINE_S):
            while True:
                async with http.stream("GET", path) as response:
                    if response.status_code == 200:
                        break
                await asyncio.sleep(0.05)
