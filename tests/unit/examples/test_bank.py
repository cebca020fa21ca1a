"""The bank, in given, when, then and reacting, to, then: no database, no clock."""

from __future__ import annotations

from datetime import timedelta
from types import ModuleType
from typing import Any
from uuid import UUID

import msgspec
import pytest
from support.running_project import BANK

from headrace import Later
from headrace.runtime.project import load_module
from headrace.testing.given_when_then import given
from headrace.testing.reacting import reacting

T = UUID(int=1)
BOB = {"id": "bob", "transfer_id": T, "counterparty": "alice"}
ALICE = {"id": "alice", "transfer_id": T, "counterparty": "bob"}
TRANSFER = {"transfer_id": T, "source": "alice", "target": "bob", "amount": 300}


@pytest.fixture(scope="module")
def domain() -> ModuleType:
    return load_module(BANK / "domain.py")


@pytest.fixture(scope="module")
def transfers(domain: ModuleType) -> Any:
    """Its module imports `domain`, which has to be this one."""
    assert domain
    return load_module(BANK / "reactors.py").transfers


def opened(domain: ModuleType, id: str = "alice", balance: int = 0) -> list[Any]:
    created = domain.AccountCreated(id=id, name=id.capitalize())
    return [created, domain.Deposited(id=id, change=balance)] if balance else [created]


# The article's account 1.


def test_the_articles_table_of_events_is_what_its_account_does(domain: ModuleType) -> None:
    commands = [
        domain.OpenAccount(id="1", name="Alice"),
        domain.ChangeName(id="1", name="Alicia"),
        domain.ChangeEmail(id="1", email="alicia@example.org"),
        domain.CloseAccount(id="1"),
    ]
    happened: list[Any] = []
    for command in commands:
        happened += given(*happened).when(command).events
    assert [(type(event).__name__, msgspec.json.encode(event)) for event in happened] == [
        ("AccountCreated", b'{"id":"1","name":"Alice"}'),
        ("NameChanged", b'{"id":"1","name":"Alicia"}'),
        ("EmailChanged", b'{"id":"1","email":"alicia@example.org"}'),
        ("AccountDeleted", b'{"id":"1"}'),
    ]


# Accounts.


def test_an_id_is_used_once(domain: ModuleType) -> None:
    again = domain.OpenAccount(id="alice", name="Alice")
    given(*opened(domain)).when(again).then_rejected("already")
    given(*opened(domain), domain.AccountDeleted(id="alice")).when(again).then_rejected("already")


def test_money_is_paid_in_and_out_and_never_more_than_there_is(domain: ModuleType) -> None:
    account = opened(domain, balance=500)
    given(*account).when(domain.Deposit(id="alice", amount=20)).then(domain.Deposited(id="alice", change=20))
    given(*account).when(domain.Withdraw(id="alice", amount=500)).then(domain.Withdrawn(id="alice", change=-500))
    given(*account).when(domain.Withdraw(id="alice", amount=501)).then_rejected("It holds 500")


def test_an_account_that_is_not_open_takes_no_change_and_no_deposit(domain: ModuleType) -> None:
    for history in ([], [*opened(domain), domain.AccountDeleted(id="alice")]):
        for command in (
            domain.ChangeName(id="alice", name="Alicia"),
            domain.ChangeEmail(id="alice", email="a@b"),
            domain.Deposit(id="alice", amount=1),
            domain.CloseAccount(id="alice"),
        ):
            given(*history).when(command).then_rejected("not open")


def test_an_account_is_closed_when_it_is_empty(domain: ModuleType) -> None:
    given(*opened(domain, balance=1)).when(domain.CloseAccount(id="alice")).then_rejected("still holds 1")


def test_what_came_back_after_closing_can_be_withdrawn(domain: ModuleType) -> None:
    account = [
        *opened(domain, balance=300),
        domain.AccountDebited(**ALICE, change=-300),
        domain.AccountDeleted(id="alice"),
        domain.AccountRefunded(**ALICE, change=300, reason="account closed"),
    ]
    given(*account).when(domain.Withdraw(id="alice", amount=300)).then(domain.Withdrawn(id="alice", change=-300))


# What an account answers to a transfer.


def test_the_source_is_debited_or_refuses(domain: ModuleType) -> None:
    debit = domain.DebitAccount(**ALICE, amount=300)
    given(*opened(domain, balance=300)).when(debit).then(domain.AccountDebited(**ALICE, change=-300))
    poor = domain.DebitRefused(**ALICE, reason="insufficient funds")
    given(*opened(domain, balance=299)).when(debit).then(poor)
    given().when(debit).then(domain.DebitRefused(**ALICE, reason="no such account"))
    closed = [*opened(domain), domain.AccountDeleted(id="alice")]
    given(*closed).when(debit).then(domain.DebitRefused(**ALICE, reason="account closed"))


def test_the_target_is_credited_or_refuses(domain: ModuleType) -> None:
    credit = domain.CreditAccount(**BOB, amount=300)
    given(*opened(domain, "bob")).when(credit).then(domain.AccountCredited(**BOB, change=300))
    given().when(credit).then(domain.CreditRefused(**BOB, reason="no such account"))
    closed = [*opened(domain, "bob"), domain.AccountDeleted(id="bob")]
    given(*closed).when(credit).then(domain.CreditRefused(**BOB, reason="account closed"))


