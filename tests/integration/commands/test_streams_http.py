"""GET /streams: states, events and differences, of streams called anything printable."""

from __future__ import annotations

from types import ModuleType
from urllib.parse import quote

import httpx
import pytest

from headrace.event_store.event_store import EventStore
from headrace.events.event import Metadata

NAMES = ["account-1", "account-a/b", "account-/events", "account-50%", "account-ü €?#", "account-a b/diff", "account-/"]


@pytest.mark.parametrize("name", NAMES)
async def test_a_stream_of_any_printable_name_is_found(
    api: httpx.AsyncClient, store: EventStore, ledger: ModuleType, name: str
) -> None:
    await store.append(name, [ledger.Deposited(amount=5)])
    path = f"/streams/{quote(name, safe='')}"
    state = (await api.get(path)).json()
    assert (state["stream"], state["version"], state["state"]) == (name, 1, {"balance": 5})
    assert (await api.get(f"{path}/events")).json()["stream"] == name
    assert (await api.get(f"{path}/diff?from=0&to=1")).json()["changes"] == [
        {"path": "/balance", "before": 0, "after": 5}
    ]


async def test_a_state_at_a_version_or_time(api: httpx.AsyncClient, store: EventStore, ledger: ModuleType) -> None:
    await store.append("account-1", [ledger.Deposited(amount=5)])
    await store.append("account-1", [ledger.Withdrawn(amount=2)])
    first, second = [event.recorded_at async for event in store.read_stream("account-1")]
    then = (await api.get("/streams/account-1?version=1")).json()
    assert (then["version"], then["state_type"], then["state"]) == (1, "Account", {"balance": 5})
    by_time = (await api.get("/streams/account-1", params={"time": first.isoformat()})).json()
    assert by_time == then
    ends = {"from": first.isoformat(), "to": second.isoformat()}
    diff = (await api.get("/streams/account-1/diff", params=ends)).json()
    assert (diff["from_version"], diff["to_version"]) == (1, 2)
    assert diff["changes"] == [{"path": "/balance", "before": 5, "after": 3}]


async def test_events_say_who_when_and_why(api: httpx.AsyncClient, store: EventStore, ledger: ModuleType) -> None:
    why = Metadata(actor="teller", command="Deposit", correlation_id="c-1")
    await store.append("account-1", [ledger.Deposited(amount=n) for n in (1, 2, 3)], metadata=why)
    (recorded_at,) = {event.recorded_at async for event in store.read_stream("account-1")}
    found = (await api.get("/streams/account-1/events?backwards=true&limit=2")).json()["events"]
    assert [event["version"] for event in found] == [3, 2]
    assert found[0]["metadata"] == {"actor": "teller", "command": "Deposit", "correlation_id": "c-1"}
    assert found[0]["data"] == {"amount": 3}
    later = (await api.get("/streams/account-1/events", params={"from": recorded_at.isoformat()})).json()
    assert len(later["events"]) == 3
    earlier = (await api.get("/streams/account-1/events", params={"to": recorded_at.isoformat()})).json()
    assert earlier["events"] == []
    between = (await api.get("/streams/account-1/events?after_version=1&up_to_version=2")).json()["events"]
    assert [event["version"] for event in between] == [2]


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("account-9", 404, "no stream 'account-9'"),
        ("account-9/events", 404, "no stream 'account-9'"),
        ("account-9/diff?from=0&to=1", 404, "no stream"),
        ("cart-1", 404, "No command of this domain"),
        ("account-1/nope", 404, "no 'nope'"),
        ("account-1/x/events", 404, "no 'x/events'"),
        ("account%0A1", 400, "Not a stream name"),
        ("account-%00", 400, "Not a stream name"),
        ("account-1%FF%00/events", 400, "Not a stream name"),
        ("account-1?version=-1", 400, "Not a version"),
        ("account-1?version=2", 400, "no version 2"),
        ("account-1?time=yesterday", 400, "Not a time"),
        ("account-1?time=2026-03-15&version=1", 400, "not by both"),
        ("account-1?nope=1", 400, "no parameter 'nope'"),
        ("account-1?version=1&version=1", 400, "2 times"),
        ("account-1?state=Nope", 400, "no state Nope"),
        ("account-1/diff?from=1", 400, "to is missing"),
        ("account-1/diff?from=1&to=later", 400, "Not a time"),
        ("account-1/events?limit=0", 400, "limit is 1"),
        ("account-1/events?limit=1001", 400, "limit is 1"),
        ("account-1/events?backwards=yes", 400, "backwards"),
        ("account-1/events?from=2026-03-15T00:00:00+01:00", 400, "Not a time"),
    ],
)
async def test_what_is_not_there_is_404_and_what_is_malformed_400(
    api: httpx.AsyncClient, store: EventStore, ledger: ModuleType, path: str, status: int, words: str
) -> None:
    await store.append("account-1", [ledger.Deposited(amount=5)])
    answer = await api.get(f"/streams/{path}")
    assert (answer.status_code, words in answer.json()["message"]) == (status, True), answer.text


async def test_openapi_describes_the_three(api: httpx.AsyncClient) -> None:
    paths = (await api.get("/schema/openapi.json")).json()["paths"]
    ours = {path: operations["get"] for path, operations in paths.items() if path.startswith("/streams")}
    assert sorted(ours) == ["/streams/{stream}", "/streams/{stream}/diff", "/streams/{stream}/events"]
    named = [parameter["name"] for parameter in ours["/streams/{stream}/diff"]["parameters"]]
    assert named == ["stream", "from", "to", "state"]
    assert set(ours["/streams/{stream}"]["responses"]) == {"200", "400", "404", "503"}
