"""The reactors of the fault tests: each of their projects has a copy of this file as its `reactors.py`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from domain import Deposit, Deposited  # type: ignore[import-not-found]
from headrace import Command, Later, StoredEvent, reactor


@reactor("mirror")
def mirror(event: Deposited, at: StoredEvent) -> Iterable[Command | Later]:
    """Every deposit once more, in an account of its own; every tenth a moment later too."""
    if event.account.startswith("mirror-") or event.account.startswith("later-"):
        return
    yield Deposit(account=f"mirror-{event.account}", amount=event.amount, note=str(at.version))
    if at.version % 10 == 0:
        later = Deposit(account=f"later-{event.account}", amount=event.amount, note=str(at.version))
        yield Later(later, after=timedelta(milliseconds=100))
