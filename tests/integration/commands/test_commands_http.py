"""POST /commands: answers, repetitions, and what each kind of bad request gets."""

from __future__ import annotations

import httpx
import pytest

from headrace.event_store.event_store import EventStore
from headrace.events.position import Position

ADA = {"accountId": "ada", "amount": 5}


async def stored(store: EventStore, stream: str = "account-ada") -> list[str]:
    return [event.type async for event in store.read_stream(stream)]


async def test_a_command_answers_with_stream_version_position_and_events(
    api: httpx.AsyncClient, store: EventStore
) -> None:
    answer = await api.post("/commands/Deposit", json=ADA, headers={"X-Actor": "teller", "X-Correlation-Id": "c-1"})
    assert answer.status_code == 201
    body = answer.json()
    assert (body["stream"], body["version"], body["events"]) == ("account-ada", 1, ["Deposited"])
    assert Position.parse(body["position"]) > Position(0)
    assert answer.headers["X-Headrace-Position"] == body["position"]
    assert answer.headers["X-Correlation-Id"] == "c-1"
    (event,) = [event async for event in store.read_stream("account-ada")]
    assert (event.metadata.actor, event.metadata.correlation_id, event.metadata.command) == ("teller", "c-1", "Deposit")


async def test_the_commands_own_route_is_the_same_command(api: httpx.AsyncClient, store: EventStore) -> None:
    assert (await api.post("/deposit", json=ADA)).status_code == 201
    assert await stored(store) == ["Deposited"]


async def test_a_repeated_key_answers_with_the_first_result(api: httpx.AsyncClient, store: EventStore) -> None:
    key = {"Idempotency-Key": "payment 7"}
    first = await api.post("/deposit", json=ADA, headers=key)
    await api.post("/deposit", json=ADA)
    again = await api.post("/deposit", json=ADA, headers=key)
    assert again.status_code == 201
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    assert {**again.json(), "position": None} == {**first.json(), "position": None}
    assert await stored(store) == ["Deposited", "Deposited"]


async def test_a_repeated_key_is_answered_even_when_it_would_be_refused_by_now(
    api: httpx.AsyncClient, store: EventStore
) -> None:
    await api.post("/deposit", json=ADA)
    withdraw = {"account_id": "ada", "amount": 5}
    key = {"Idempotency-Key": "k", "X-Headrace-Expected-Version": "1"}
    assert (await api.post("/commands/Withdraw", json=withdraw, headers=key)).status_code == 201
    again = await api.post("/commands/Withdraw", json=withdraw, headers=key)
    assert (again.status_code, again.json()["version"]) == (201, 2)
    assert await stored(store) == ["Deposited", "Withdrawn"]


async def test_a_key_with_another_body_is_refused(api: httpx.AsyncClient, store: EventStore) -> None:
    key = {"Idempotency-Key": "k"}
    await api.post("/deposit", json=ADA, headers=key)
    other = await api.post("/deposit", json={**ADA, "amount": 6}, headers=key)
    assert other.status_code == 422
    assert "used before" in other.json()["message"]
    assert await stored(store) == ["Deposited"]


async def test_one_key_of_two_commands_is_two_requests(api: httpx.AsyncClient, store: EventStore) -> None:
    key = {"Idempotency-Key": "k"}
    await api.post("/deposit", json=ADA, headers=key)
    await api.post("/commands/Withdraw", json={"account_id": "ada", "amount": 5}, headers=key)
    assert await stored(store) == ["Deposited", "Withdrawn"]


async def test_a_rejected_command_is_422_and_writes_nothing(api: httpx.AsyncClient, store: EventStore) -> None:
    answer = await api.post("/commands/Withdraw", json={"account_id": "ada", "amount": 1})
    assert answer.status_code == 422
    assert answer.json() == {
        "error": "Rejected",
        "message": "Not enough money.",
        "detail": "Balance 0, asked for 1.",
        "hint": "",
    }
    assert await stored(store) == []


