"""What a request asks for, from its URL, headers and form."""

from __future__ import annotations

import base64

import pytest

from headrace.embedded.clickhouse.exceptions import ClickHouseException
from headrace.embedded.clickhouse.request import Request, parse


def made(query: bytes = b"", *headers: tuple[bytes, bytes], method: str = "POST") -> Request:
    return parse(method, query, headers)


def test_arguments_are_sorted_into_parameters_settings_and_the_interfaces_own() -> None:
    request = made(b"query=SELECT%201&param_x=a%26b&max_threads=1&database=d&session_id=s&=empty")
    assert request.parameters == {"x": "a&b"}
    assert request.settings == {"max_threads": "1"}
    assert request.arguments == {"query": "SELECT 1", "database": "d", "session_id": "s"}
    assert not request.read_only
    assert made(method="GET").read_only


def test_headers_win_over_arguments() -> None:
    headers = ((b"x-clickhouse-database", b"h"), (b"x-clickhouse-format", b"CSV"), (b"x-clickhouse-query-id", b"q"))
    request = made(b"database=a&default_format=TSV", *headers)
    assert (request.database, request.default_format, request.query_id) == ("h", "CSV", "q")
    assert made().default_format == "TabSeparated"


def test_credentials_have_three_ways_and_one_at_a_time() -> None:
    basic = (b"authorization", b"Basic " + base64.b64encode(b"me:p:w"))
    assert made(b"", basic).credentials() == ("me", "p:w")
    assert made(b"user=me&password=pw").credentials() == ("me", "pw")
    assert made(b"", (b"x-clickhouse-user", b"me"), (b"x-clickhouse-key", b"pw")).credentials() == ("me", "pw")
    assert made().credentials() == ("default", "")
    for wrong in (
        made(b"user=me", basic),
        made(b"", basic, (b"x-clickhouse-user", b"me")),
        made(b"", (b"authorization", b"Bearer x")),
        made(b"", (b"authorization", b"Basic !")),
    ):
        with pytest.raises(ClickHouseException, match="AUTHENTICATION_FAILED"):
            wrong.credentials()


def test_session_has_a_timeout_with_a_limit() -> None:
    assert made().session() is None
    assert made(b"session_id=s").session() == ("s", 60, False)
    assert made(b"session_id=s&session_timeout=5&session_check=1").session() == ("s", 5, True)
    for wrong in (b"-1", b"x", b"3601"):
        with pytest.raises(ClickHouseException, match="INVALID_SESSION_TIMEOUT"):
            made(b"session_id=s&session_timeout=" + wrong).session()


def test_form_holds_query_and_parameters_but_no_external_tables() -> None:
    form = (b"content-type", b"multipart/form-data; boundary=B")
    request = made(b"max_threads=1", form)
    body = b'--B\r\nContent-Disposition: form-data; name="query"\r\n\r\nSELECT {x:String}\r\n'
    body += b'--B\r\nContent-Disposition: form-data; name="param_x"\r\n\r\n\xc3\xa4 =&\r\n--B--\r\n'
    request.add_form(body)
    assert request.arguments["query"] == "SELECT {x:String}"
    assert request.parameters == {"x": "ä =&"}
    external = b'--B\r\nContent-Disposition: form-data; name="t"; filename="t"\r\n\r\n1\r\n--B--\r\n'
    with pytest.raises(ClickHouseException, match="NOT_IMPLEMENTED"):
        made(b"", form).add_form(external)
