"""A full-text index of the articles: SQLite's FTS5, since it comes with Python, ranks well, and needs no server.

`ArticleWritten` has the whole text, so the newest event of an article is all that counts: an older one, or the same
again, changes nothing.
"""

import asyncio
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import cache
from pathlib import Path

from domain import ArticleWithdrawn, ArticleWritten
from headrace import StoredEvent, reactor

FOLDER = Path(__file__).parent / ".headrace"
SCHEMA = """
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS articles (
  id INTEGER PRIMARY KEY, article_id TEXT UNIQUE NOT NULL, version INTEGER NOT NULL DEFAULT 0
);
CREATE VIRTUAL TABLE IF NOT EXISTS texts USING fts5 (title, text);
"""
ROW = """
INSERT INTO articles (article_id) VALUES (?)
ON CONFLICT (article_id) DO UPDATE SET article_id = article_id RETURNING id, version
"""
FOUND = """
SELECT article_id, title, snippet(texts, 1, '[', ']', '…', 12) FROM texts JOIN articles ON id = texts.rowid
WHERE texts MATCH ? ORDER BY rank LIMIT ?
"""


def index(name: str) -> Callable[..., Awaitable[None]]:
    """The reactor of this name, which keeps the file NAME.sqlite."""
    thread = ThreadPoolExecutor(max_workers=1)  # SQLite blocks, and takes one writer at a time
    database = cache(lambda: connect(name))  # made in that thread

    @reactor(name)
    async def build(event: ArticleWritten | ArticleWithdrawn, at: StoredEvent) -> None:
        await asyncio.get_running_loop().run_in_executor(thread, lambda: put(database(), event, at.version))

    return build


def connect(name: str) -> sqlite3.Connection:
    FOLDER.mkdir(exist_ok=True)
    database = sqlite3.connect(FOLDER / f"{name}.sqlite")
    database.executescript(SCHEMA)
    return database


def put(database: sqlite3.Connection, event: ArticleWritten | ArticleWithdrawn, version: int) -> None:
    """All of it or nothing, on disk when it returns."""
    with database:
        [(row, seen)] = database.execute(ROW, [event.article_id])
        if version <= seen:
            return
        database.execute("DELETE FROM texts WHERE rowid = ?", [row])
        if isinstance(event, ArticleWritten):
            database.execute("INSERT INTO texts (rowid, title, text) VALUES (?, ?, ?)", [row, event.title, event.text])
        database.execute("UPDATE articles SET version = ? WHERE id = ?", [version, row])


def search(name: str, words: str, count: int = 10) -> list[tuple[str, str, str]]:
    """Id, title and the place of the words, best first; articles that have all of them."""
    quoted = " ".join('"' + word.replace('"', '""') + '"' for word in words.split())
    with closing(connect(name)) as database:
        return database.execute(FOUND, [quoted or '""', count]).fetchall()


if __name__ == "__main__":
    for _, title, place in search("search-1", " ".join(sys.argv[1:])):
        print(f"{title}: {place}")
