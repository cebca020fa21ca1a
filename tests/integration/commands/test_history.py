"""The state of a stream at any version or time equals its first events folded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import ModuleType
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.commands.domain import Domain
from headrace.commands.history import History
from headrace.errors import InvalidInput, Unknown
from headrace.event_store.event_store import EventStore

AMOUNTS = st.lists(st.integers(-9, 9).filter(bool), min_size=1, max_size=12)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(amounts=AMOUNTS, data=st.data())
async def test_the_state_at_a_version_is_the_first_events_folded(
    store: EventStore, domain: Domain, ledger: ModuleType, amounts: list[int], data: st.DataObject
) -> None:
    stream = f"account-{uuid4()}"
    events = [ledger.Deposited(amount=n) if n > 0 else ledger.Withdrawn(amount=-n) for n in amounts]
    await store.append(stream, events)
    history = History(store=store, domain=domain)
    version = data.draw(st.integers(0, len(events)))
    past = await history.at(stream, version)
    assert (past.version, past.state) == (version, {"balance": sum(amounts[:version])})
    assert (past.recorded_at is None) == (version == 0)
    assert (await history.difference(stream, version, version)).changes == []
    other = data.draw(st.integers(0, len(events)))
    changed = [(c.before, c.after) for c in (await history.difference(stream, version, other)).changes]
    assert changed in ([], [(sum(amounts[:version]), sum(amounts[:other]))])
    assert (changed == []) == (sum(amounts[:version]) == sum(amounts[:other]))


async def test_now_then_and_before_the_first_event(store: EventStore, domain: Domain, ledger: ModuleType) -> None:
    await store.append("account-1", [ledger.Deposited(amount=5)])
    history = History(store=store, domain=domain)
    now = datetime.now(UTC)
    assert (await history.at("account-1")).state == {"balance": 5}
    assert (await history.at("account-1", now + timedelta(hours=1))).version == 1
    before = await history.at("account-1", now - timedelta(days=1))
    assert (before.version, before.recorded_at, before.state) == (0, None, {"balance": 0})


async def test_a_stream_or_version_that_is_not_there_is_refused(
    store: EventStore, domain: Domain, ledger: ModuleType
) -> None:
    history = History(store=store, domain=domain)
    with pytest.raises(Unknown, match="no stream 'account-1'"):
        await history.at("account-1")
    await store.append("account-1", [ledger.Deposited(amount=5)])
    with pytest.raises(InvalidInput, match="no version 2"):
        await history.at("account-1", 2)
