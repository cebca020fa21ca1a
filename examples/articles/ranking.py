"""A view in Redis: each article as a hash, and all of them ranked by their likes.

An event is applied only if it is the next one of its article. So one that is handled again changes nothing, and one
whose predecessors Redis has lost is refused, not miscounted. For that the view takes every event of the stream.
"""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable

from redis import ConnectionError, TimeoutError
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from domain import ArticleEvent, ArticleLiked, ArticleWithdrawn, ArticleWritten
from headrace import StoredEvent, Unavailable, reactor

# No retries of the client's own: while Redis is away the reactor waits, for as long as it takes, and says so.
redis = Redis.from_url(
    os.environ.get("REDIS_URL", "redis://127.0.0.1:6379"), decode_responses=True, retry=Retry(NoBackoff(), 0)
)

# Redis carries a script out as one step, in memory and in its append-only file.
apply_next = redis.register_script("""
local seen = tonumber(redis.call('HGET', KEYS[1], 'version') or 0)
local version = tonumber(ARGV[1])
if version > seen + 1 then
  return redis.error_reply('LOST ' .. KEYS[1] .. ' has seen event ' .. seen .. ' and now gets ' .. version)
end
if version == seen + 1 then
  for _, change in ipairs(cjson.decode(ARGV[2])) do redis.call(unpack(change)) end
  redis.call('HSET', KEYS[1], 'version', version)
end
""")


def ranking(name: str) -> Callable[..., Awaitable[None]]:
    """The reactor of this name, which keeps the keys NAME:likes and NAME:of:ARTICLE."""

    @reactor(name)
    async def build(event: ArticleEvent, at: StoredEvent) -> None:
        row, likes, article = f"{name}:of:{event.article_id}", f"{name}:likes", event.article_id
        changes: list[list[str | int]] = []
        match event:
            case ArticleWritten():
                changes = [["HSET", row, "title", event.title], ["ZINCRBY", likes, 0, article]]
            case ArticleLiked():
                changes = [["ZINCRBY", likes, 1, article]]
            case ArticleWithdrawn():  # the version stays: it is what makes repetitions harmless
                changes = [["HDEL", row, "title"], ["ZREM", likes, article]]
        try:
            await apply_next(keys=[row, likes], args=[at.version, json.dumps(changes)])
        except (ConnectionError, TimeoutError) as error:
            raise Unavailable("Redis is away.", str(error)) from error

    return build


async def most_liked(name: str, count: int = 10) -> list[tuple[str, int]]:
    """Titles and likes, most likes first."""
    ranked = await redis.zrange(f"{name}:likes", 0, count - 1, desc=True, withscores=True)
    titles = [await redis.hget(f"{name}:of:{article}", "title") for article, _ in ranked]
    return [(title, int(likes)) for title, (_, likes) in zip(titles, ranked, strict=True) if title is not None]


async def main() -> None:
    for title, likes in await most_liked("articles-1"):
        print(f"{likes:4} {title}")
    await redis.aclose()


if __name__ == "__main__":
    asyncio.run(main())
