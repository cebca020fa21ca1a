"""Status lines, headers and bodies of ClickHouse's HTTP interface."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from headrace.embedded.clickhouse.engine import Progress
from headrace.embedded.clickhouse.exceptions import ClickHouseException

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Headers = dict[str, str]

KEEP_ALIVE_S: Final = 30


def summary(progress: Progress, elapsed_ns: int) -> str:
    """The value of X-ClickHouse-Summary: every figure is a string, as in ClickHouse."""
    figures = {
        "read_rows": progress.read_rows,
        "read_bytes": progress.read_bytes,
        "written_rows": progress.written_rows,
        "written_bytes": progress.written_bytes,
        "total_rows_to_read": "0",
        "result_rows": progress.result_rows or progress.written_rows,
        "result_bytes": progress.result_bytes or progress.written_bytes,
        "elapsed_ns": elapsed_ns,
    }
    return json.dumps({name: str(value) for name, value in figures.items()}, separators=(",", ":"))


async def start(send: Send, status: int, headers: Headers) -> None:
    """Send the status line and headers."""
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers.items()
            ],
        }
    )


async def piece(send: Send, data: bytes, *, more: bool) -> None:
    """Send a piece of the body."""
    await send({"type": "http.response.body", "body": data, "more_body": more})


async def whole(send: Send, status: int, headers: Headers, body: bytes) -> None:
    """Send a complete response."""
    await start(send, status, {**headers, "Content-Length": str(len(body))})
    await piece(send, body, more=False)


def exception_tail(exception: ClickHouseException, version: str, tag: str) -> bytes:
    """What ends a body in whose middle the query failed; `tag` was announced as X-ClickHouse-Exception-Tag."""
    message = exception.body(version)
    frame = b"\r\n__exception__\r\n%b\r\n%b%d %b\r\n__exception__\r\n"
    return frame % (tag.encode(), message, len(message), tag.encode())
