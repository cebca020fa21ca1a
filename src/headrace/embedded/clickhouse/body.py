"""A request's body, decompressed and in pieces, and the news that the client has gone.

What is not read before the answer is thrown away by uvicorn, and the connection stays usable.

Nothing here may hold a whole body; callers that need one ask for it with a limit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from headrace.embedded.clickhouse.compression import Decoder
from headrace.embedded.clickhouse.exceptions import Code, refused

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class ClientGone(Exception):
    """The client closed its connection; nobody waits for an answer."""


class Body:
    """The body of one request. `ended` is true once everything was received."""

    def __init__(self, receive: Receive, content_encoding: str) -> None:
        self._receive = receive
        self._decoder = Decoder(content_encoding.lower())
        self._pieces: deque[bytes] = deque()
        self._received_all = False

    @property
    def ended(self) -> bool:
        return self._received_all and not self._pieces

    async def read(self) -> bytes:
        """The next piece; empty at the end. Raises `ClientGone` when the rest will never come."""
        while not self._pieces:
            if self._received_all:
                return b""
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            if data := message.get("body", b""):
                self._pieces.extend(piece for piece in self._decoder.pieces(data) if piece)
            if not message.get("more_body", False):
                self._received_all = True
                self._decoder.check_complete()
        return self._pieces.popleft()

    async def read_all(self, bytes_max: int) -> bytes:
        """The rest of the body, refused when it is longer than `bytes_max`."""
        whole = bytearray()
        while piece := await self.read():
            whole += piece
            if len(whole) > bytes_max:
                raise refused(Code.QUERY_IS_TOO_LARGE, f"The query is longer than {bytes_max} bytes")
        return bytes(whole)

    async def gone(self) -> None:
        """Return when the client has gone. Only to be awaited after the whole body was read."""
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                return
