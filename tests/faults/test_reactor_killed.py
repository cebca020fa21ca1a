"""The reactors' process is killed again and again under load; what it gives happens once for each event, in order."""

from __future__ import annotations

from random import Random

import msgspec
import psycopg
import pytest
from support.fault_domain import Deposited
from support.fault_load import Acknowledged, writing
from support.fault_proof import read_stored
from support.fault_system import TIMEOUT_S, System, running_system
from support.waiting import ROUNDS, until

from headrace.event_store.event_store import EventStore

PAUSE_S = 0.2  # some 90 events a second: two commands for each of them are still to be done at the end
Notes = dict[str, list[str]]
_REACTIONS = "SELECT count(*) FROM headrace.events WHERE stream LIKE 'account-mirror-%'"


@pytest.mark.timeout(TIMEOUT_S)
async def test_each_reaction_happens_once_however_often_its_process_dies() -> None:
    acknowledged, draw = Acknowledged(), Random(11)
    async with running_system() as system:
        async with writing(system, acknowledged, pause_s=PAUSE_S):
            for _ in range(ROUNDS * 3):
                reactor = await system.reactor()
                await more_reactions(system, draw.randint(1, 300))
                await reactor.kill()
        reactor = await system.reactor()
        async with EventStore(system.postgres.url, pool_size=2) as store:

            async def all_is_done() -> bool:
                (state,) = await store.subscriptions.read()
                assert (state.dead_letters, state.failed) == (0, 0), reactor.log.read_text()[-4000:]
                return not state.scheduled and await store.subscriptions.count_new(state.checkpoint, None) == 0

            await until(all_is_done)
        await reactor.stop()
        notes = await read_notes(system)
    written = {account: len(found) for account, found in notes.items() if account.startswith("a")}
    assert sum(written.values()) == len(acknowledged.events)
    for account, count in written.items():
        mirrored = [f"{version}:{part}" for version in range(1, count + 1) for part in ("first", "second")]
        assert notes[f"mirror-{account}"] == mirrored
        late = [f"{version}:{part}" for version in range(10, count + 1, 10) for part in ("first", "second")]
        assert sorted(notes[f"later-{account}"]) == sorted(late)


async def more_reactions(system: System, count: int) -> None:
    """Wait until so many more events have come of the reactor's commands."""
    async with await psycopg.AsyncConnection.connect(system.postgres.url, autocommit=True) as connection:

        async def reactions() -> int:
            row = await (await connection.execute(_REACTIONS)).fetchone()
            assert row is not None
            return int(row[0])

        goal = await reactions() + count

        async def reached() -> bool:
            return await reactions() >= goal

        await until(reached)


async def read_notes(system: System) -> Notes:
    """The notes of each account's deposits, in order."""
    notes: Notes = {}
    for _, _, _, _, data, *_ in await read_stored(system):
        event = msgspec.json.decode(data, type=Deposited)
        notes.setdefault(event.account, []).append(event.note)
    return notes
