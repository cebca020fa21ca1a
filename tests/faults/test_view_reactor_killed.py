"""The process that builds the views is killed again and again while events flow: nothing is lost, nothing doubled."""

from __future__ import annotations

from random import Random

import pytest
from support.articles import running_articles
from support.fault_system import TIMEOUT_S
from support.waiting import ROUNDS

from headrace.event_store.event_store import EventStore


@pytest.mark.timeout(TIMEOUT_S)
async def test_views_lose_and_double_nothing_when_their_process_is_killed(url: str, store: EventStore) -> None:
    draw = Random(5)
    async with running_articles(url) as articles:
        async with articles.being_written():
            for _ in range(ROUNDS * 4):
                async with articles.reacting() as reactor:
                    await articles.more_seen(draw.randint(1, 150))
                    await reactor.kill()
        async with articles.reacting():
            await articles.caught_up()
        await articles.assert_ranking_holds()
        await articles.assert_index_holds()
        assert not await store.subscriptions.letters()
