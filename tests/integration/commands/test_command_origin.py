"""A page of another site can post to this machine; events that it appends could never be deleted."""

from __future__ import annotations

import httpx
import pytest


@pytest.mark.parametrize("headers", [{"Origin": "http://evil.example"}, {"Host": "evil.example"}])
async def test_no_other_sites_page_may_send_a_command(api: httpx.AsyncClient, headers: dict[str, str]) -> None:
    refused = await api.post("/commands/Deposit", json={"account": "a", "amount": 1}, headers=headers)
    assert refused.status_code == 403
    assert "refused" in refused.json()["message"]


async def test_reading_under_another_name_is_refused_too(api: httpx.AsyncClient) -> None:
    assert (await api.get("/commands", headers={"Host": "evil.example"})).status_code == 403
    assert (await api.get("/commands")).status_code == 200