def test_the_first_answer_of_an_account_stands(domain: ModuleType) -> None:
    debited = domain.AccountDebited(**ALICE, change=-300)
    refused = domain.DebitRefused(**ALICE, reason="insufficient funds")
    for answer in (debited, refused):
        given(*opened(domain, balance=900), answer).when(domain.DebitAccount(**ALICE, amount=300)).then_nothing()
    credited = domain.AccountCredited(**BOB, change=300)
    expired = domain.CreditRefused(**BOB, reason="expired")
    for answer in (credited, expired):
        given(*opened(domain, "bob"), answer).when(domain.CreditAccount(**BOB, amount=300)).then_nothing()
        given(*opened(domain, "bob"), answer).when(domain.RefuseCredit(**BOB)).then_nothing()


def test_a_debit_is_returned_once_and_a_refused_one_never(domain: ModuleType) -> None:
    debited = [*opened(domain, balance=300), domain.AccountDebited(**ALICE, change=-300)]
    refunded = domain.AccountRefunded(**ALICE, change=300, reason="account closed")
    give_back = domain.ReturnDebit(**ALICE, reason="account closed")
    given(*debited).when(give_back).then(refunded)
    given(*debited, refunded).when(give_back).then_nothing()
    given(domain.DebitRefused(**ALICE, reason="no such account")).when(give_back).then_nothing()


def test_a_debit_that_is_returned_before_it_was_made_is_never_made(domain: ModuleType) -> None:
    account = opened(domain, balance=300)
    refused = domain.DebitRefused(**ALICE, reason="expired")
    given(*account).when(domain.ReturnDebit(**ALICE, reason="expired")).then(refused)
    given(*account, refused).when(domain.DebitAccount(**ALICE, amount=300)).then_nothing()


# The transfer itself.


def test_a_transfer_is_requested_once_between_two_accounts(domain: ModuleType) -> None:
    request = domain.RequestTransfer(**TRANSFER)
    requested = domain.TransferRequested(**TRANSFER)
    given().when(request).then(requested)
    given(requested).when(request).then_rejected("already")
    given().when(domain.RequestTransfer(**{**TRANSFER, "target": "alice"})).then_rejected("from one account to another")


def test_a_transfer_ends_once(domain: ModuleType) -> None:
    requested = domain.TransferRequested(**TRANSFER)
    expired = domain.TransferExpired(**TRANSFER)
    completed = domain.TransferCompleted(**TRANSFER)
    failed = domain.TransferFailed(**TRANSFER, reason="expired")
    complete = domain.CompleteTransfer(transfer_id=T)
    fail = domain.FailTransfer(transfer_id=T, reason="expired")
    expire = domain.ExpireTransfer(transfer_id=T)
    given(requested).when(complete).then(completed)
    given(requested).when(fail).then(failed)
    given(requested).when(expire).then(expired)
    given(requested, expired).when(complete).then(completed)
    given(requested, expired).when(fail).then(failed)
    given(requested, expired).when(expire).then_nothing()
    for end in (completed, failed):
        for command in (complete, fail, expire):
            given(requested, end).when(command).then_nothing()
    for command in (complete, fail, expire):
        given().when(command).then_nothing()


# The process.


def test_a_transfer_is_debited_credited_completed(domain: ModuleType, transfers: Any) -> None:
    reacting(transfers).to(domain.TransferRequested(**TRANSFER)).then(
        Later(domain.ExpireTransfer(transfer_id=T), after=timedelta(minutes=5)),
        domain.DebitAccount(**ALICE, amount=300),
    )
    reacting(transfers).to(domain.AccountDebited(**ALICE, change=-300)).then(domain.CreditAccount(**BOB, amount=300))
    reacting(transfers).to(domain.AccountCredited(**BOB, change=300)).then(domain.CompleteTransfer(transfer_id=T))


def test_a_refused_debit_fails_the_transfer(domain: ModuleType, transfers: Any) -> None:
    refused = domain.DebitRefused(**ALICE, reason="insufficient funds")
    reacting(transfers).to(refused).then(domain.FailTransfer(transfer_id=T, reason="insufficient funds"))


def test_a_refused_credit_gives_the_money_back_and_then_fails(domain: ModuleType, transfers: Any) -> None:
    refused = domain.CreditRefused(**BOB, reason="account closed")
    reacting(transfers).to(refused).then(domain.ReturnDebit(**ALICE, reason="account closed"))
    refunded = domain.AccountRefunded(**ALICE, change=300, reason="account closed")
    reacting(transfers).to(refunded).then(domain.FailTransfer(transfer_id=T, reason="account closed"))


def test_an_expired_transfer_asks_the_target_to_refuse(domain: ModuleType, transfers: Any) -> None:
    reacting(transfers).to(domain.TransferExpired(**TRANSFER)).then(domain.RefuseCredit(**BOB))


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b'{"id": "alice", "amount": 0}', "amount"),
        (b'{"id": "alice", "amount": 10.5}', "amount"),
        (b'{"id": "", "amount": 1}', "id"),
        (b'{"id": "a b", "amount": 1}', "id"),
    ],
)
def test_a_command_is_checked_at_the_edge(domain: ModuleType, body: bytes, place: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=place):
        msgspec.json.decode(body, type=domain.Deposit)
