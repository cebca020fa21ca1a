"""A bank: accounts are opened, renamed, paid into and closed, and money is transferred between them.

Money is whole cents: whole numbers add up exactly in Python, JSON, PostgreSQL and ClickHouse alike, and a Decimal would
be text in JSON. An account event's `change` is what it does to the balance, so a balance is a sum.

An account answers each transfer once as its source and once as its target, and the first answer stands; a repeated
command changes nothing, whatever its command id. It answers with an event even when it refuses: a process can see a
refusal that happened, and not one that was only said. `reactors.py` has the process, and why no money is lost.
"""

from collections.abc import Iterable
from typing import Annotated, Literal, Self
from uuid import UUID, uuid4

from msgspec import Meta, Struct, field
from msgspec.structs import asdict, replace

from headrace import Command, Event, Rejected, decider

Id = Annotated[str, Meta(min_length=1, max_length=40, pattern=r"^[\w-]+$")]
Name = Annotated[str, Meta(min_length=1, max_length=80)]
Email = Annotated[str, Meta(max_length=254, pattern=r"^[^@\s]+@[^@\s]+$")]
Cents = Annotated[int, Meta(gt=0, le=100_000_000_000)]
Reason = Literal["no such account", "account closed", "insufficient funds", "expired"]

# What people ask for.


class OpenAccount(Command, stream="account-{id}", route="/open-account"):
    id: Id
    name: Name
    email: Email | None = None


class ChangeName(Command, stream="account-{id}", route="/change-name"):
    id: Id
    name: Name


class ChangeEmail(Command, stream="account-{id}", route="/change-email"):
    id: Id
    email: Email


class Deposit(Command, stream="account-{id}", route="/deposit"):
    id: Id
    amount: Cents


class Withdraw(Command, stream="account-{id}", route="/withdraw"):
    id: Id
    amount: Cents


class CloseAccount(Command, stream="account-{id}", route="/close-account"):
    id: Id


class RequestTransfer(Command, stream="transfer-{transfer_id}", route="/transfer"):
    source: Id
    target: Id
    amount: Cents
    transfer_id: UUID = field(default_factory=uuid4)


# What the process asks for, and nobody else can. `counterparty` is the account on the other side.


class DebitAccount(Command, stream="account-{id}", internal=True):
    id: Id
    transfer_id: UUID
    counterparty: Id
    amount: Cents


class CreditAccount(Command, stream="account-{id}", internal=True):
    id: Id
    transfer_id: UUID
    counterparty: Id
    amount: Cents


class RefuseCredit(Command, stream="account-{id}", internal=True):
    id: Id
    transfer_id: UUID
    counterparty: Id


class ReturnDebit(Command, stream="account-{id}", internal=True):
    id: Id
    transfer_id: UUID
    counterparty: Id
    reason: Reason


class CompleteTransfer(Command, stream="transfer-{transfer_id}", internal=True):
    transfer_id: UUID


class FailTransfer(Command, stream="transfer-{transfer_id}", internal=True):
    transfer_id: UUID
    reason: Reason


class ExpireTransfer(Command, stream="transfer-{transfer_id}", internal=True):
    transfer_id: UUID


class AccountEvent(Event, omit_defaults=True):
    """What happened to an account. Each kind says what it is about and leaves out the rest."""

    id: str
    name: str | None = None
    email: str | None = None
    change: int = 0
    transfer_id: UUID | None = None
    counterparty: str | None = None
    reason: Reason | None = None


class AccountCreated(AccountEvent): ...


class NameChanged(AccountEvent): ...


class EmailChanged(AccountEvent): ...


class AccountDeleted(AccountEvent): ...


class Deposited(AccountEvent): ...


class Withdrawn(AccountEvent): ...


class TransferStep(AccountEvent):
    """An account's answer to a transfer."""

    transfer_id: UUID
    counterparty: str


class AccountDebited(TransferStep): ...


class DebitRefused(TransferStep):
    reason: Reason


class AccountCredited(TransferStep): ...


class CreditRefused(TransferStep):
    reason: Reason


class AccountRefunded(TransferStep):
    reason: Reason


class TransferEvent(Event):
    transfer_id: UUID
    source: str
    target: str
    amount: int
    reason: Reason | None = None


class TransferRequested(TransferEvent): ...


class TransferExpired(TransferEvent):
    """Its time is up: the target takes it now or never. How it ends is said by what follows."""


class TransferCompleted(TransferEvent): ...


class TransferFailed(TransferEvent):
    reason: Reason


