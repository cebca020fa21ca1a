"""Which requests come from a page that we did not serve."""

from __future__ import annotations

import pytest

from headrace.same_origin import foreign


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "127.0.0.1:8080"},
        {"host": "localhost:8080", "origin": "http://localhost:8080"},
        {"host": "[::1]:8080", "origin": "http://[::1]:8080"},
    ],
)
def test_our_own_pages_and_clients_that_are_no_browsers_pass(headers: dict[str, str]) -> None:
    assert foreign(headers, listening_on="127.0.0.1") == ""


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "127.0.0.1:8080", "origin": "http://evil.example"},
        {"host": "127.0.0.1:8080", "origin": "http://127.0.0.1:9999"},
        {"host": "127.0.0.1:8080", "origin": "null"},
        {"host": "evil.example:8080"},
        {"host": "evil.example:8080", "origin": "http://evil.example:8080"},
        {},
    ],
)
def test_other_sites_pages_and_rebound_names_are_refused(headers: dict[str, str]) -> None:
    assert foreign(headers, listening_on="127.0.0.1")


def test_a_server_for_others_goes_by_any_name_but_not_by_other_sites_pages() -> None:
    assert foreign({"host": "app.example", "origin": "http://app.example"}, listening_on="0.0.0.0") == ""
    assert foreign({"host": "app.example", "origin": "http://evil.example"}, listening_on="0.0.0.0")
