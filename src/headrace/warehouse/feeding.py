"""Bytes for the body of a request, taken from their source by a task of ours.

The driver reads a body in a task of its own, which may still wait for a piece when its request has failed. Nobody else
can close a source then. And what the source fails with would come out as a lost connection to ClickHouse.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager

AHEAD_PIECES_MAX = 1
PIECE_BYTES = 1 << 20


async def in_pieces(data: bytes) -> AsyncGenerator[bytes, None]:
    """A source of what is in memory already."""
    for begin in range(0, len(data), PIECE_BYTES):
        yield data[begin : begin + PIECE_BYTES]


@asynccontextmanager
async def fed(source: AsyncIterable[bytes]) -> AsyncIterator[AsyncIterator[bytes]]:
    """The pieces of `source`, read `AHEAD_PIECES_MAX` ahead; when the block is left, nobody reads it any more.

    When the source fails, the block ends with its error, whatever became of the request.
    """
    pieces: asyncio.Queue[bytes | Exception | None] = asyncio.Queue(AHEAD_PIECES_MAX)
    failures: list[Exception] = []

    async def read() -> None:
        try:
            async for piece in source:
                await pieces.put(piece)
        except Exception as error:
            failures.append(error)
            await pieces.put(error)
        else:
            await pieces.put(None)

    async def taken() -> AsyncGenerator[bytes, None]:
        while (piece := await pieces.get()) is not None:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    reading = asyncio.create_task(read())
    try:
        yield taken()
    except Exception:
        if failures:
            raise failures[0] from None
        raise
    finally:
        reading.cancel()
        await asyncio.wait({reading})
