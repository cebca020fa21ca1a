"""The transfer, as a process: debit the source, credit the target; if the target refuses, give the money back.

    requested ──▶ debited ──▶ credited ──▶ completed
        │            └──▶ credit refused ──▶ refunded ──▶ failed
        └──▶ debit refused ──▶ failed

Events may come in any order and more than once, commands too, and the process may die anywhere between. Money is still
never lost and never made, because

1. the target answers a transfer once: `AccountCredited` or `CreditRefused`, whichever is in its stream first;
2. it is asked for credit only because of `AccountDebited`, so money arrives only after it was taken;
3. the source gives money back only because of `CreditRefused`, so what came back never arrives as well; it gives back
   what it took, once;
4. every event is handed over until its commands are carried out, so what was taken goes on to arrive or to come back.

Expiry asks the target to refuse, and adds no other way. If the target has taken the money, its answer stands and the
transfer completes. If it has not, it never will: a credit that is still on its way meets the refusal, and the source
gives back what it took. A debit that is still on its way meets the same: the source, asked to give back what it has not
taken, answers that it refuses, and then never takes it.

A refund is booked on a closed account too; its owner can still withdraw it.
"""

from collections.abc import Iterable
from datetime import timedelta

from domain import (
    AccountCredited,
    AccountDebited,
    AccountRefunded,
    CompleteTransfer,
    CreditAccount,
    CreditRefused,
    DebitAccount,
    DebitRefused,
    ExpireTransfer,
    FailTransfer,
    RefuseCredit,
    ReturnDebit,
    TransferExpired,
    TransferRequested,
    TransferStep,
)
from headrace import Command, Later, reactor

PATIENCE = timedelta(minutes=5)


@reactor("transfers", key="transfer_id")
def transfers(event: TransferRequested | TransferExpired | TransferStep) -> Iterable[Command | Later]:
    id = event.transfer_id
    match event:
        case TransferRequested(source=source, target=target):
            yield Later(ExpireTransfer(transfer_id=id), after=PATIENCE)
            yield DebitAccount(id=source, transfer_id=id, counterparty=target, amount=event.amount)
        case AccountDebited(id=source, counterparty=target):
            yield CreditAccount(id=target, transfer_id=id, counterparty=source, amount=-event.change)
        case AccountCredited():
            yield CompleteTransfer(transfer_id=id)
        case TransferExpired(source=source, target=target):
            yield RefuseCredit(id=target, transfer_id=id, counterparty=source)
        case CreditRefused(id=target, counterparty=source):
            yield ReturnDebit(id=source, transfer_id=id, counterparty=target, reason=event.reason)
        case DebitRefused() | AccountRefunded():
            yield FailTransfer(transfer_id=id, reason=event.reason)