class Account(Struct, frozen=True):
    status: Literal["no such account", "open", "account closed"] = "no such account"
    balance: int = 0
    answers: dict[UUID, TransferStep] = {}

    def evolve(self, event: AccountEvent) -> Self:
        match event:
            case AccountCreated():
                return replace(self, status="open")
            case AccountDeleted():
                return replace(self, status="account closed")
            case TransferStep():
                answers = {**self.answers, event.transfer_id: event}
                return replace(self, balance=self.balance + event.change, answers=answers)
        return replace(self, balance=self.balance + event.change)


class Transfer(Struct, frozen=True):
    last: TransferEvent | None = None

    def evolve(self, event: TransferEvent) -> Self:
        return type(self)(event)


@decider(OpenAccount)
def open_account(command: OpenAccount, account: Account) -> Iterable[Event]:
    if account.status != "no such account":
        raise Rejected(f"There has been an account {command.id} already.", hint="Choose another id.")
    yield AccountCreated(id=command.id, name=command.name, email=command.email)


@decider(ChangeName, ChangeEmail, Deposit)
def change(command: ChangeName | ChangeEmail | Deposit, account: Account) -> Iterable[Event]:
    check_open(command.id, account)
    match command:
        case ChangeName():
            yield NameChanged(id=command.id, name=command.name)
        case ChangeEmail():
            yield EmailChanged(id=command.id, email=command.email)
        case Deposit():
            yield Deposited(id=command.id, change=command.amount)


@decider(Withdraw)
def withdraw(command: Withdraw, account: Account) -> Iterable[Event]:
    """Of a closed account too: a transfer may have come back after it was closed, and that is its owner's money."""
    if account.balance < command.amount:
        raise Rejected(f"Account {command.id} does not hold {command.amount}.", f"It holds {account.balance}.")
    yield Withdrawn(id=command.id, change=-command.amount)


@decider(CloseAccount)
def close_account(command: CloseAccount, account: Account) -> Iterable[Event]:
    check_open(command.id, account)
    if account.balance:
        raise Rejected(f"Account {command.id} still holds {account.balance}.", hint="Withdraw or transfer it first.")
    yield AccountDeleted(id=command.id)


def check_open(id: str, account: Account) -> None:
    if account.status != "open":
        raise Rejected(f"Account {id} is not open: {account.status}.")


@decider(DebitAccount, CreditAccount, RefuseCredit, ReturnDebit)
def answer(command: DebitAccount | CreditAccount | RefuseCredit | ReturnDebit, account: Account) -> Iterable[Event]:
    """What the account answers to a transfer, unless it has answered before."""
    to = {"id": command.id, "transfer_id": command.transfer_id, "counterparty": command.counterparty}
    before = account.answers.get(command.transfer_id)
    match command:
        case ReturnDebit() if isinstance(before, AccountDebited):
            yield AccountRefunded(**to, change=-before.change, reason=command.reason)
        case _ if before is not None:
            return
        case DebitAccount() if account.status != "open":
            yield DebitRefused(**to, reason=account.status)
        case DebitAccount() if account.balance < command.amount:
            yield DebitRefused(**to, reason="insufficient funds")
        case DebitAccount():
            yield AccountDebited(**to, change=-command.amount)
        case CreditAccount() if account.status != "open":
            yield CreditRefused(**to, reason=account.status)
        case CreditAccount():
            yield AccountCredited(**to, change=command.amount)
        case RefuseCredit():
            yield CreditRefused(**to, reason="expired")
        case ReturnDebit():  # nothing was taken yet: now nothing will be
            yield DebitRefused(**to, reason=command.reason)


@decider(RequestTransfer)
def request_transfer(command: RequestTransfer, transfer: Transfer) -> Iterable[Event]:
    if transfer.last is not None:
        raise Rejected(f"There is a transfer {command.transfer_id} already.", hint="Request it under another id.")
    if command.source == command.target:
        raise Rejected("A transfer goes from one account to another.", f"Both are {command.source}.")
    yield TransferRequested(**asdict(command))


@decider(ExpireTransfer, CompleteTransfer, FailTransfer)
def follow(command: ExpireTransfer | CompleteTransfer | FailTransfer, transfer: Transfer) -> Iterable[Event]:
    """Where the transfer stands, unless it has ended."""
    last = transfer.last
    if last is None or isinstance(last, TransferCompleted | TransferFailed):
        return
    match command:
        case CompleteTransfer():
            yield TransferCompleted(**asdict(last))
        case FailTransfer(reason=reason):
            yield TransferFailed(**asdict(last) | {"reason": reason})
        case ExpireTransfer() if isinstance(last, TransferRequested):
            yield TransferExpired(**asdict(last))
