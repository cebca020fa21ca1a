"""The bank example as a whole, run by `headrace dev`: commands, the reactor process, read models, queries."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from support.running_project import BANK, Stack, copy_example, running_stack, wait_until

ARTICLE = [  # its table of events, and what its sequence, types and payloads are here
    (1, "AccountCreated", "Alice", None),
    (2, "NameChanged", "Alicia", None),
    (3, "EmailChanged", None, "new@example.org"),
    (4, "AccountDeleted", None, None),
]


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(copy_example(BANK, tmp_path_factory.mktemp("stack") / "bank")) as stack:
        yield stack


def send(bank: Stack, path: str, **body: Any) -> str:
    """The position of a command that must be accepted."""
    answer = bank.http.post(path, json=body)
    assert answer.status_code == 201, answer.text
    position: str = answer.json()["position"]
    return position


def transfer(bank: Stack, source: str, target: str, amount: int) -> dict[str, Any]:
    """Request a transfer; its row once it has ended."""
    id = str(uuid4())
    position = send(bank, "/transfer", transfer_id=id, source=source, target=target, amount=amount)

    def ended() -> dict[str, Any] | None:
        rows = bank.query("latest_transfers", position, id=source, count="100")
        (row,) = [row for row in rows if row["transfer_id"] == id]
        return row if row["state"] in ("completed", "failed") else None

    row = wait_until(ended, f"the end of transfer {id}")
    assert row is not None
    return row


def balance(bank: Stack, id: str) -> int:
    (row,) = bank.query("balance", id=id)
    amount: int = row["balance"]
    return amount


def wait_for_balances(bank: Stack, **expected: int) -> None:
    """Balances and transfers are different read models: one may be a moment ahead of the other."""
    wait_until(lambda: {id: balance(bank, id) for id in expected} == expected, f"the balances {expected}")


def test_money_arrives(bank: Stack) -> None:
    send(bank, "/open-account", id="alice", name="Alice")
    send(bank, "/open-account", id="bob", name="Bob")
    send(bank, "/deposit", id="alice", amount=10_000)
    assert transfer(bank, "alice", "bob", 3_000)["state"] == "completed"
    wait_for_balances(bank, alice=7_000, bob=3_000)


def test_money_that_cannot_arrive_comes_back(bank: Stack) -> None:
    send(bank, "/open-account", id="carol", name="Carol")
    send(bank, "/deposit", id="carol", amount=500)
    row = transfer(bank, "carol", "nobody", 500)
    assert (row["state"], row["reason"]) == ("failed", "no such account")
    wait_for_balances(bank, carol=500)
    assert bank.query("balance", id="nobody") == []
    kinds = [row["event_type"] for row in bank.query("account_history", id="carol")]
    assert kinds == ["AccountCreated", "Deposited", "AccountDebited", "AccountRefunded"]


def test_money_that_is_not_there_is_not_taken(bank: Stack) -> None:
    send(bank, "/open-account", id="dave", name="Dave")
    row = transfer(bank, "dave", "nobody", 1)
    assert (row["state"], row["reason"]) == ("failed", "insufficient funds")


def test_the_auditors_question_is_answered(bank: Stack) -> None:
    """What happened to this account between two moments?"""
    send(bank, "/open-account", id="1", name="Alice")
    between = datetime.now(UTC).isoformat()
    send(bank, "/change-name", id="1", name="Alicia")
    send(bank, "/change-email", id="1", email="new@example.org")
    position = send(bank, "/close-account", id="1")
    history = bank.query("account_history", position, id="1")
    assert [(row["seq"], row["event_type"], row["name"], row["email"]) for row in history] == ARTICLE
    since = bank.query("account_history", position, id="1", **{"from": between})
    assert [row["seq"] for row in since] == [2, 3, 4]
    until = bank.query("account_history", position, id="1", to=between)
    assert [row["seq"] for row in until] == [1]
    (account,) = bank.query("balance", id="1")
    assert account == {"id": "1", "name": "Alicia", "email": "new@example.org", "balance": 0, "status": "closed"}


def test_nobody_but_the_process_can_move_money_into_an_account(bank: Stack) -> None:
    send(bank, "/open-account", id="grace", name="Grace")
    forged = {"id": "grace", "transfer_id": str(uuid4()), "counterparty": "nobody", "amount": 1_000}
    answer = bank.http.post("/commands/CreditAccount", json=forged)
    assert (answer.status_code, answer.json()["error"]) == (404, "Unknown")
    assert "CreditAccount" not in bank.http.get("/commands").text
    assert "CreditAccount" not in bank.http.get("/schema/openapi.json").text


def test_all_of_the_money_is_there(bank: Stack) -> None:
    position = send(bank, "/open-account", id="erin", name="Erin")
    (total,) = bank.query("total_money", position)
    assert total["paid_in"] == total["in_accounts"]
    assert total["on_the_way"] == 0


def test_every_query_answers_and_no_tile_fails(bank: Stack) -> None:
    send(bank, "/open-account", id="frank", name="Frank")
    for query in bank.http.get("/queries").json()["queries"]:
        parameters = {"id": "frank"} if query["name"] == "account_history" else {}
        answer = bank.http.get(f"/queries/{query['name']}", params=parameters)
        assert answer.status_code == 200, answer.text
    page = bank.http.get("/dashboards/bank")
    assert page.status_code == 200
    assert "Money moved per hour" in page.text
    assert "notice error" not in page.text
