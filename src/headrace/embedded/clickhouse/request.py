"""One HTTP request as ClickHouse reads it: what is the query, what are parameters, settings and credentials.

Pure: no I/O, no engine. Every URL argument that is not named here is a setting, and the engine judges it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from typing import Final
from urllib.parse import parse_qsl

from headrace.embedded.clickhouse.exceptions import Code, refused

SESSION_TIMEOUT_S: Final = 60
SESSION_TIMEOUT_S_MAX: Final = 3600

# Arguments of the HTTP interface itself. The rest of them is settings.
_RESERVED: Final = frozenset(
    (
        "query", "database", "default_format", "query_id", "user", "password", "quota_key", "role", "stacktrace",
        "buffer_size", "wait_end_of_query", "session_id", "session_timeout", "session_check", "close_session",
        "client_protocol_version", "compress", "decompress", "http_response_headers",
    )
)  # fmt: skip


@dataclass(slots=True)
class Request:
    """A request to run a query. `arguments` are the URL's (and a form's) in their order."""

    method: str
    headers: dict[str, str]
    arguments: dict[str, str]
    settings: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def read_only(self) -> bool:
        """Only POST may write: a link or a prefetch must never change data."""
        return self.method != "POST"

    @property
    def database(self) -> str:
        return self.headers.get("x-clickhouse-database") or self.arguments.get("database", "")

    @property
    def default_format(self) -> str:
        return self.headers.get("x-clickhouse-format") or self.arguments.get("default_format", "TabSeparated")

    @property
    def query_id(self) -> str:
        return self.arguments.get("query_id") or self.headers.get("x-clickhouse-query-id", "")

    @property
    def is_form(self) -> bool:
        return self.headers.get("content-type", "").startswith("multipart/form-data")

    def flag(self, name: str, default: str = "0") -> bool:
        """A boolean argument of the interface, such as `wait_end_of_query`."""
        return self.arguments.get(name, default).lower() in ("1", "true")

    def add(self, arguments: Iterable[tuple[str, str]]) -> None:
        """Sort arguments into the interface's own, query parameters (`param_x`) and settings."""
        for name, value in arguments:
            if name.startswith("param_"):
                self.parameters[name.removeprefix("param_")] = value
            elif name in _RESERVED:
                self.arguments[name] = value
            elif name:
                self.settings[name] = value

    def add_form(self, body: bytes) -> None:
        """Read a multipart form: `query`, `param_*` and settings. External tables are refused."""
        head = f"Content-Type: {self.headers['content-type']}\r\n\r\n".encode()
        form = BytesParser(policy=HTTP).parsebytes(head + body)
        fields: list[tuple[str, str]] = []
        for part in form.iter_parts():
            if part.get_filename() is not None:
                raise refused(Code.NOT_IMPLEMENTED, "External tables in multipart requests are not supported")
            payload = part.get_payload(decode=True)
            name = part.get_param("name", header="content-disposition")
            fields.append((str(name), payload.decode() if isinstance(payload, bytes) else ""))
        self.add(fields)

    def session(self) -> tuple[str, int, bool] | None:
        """Session id, idle timeout in seconds and whether it must exist already; None without a session."""
        session_id = self.arguments.get("session_id")
        if not session_id:
            return None
        text = self.arguments.get("session_timeout", str(SESSION_TIMEOUT_S))
        if not text.isdecimal():
            raise refused(Code.INVALID_SESSION_TIMEOUT, f"Invalid session timeout: '{text}'")
        if int(text) > SESSION_TIMEOUT_S_MAX:
            limit = f"is larger than max_session_timeout: {SESSION_TIMEOUT_S_MAX}"
            raise refused(Code.INVALID_SESSION_TIMEOUT, f"Session timeout '{text}' {limit}")
        return session_id, int(text), self.flag("session_check")

    def credentials(self) -> tuple[str, str]:
        """The user and password, from headers, Basic authentication or the URL; mixing two ways is refused."""
        user, key = self.headers.get("x-clickhouse-user", ""), self.headers.get("x-clickhouse-key", "")
        basic = self.headers.get("authorization", "")
        in_url = "user" in self.arguments or "password" in self.arguments
        if sum((bool(user or key), bool(basic), in_url)) > 1:
            raise refused(
                Code.AUTHENTICATION_FAILED,
                "Invalid authentication: it is not allowed to use two of X-ClickHouse HTTP headers, "
                "Authorization HTTP header and authentication via parameters simultaneously",
            )
        if user or key:
            return user, key
        if basic:
            return _basic(basic)
        return self.arguments.get("user", "default"), self.arguments.get("password", "")


def _basic(header: str) -> tuple[str, str]:
    scheme, _, encoded = header.partition(" ")
    try:
        if scheme.lower() != "basic":
            raise ValueError(scheme)
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (ValueError, binascii.Error):
        raise refused(
            Code.AUTHENTICATION_FAILED, f"Invalid authentication: '{scheme}' HTTP Authorization is not usable"
        ) from None
    return user, password


def parse(method: str, query_string: bytes, headers: Iterable[tuple[bytes, bytes]]) -> Request:
    """Read a request from the pieces of an ASGI scope."""
    request = Request(method, {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}, {})
    request.add(parse_qsl(query_string.decode(errors="surrogateescape"), keep_blank_values=True, max_num_fields=10_000))
    return request
