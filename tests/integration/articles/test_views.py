"""The views of the articles example, in a real Redis and a real SQLite: each is the fold of all events."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from support.articles import RANKING, SEARCH, Articles, running_articles
from support.waiting import until

EVENTS = 200
# Going back through old texts would end at the newest one too; but readers would see the old ones meanwhile.
NEVER_BACK = """
CREATE TRIGGER never_back BEFORE UPDATE OF version ON articles WHEN NEW.version <= OLD.version
BEGIN SELECT RAISE(ABORT, 'an old text came back'); END
"""


@pytest.fixture
async def articles(url: str) -> AsyncIterator[Articles]:
    async with running_articles(url) as made:
        yield made


async def test_views_hold_what_all_events_say_and_can_be_asked(articles: Articles) -> None:
    await articles.write(EVENTS)
    async with articles.reacting():
        await articles.caught_up()
        await articles.write(EVENTS)
        await articles.caught_up()
    await articles.assert_ranking_holds()
    await articles.assert_index_holds()
    shown = (await articles.expected()).shown.values()
    (best, *_) = (await articles.printed("ranking.py")).splitlines()
    assert int(best.split()[0]) == max(likes for _, _, likes in shown)
    found = await articles.printed("search.py", "amber", "dune")
    assert len(found.splitlines()) == sum({"amber", "dune"} <= {*f"{title} {text}".split()} for title, text, _ in shown)
    assert await articles.printed("search.py", '"NOT (', "amber") == await articles.printed("search.py") == ""


async def test_handling_every_event_again_changes_nothing(articles: Articles) -> None:
    await articles.write(EVENTS)
    async with articles.reacting():
        await articles.caught_up()
        with closing(sqlite3.connect(articles.index_path())) as database:
            database.execute(NEVER_BACK)
        for name in (RANKING, SEARCH):
            await articles.store.subscriptions.reset(name)
        await articles.caught_up()
    assert not await articles.store.subscriptions.letters()
    await articles.assert_ranking_holds()
    await articles.assert_index_holds()


async def test_emptied_views_are_built_again_from_the_first_event(articles: Articles) -> None:
    await articles.write(EVENTS)
    async with articles.reacting():
        await articles.caught_up()
    await articles.redis.flushdb()
    for end in ("", "-wal", "-shm"):
        Path(f"{articles.index_path()}{end}").unlink(missing_ok=True)
    for name in (RANKING, SEARCH):
        await articles.store.subscriptions.reset(name)
    await articles.write(EVENTS)
    async with articles.reacting():
        await articles.caught_up()
    await articles.assert_ranking_holds()
    await articles.assert_index_holds()


async def test_a_second_view_is_built_beside_the_first(articles: Articles) -> None:
    await articles.write(EVENTS)
    async with articles.reacting():
        await articles.caught_up()
    with (articles.root / "reactors.py").open("a") as reactors:
        reactors.write('articles_2, search_2 = ranking("articles-2"), index("search-2")\n')
    async with articles.reacting():
        await articles.write(EVENTS)
        await articles.caught_up("articles-2", "search-2")
        await articles.caught_up()
    for ranking, search in ((RANKING, SEARCH), ("articles-2", "search-2")):
        await articles.assert_ranking_holds(ranking)
        await articles.assert_index_holds(search)


async def test_a_redis_that_has_lost_events_is_refused_and_built_again(articles: Articles) -> None:
    await articles.write(EVENTS)
    async with articles.reacting():
        await articles.caught_up()
        await articles.redis_server.kill()
        articles.redis_server.forget()
        await articles.redis_server.start()

        async def said() -> bool:
            await articles.write(10)
            return bool(await articles.store.subscriptions.letters(RANKING))

        await until(said)
        first = (await articles.store.subscriptions.letters(RANKING))[0]
        row = f"{RANKING}:of:{first.stream.removeprefix('article-')}"
        assert f"LOST {row} has seen event 0 and now gets {first.version}" in first.reason
        assert await articles.redis.keys() == [], "nothing is counted from the middle"
        await articles.store.subscriptions.reset(RANKING)
        await articles.caught_up()
    await articles.assert_ranking_holds()
    await articles.assert_index_holds()
    assert not await articles.store.subscriptions.letters()
