"""ClickHouse's HTTP interface as an ASGI application, with no framework between the socket and the engine.

Routes and authentication only. Clients are never recognised: no User-Agent and no known query may change an answer.
"""

from __future__ import annotations

import hmac
from typing import Final

from headrace.embedded.clickhouse import responses
from headrace.embedded.clickhouse.body import Body, Receive
from headrace.embedded.clickhouse.exceptions import ClickHouseException, Code, refused
from headrace.embedded.clickhouse.exchange import Aborted, Exchange, House
from headrace.embedded.clickhouse.request import Request, parse
from headrace.embedded.clickhouse.responses import Message, Send
from headrace.same_origin import foreign
from headrace.telemetry import logger

_ALIVE: Final = frozenset(("/ping", "/replicas_status"))
_METHODS: Final = frozenset(("GET", "HEAD", "POST"))

log = logger(__name__)


class App:
    """The application. `user` and `password` are the only credentials there are; `host` is where it listens."""

    def __init__(self, house: House, *, user: str, password: str, host: str) -> None:
        self._house = house
        self._host = host
        self._user = user.encode()
        self._password = password.encode()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http", "served with lifespan and websockets off"
        method, path = scope["method"], scope["path"]
        request = parse(method, scope["query_string"], scope["headers"])
        if path in _ALIVE or (path == "/" and method in ("GET", "HEAD") and "query" not in request.arguments):
            await responses.whole(send, 200, self._text_headers(), b"Ok.\n")
        elif method == "OPTIONS":
            await responses.whole(send, 204, {"Allow": "GET, HEAD, POST, OPTIONS"}, b"")
        elif path != "/" or method not in _METHODS:
            body = f"There is no handle {path}\n\nUse / or /ping for health checks.\n".encode()
            await responses.whole(send, 404, self._text_headers(), body)
        else:
            await self._query(request, receive, send)

    async def _query(self, request: Request, receive: Receive, send: Send) -> None:
        try:
            self._refuse_pages(request)
            self._authenticate(request)
            exchange = Exchange(self._house, request, Body(receive, request.headers.get("content-encoding", "")), send)
        except ClickHouseException as exception:
            headers = {
                **self._text_headers(),
                "X-ClickHouse-Exception-Code": str(exception.code),
                "Connection": "close",
            }
            await responses.whole(send, exception.status, headers, exception.body(self._house.engine.version))
            return
        try:
            await exchange.run()
        except Aborted:
            raise
        except Exception:
            log.exception("request_failed", method=request.method)
            raise

    def _refuse_pages(self, request: Request) -> None:
        """SQL reads files and opens connections: no web page that the user happens to have open may send any."""
        reason = foreign(request.headers, listening_on=self._host)
        if request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            reason = "it comes from another site's page"
        if reason:
            raise refused(Code.AUTHENTICATION_FAILED, f"The request is refused: {reason}.")

    def _authenticate(self, request: Request) -> None:
        user, password = request.credentials()
        same_user = hmac.compare_digest(user.encode(), self._user)
        same_password = hmac.compare_digest(password.encode(), self._password)
        if not (same_user and same_password):
            raise refused(
                Code.AUTHENTICATION_FAILED,
                f"{user}: Authentication failed: password is incorrect, or there is no user with such name.",
            )

    def _text_headers(self) -> responses.Headers:
        return {
            "Content-Type": "text/plain; charset=UTF-8",
            "X-ClickHouse-Server-Display-Name": self._house.engine.display_name,
            "Keep-Alive": f"timeout={responses.KEEP_ALIVE_S}",
        }
