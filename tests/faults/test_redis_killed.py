"""Redis is killed and started again while events flow: the ranking waits, goes on, and counts each like once."""

from __future__ import annotations

from random import Random

import pytest
from support.articles import RANKING, running_articles
from support.fault_system import TIMEOUT_S
from support.waiting import ROUNDS, until

from headrace.event_store.event_store import EventStore


@pytest.mark.timeout(TIMEOUT_S)
async def test_the_ranking_waits_for_a_killed_redis_and_counts_each_like_once(url: str, store: EventStore) -> None:
    draw = Random(3)
    async with running_articles(url) as articles, articles.reacting() as reactor:
        async with articles.being_written():
            for _ in range(ROUNDS * 3):
                await articles.more_seen(draw.randint(1, 60))
                waits = reactor.says("reaction_waits")
                await articles.redis_server.kill()

                async def said(waits: int = waits) -> bool:
                    return reactor.says("reaction_waits") > waits

                await until(said)
                await articles.redis_server.start()
        await articles.caught_up()
        await articles.assert_ranking_holds()
        await articles.assert_index_holds()
        assert not await store.subscriptions.letters(RANKING)
