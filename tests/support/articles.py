"""The articles example at work: its reactors as a process, what is written to it, and what its views must then hold."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from redis.asyncio import Redis
from support.fault_system import Process
from support.reacting import caught_up
from support.redis_server import RedisServer
from support.waiting import until

from headrace.commands.dispatch import Dispatcher
from headrace.commands.domain import Domain
from headrace.errors import Rejected
from headrace.event_store.event_store import EventStore
from headrace.runtime.project import load_module

ARTICLES = Path(__file__).parents[2] / "examples" / "articles"
RANKING, SEARCH = "articles-1", "search-1"
WORDS = ["amber", "birch", "cedar", "dune", "ember", "fjord"]
ARTICLES_COUNT = 12
PAUSE_S = 0.01

EXAMPLE: Any = load_module(ARTICLES / "domain.py")
DOMAIN = Domain.from_module(EXAMPLE)


@dataclass
class Expected:
    """The fold of all events, done plainly: an article's title, text and likes, or None when it is withdrawn."""

    articles: dict[str, tuple[str, str, int] | None] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)

    @property
    def shown(self) -> dict[str, tuple[str, str, int]]:
        return {name: article for name, article in self.articles.items() if article is not None}


@dataclass
class Articles:
    """The example in a folder of its own, its event store, and the Redis that it writes to."""

    root: Path
    url: str
    store: EventStore
    dispatcher: Dispatcher
    redis_server: RedisServer
    redis: Any  # redis-py's annotations say `bytes | str` whatever the client was made to give
    draw: Random = field(default_factory=lambda: Random(7))

    @asynccontextmanager
    async def reacting(self) -> AsyncIterator[Process]:
        """`headrace reactor` for as long as the block runs, which may kill it."""
        process = await self.run("-m", "headrace", "reactor", "--project", str(self.root), log="reactor.log")
        try:
            yield process
            await process.stop()
        finally:
            await process.end()

    async def run(self, *arguments: str, log: str) -> Process:
        """Python with the environment that the project's files want."""
        environ = {
            "HEADRACE_POSTGRES__URL": self.url,
            "HEADRACE_CLICKHOUSE__URL": "http://127.0.0.1:1",  # reactors have no use for it
            "REDIS_URL": self.redis_server.url,
        }
        return await Process.start(sys.executable, *arguments, log=self.root / log, environ=environ)

    async def printed(self, *arguments: str) -> str:
        """What one of the project's own files prints."""
        (self.root / "printed").unlink(missing_ok=True)
        process = await self.run(str(self.root / arguments[0]), *arguments[1:], log="printed")
        assert await process.wait() == 0, process.log.read_text()
        return process.log.read_text()

    async def write(self, count: int) -> None:
        """So many commands, drawn at random; some are refused. Few withdraw: that wipes out what was miscounted."""
        for _ in range(count):
            article = f"a{self.draw.randrange(ARTICLES_COUNT)}"
            command = self.draw.choices([self._writing, self._liking, self._withdrawing], [40, 59, 1])[0](article)
            with suppress(Rejected):
                await self.dispatcher.dispatch(command)

    def _writing(self, article: str) -> Any:
        text = " ".join(self.draw.choices(WORDS, k=5))
        return EXAMPLE.WriteArticle(article_id=article, title=f"On {self.draw.choice(WORDS)}", text=text)

    def _liking(self, article: str) -> Any:
        return EXAMPLE.LikeArticle(article_id=article, reader=f"r{self.draw.randrange(1_000_000)}")

    def _withdrawing(self, article: str) -> Any:
        return EXAMPLE.WithdrawArticle(article_id=article)

    @asynccontextmanager
    async def being_written(self) -> AsyncIterator[None]:
        """Events keep coming while the block runs."""
        stopping = asyncio.Event()

        async def write() -> None:
            while not stopping.is_set():
                await self.write(5)
                await asyncio.sleep(PAUSE_S)

        async with asyncio.TaskGroup() as group:
            group.create_task(write())
            try:
                yield
            finally:
                stopping.set()

    async def caught_up(self, ranking: str = RANKING, search: str = SEARCH) -> None:
        """Wait until both views have every event."""
        await caught_up(self.store, ranking, None)
        await caught_up(self.store, search, ["ArticleWritten", "ArticleWithdrawn"])

    async def more_seen(self, count: int) -> None:
        """Wait until the ranking has seen so many more events."""
        goal = sum((await self.versions()).values()) + count

        async def reached() -> bool:
            return sum((await self.versions()).values()) >= goal

        await until(reached)

    async def versions(self, name: str = RANKING) -> dict[str, int]:
        """The last event of each article that the ranking has seen."""
        keys = await self.redis.keys(f"{name}:of:*")
        return {key.rpartition(":")[2]: int(await self.redis.hget(key, "version") or 0) for key in keys}

    async def expected(self) -> Expected:
        """From the event store alone."""
        made = Expected()
        async for _, stored in self.store.read_all():
            event: Any = DOMAIN.events.decode(stored)
            name, before = event.article_id, made.articles.get(event.article_id)
            made.versions[name] = stored.version
            match stored.type:
                case "ArticleWritten":
                    made.articles[name] = (event.title, event.text, before[2] if before else 0)
                case "ArticleLiked":
                    assert before is not None
                    made.articles[name] = (before[0], before[1], before[2] + 1)
                case _:
                    made.articles[name] = None
        return made

    async def assert_ranking_holds(self, name: str = RANKING) -> None:
        """The Redis view equals the fold of all events."""
        expected = await self.expected()
        likes = await self.redis.zrange(f"{name}:likes", 0, -1, withscores=True)
        wanted = {article: count for article, (_, _, count) in expected.shown.items()}
        assert dict(likes) == wanted, f"it holds {likes}, the events say {wanted}"
        titles = {article: await self.redis.hget(f"{name}:of:{article}", "title") for article in expected.articles}
        assert titles == {article: found and found[0] for article, found in expected.articles.items()}, titles
        assert (versions := await self.versions(name)) == expected.versions, versions

    def index_path(self, name: str = SEARCH) -> Path:
        """The index's file."""
        return self.root / ".headrace" / f"{name}.sqlite"

    async def assert_index_holds(self, name: str = SEARCH) -> None:
        """The index equals the fold of all events, and finds each word where it is."""
        shown = (await self.expected()).shown
        with closing(sqlite3.connect(self.index_path(name))) as database:
            database.execute("INSERT INTO texts (texts) VALUES ('integrity-check')")
            joined = "FROM articles JOIN texts ON texts.rowid = id"
            rows = {article: rest for article, *rest in database.execute(f"SELECT article_id, title, text {joined}")}
            assert rows == {article: [title, text] for article, (title, text, _) in shown.items()}
            for word in WORDS:
                found = database.execute(f"SELECT article_id {joined} WHERE texts MATCH ?", [word])
                having = [article for article, (title, text, _) in shown.items() if word in f"{title} {text}".split()]
                assert sorted(article for (article,) in found) == sorted(having)


@asynccontextmanager
async def running_articles(url: str) -> AsyncIterator[Articles]:
    """The example and a Redis; no reactor runs yet. Skips the test when there is no Redis."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headrace-", ignore_cleanup_errors=True)))
        root = folder / "articles"
        shutil.copytree(ARTICLES, root, ignore=shutil.ignore_patterns("__pycache__", ".headrace"))
        redis_server = RedisServer(folder)
        stack.push_async_callback(redis_server.end)
        await redis_server.start()
        redis = await stack.enter_async_context(Redis.from_url(redis_server.url, decode_responses=True))
        store = await stack.enter_async_context(EventStore(url))
        yield Articles(root, url, store, Dispatcher(store=store, domain=DOMAIN), redis_server, redis)