async def test_a_command_that_changes_nothing_is_200_with_the_present_version(api: httpx.AsyncClient) -> None:
    await api.post("/deposit", json=ADA)
    answer = await api.post("/commands/Touch", json={"account_id": "ada"})
    assert answer.status_code == 200
    assert (answer.json()["version"], answer.json()["events"]) == (1, [])


async def test_a_decider_that_fails_is_500_without_its_data(api: httpx.AsyncClient, store: EventStore) -> None:
    answer = await api.post("/commands/Touch", json={"account_id": "ada", "fail": True})
    assert answer.status_code == 500
    assert "decider touch failed: ZeroDivisionError" in answer.json()["message"]
    assert "secret" not in answer.text
    assert await stored(store) == []


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b'{"accountId":"ada","amount":"5"}', "$.amount"),
        (b'{"accountId":"ada","amount":-5}', "$.amount"),
        (b'{"accountId":"ada"}', "amount"),
        (b'{"accountId":"ada","amount":5,"tip":1}', "tip"),
        (b"[]", "$"),
        (b"{", "truncated"),
        (b"", "empty"),
        (b"\xff", "Deposit"),
    ],
)
async def test_a_malformed_body_is_400_and_says_where(
    api: httpx.AsyncClient, store: EventStore, body: bytes, place: str
) -> None:
    answer = await api.post("/deposit", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"] == "InvalidInput"
    assert place in answer.text
    assert await stored(store) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Idempotency-Key", "k" * 201),
        ("Idempotency-Key", ""),
        ("X-Headrace-Expected-Version", "latest"),
        ("X-Headrace-Expected-Version", "-1"),
        ("X-Actor", "a" * 201),
    ],
)
async def test_an_unusable_header_is_400_and_named(api: httpx.AsyncClient, name: str, value: str) -> None:
    answer = await api.post("/deposit", json=ADA, headers={name: value})
    assert answer.status_code == 400
    assert name in answer.json()["message"]


async def test_a_stale_expected_version_is_409_with_both(api: httpx.AsyncClient, store: EventStore) -> None:
    await api.post("/deposit", json=ADA, headers={"X-Headrace-Expected-Version": "0"})
    answer = await api.post("/deposit", json=ADA, headers={"X-Headrace-Expected-Version": "0"})
    assert answer.status_code == 409
    assert answer.json()["detail"] == "Expected 0, actual 1."
    assert await stored(store) == ["Deposited"]


async def test_an_unknown_command_is_404_with_the_nearest_name_and_the_list(api: httpx.AsyncClient) -> None:
    answer = await api.post("/commands/Depossit", json={})
    assert answer.status_code == 404
    assert answer.json()["hint"] == "Did you mean Deposit?"
    assert "Withdraw" in answer.json()["detail"]


async def test_a_body_over_the_limit_is_413(api: httpx.AsyncClient) -> None:
    assert (await api.post("/deposit", content=b" " * (65 << 10))).status_code == 413


async def test_commands_are_listed_with_schema_and_example(api: httpx.AsyncClient) -> None:
    commands = {command["name"]: command for command in (await api.get("/commands")).json()["commands"]}
    assert list(commands) == ["Deposit", "Withdraw", "Touch"]
    assert commands["Deposit"]["href"] == "/deposit"
    assert commands["Deposit"]["example"] == ADA
    assert commands["Deposit"]["schema"]["properties"]["amount"] == {"type": "integer", "exclusiveMinimum": 0}


async def test_openapi_describes_every_command(api: httpx.AsyncClient) -> None:
    document = (await api.get("/schema/openapi.json")).json()
    operation = document["paths"]["/commands/Deposit"]["post"]
    content = operation["requestBody"]["content"]["application/json"]
    assert set(content["schema"]["properties"]) == {"accountId", "amount"}
    assert content["example"] == ADA
    assert {"201", "400", "409", "422"} <= set(operation["responses"])
    assert "Idempotency-Key" in {parameter["name"] for parameter in operation["parameters"]}
    assert {"/deposit", "/commands/Withdraw", "/commands/Touch"} <= set(document["paths"])
    ids = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(ids) == len(set(ids))
