"""Tokens of personal values, stored beside what they stand for: in PostgreSQL, where the values are anyway."""

from __future__ import annotations

from headrace.capture.personal import Personal
from headrace.capture.server import connect, read_row, read_sql


async def load_key(personal: Personal, url: str) -> None:
    """Give it the key that PostgreSQL keeps. Raises Unavailable."""
    if personal.needs_key:
        async with connect(url) as connection:
            personal.use_key((await read_row(connection, "read_hash_key"))["key"])


async def store_tokens(personal: Personal, url: str) -> None:
    """Store the tokens that are new, before anybody sees them. Raises Unavailable; a repeat stores nothing twice."""
    async with personal.storing:  # who comes second must know that the first one's are stored
        tokens = personal.take_tokens()
        if not tokens:
            return
        try:
            async with connect(url) as connection:
                parameters = {"tokens": list(tokens), "values": list(tokens.values())}
                await connection.execute(read_sql("store_tokens"), parameters)
        except BaseException:
            personal.give_back(tokens)
            raise
