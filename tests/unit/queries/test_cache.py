from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from headrace.errors import Unavailable
from headrace.events.position import Position
from headrace.queries.answer import Answer
from headrace.queries.cache import ANSWER_BYTES_MAX, ENTRIES_MAX, AnswerCache
from headrace.warehouse.watermark import Watermark

LONG_AGO = datetime(2026, 3, 1, tzinfo=UTC)


class Source:
    """Answers with the number of times it was asked, at a position of the same number."""

    def __init__(self, size: int = 2) -> None:
        self.asked = 0
        self.size = size
        self.released = asyncio.Event()
        self.released.set()

    async def __call__(self) -> Answer:
        self.asked += 1
        number = self.asked
        await self.released.wait()
        return Answer("q", b"[]", b"x" * self.size, 0, Watermark(1, Position(number), LONG_AGO, LONG_AGO), 1.0)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_a_young_answer_is_shared_and_an_old_one_is_not() -> None:
    clock, source = Clock(), Source()
    cache = AnswerCache(clock)
    await cache.get("k", source, age_max_s=5)
    clock.now += 4.9
    await cache.get("k", source, age_max_s=5)
    assert source.asked == 1
    clock.now += 0.2
    await cache.get("k", source, age_max_s=5)
    assert source.asked == 2


async def test_a_reader_who_needs_a_later_position_is_not_given_an_earlier_answer() -> None:
    cache, source = AnswerCache(Clock()), Source()
    await cache.get("k", source, age_max_s=5)
    answer = await cache.get("k", source, age_max_s=5, at_least=Position(2))
    assert answer.watermark.position == Position(2)


async def test_concurrent_readers_join_one_query_and_one_leaving_does_not_stop_it() -> None:
    cache, source = AnswerCache(Clock()), Source()
    source.released.clear()
    first, second = (asyncio.create_task(cache.get("k", source, age_max_s=5)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    source.released.set()
    assert (await second).watermark.position == Position(1)
    assert source.asked == 1


async def test_a_failure_is_given_to_those_who_wait_and_then_forgotten() -> None:
    cache, source = AnswerCache(Clock()), Source()

    async def fail() -> Answer:
        raise Unavailable("down")

    with pytest.raises(Unavailable):
        await cache.get("k", fail, age_max_s=5)
    assert await cache.get("k", source, age_max_s=5)


async def test_large_answers_and_more_than_the_limit_are_not_kept() -> None:
    cache, large, small = AnswerCache(Clock()), Source(ANSWER_BYTES_MAX + 1), Source()
    await cache.get("large", large, age_max_s=5)
    await cache.get("large", large, age_max_s=5)
    assert large.asked == 2
    for number in range(ENTRIES_MAX + 1):
        await cache.get(number, small, age_max_s=5)
    await cache.get(0, small, age_max_s=5)
    assert small.asked == ENTRIES_MAX + 2
