"""Bug classes 1, 2, 3 and 4 of change capture: what a restart repeats, skips, or lets PostgreSQL forget."""

from __future__ import annotations

import asyncio

import pytest
from support.capture_side import Database, read_rows, until

from headrace.bus.batch import Batch, Idle
from headrace.errors import Corrupt
from headrace.events.position import START, Position


async def test_resuming_at_every_position_repeats_and_skips_nothing(database: Database) -> None:
    """debezium/debezium#7531: several events share an LSN, so a resume by LSN alone skips or repeats."""
    source = await database.started(batch_rows_max=1)
    for numbers in ([1, 2, 3], [4], [5, 6], [7]):
        await database.append(*numbers)
    rows, batches = await read_rows(source, 7)
    assert rows == [1, 2, 3, 4, 5, 6, 7]
    assert [batch.confirm_lsn > 0 for batch in batches] == [False, False, True, True, False, True, True]
    await database.close_sources()

    for index, batch in enumerate(batches):
        resumed = await database.started(batch.last, takeover_s=20)
        rest, _ = await read_rows(resumed, len(rows) - 1 - index)
        assert rest == rows[index + 1 :]
        await database.close_sources()


async def test_a_planned_batch_is_read_again_with_its_exact_bounds(database: Database) -> None:
    source = await database.started(batch_rows_max=2)
    for numbers in ([1, 2, 3], [4], [5], [6, 7]):
        await database.append(*numbers)
    _, batches = await read_rows(source, 7)
    await database.close_sources()

    after = START
    for planned in batches:
        again = await database.started(after, batch_rows_max=1000)
        assert await again.next_batch(last=planned.last, wait_s=20) == planned
        await database.close_sources()
        after = planned.last


async def test_a_planned_end_that_never_comes_is_corrupt(database: Database) -> None:
    source = await database.started()
    await database.append(1)
    await database.append(2)

    with pytest.raises(Corrupt, match="has no place"):
        await source.next_batch(last=Position((await database.slot())[0] + 1, 3), wait_s=20)


async def test_nothing_is_confirmed_before_the_caller_says_so(database: Database) -> None:
    """airbytehq/airbyte#12821: confirmed before durable, then lost in a crash."""
    source = await database.started()
    begun, _ = await database.slot()
    await database.append(1)
    _, (batch,) = await read_rows(source, 1)
    await database.close_sources()
    assert (await database.slot())[0] == begun

    again = await database.started()
    assert (await read_rows(again, 1))[0] == [1]
    again.confirm(batch.confirm_lsn)

    async def confirmed() -> bool:
        return (await database.slot())[0] == batch.confirm_lsn

    await until(confirmed)


async def test_an_idle_slot_moves_on_with_writes_that_nobody_captures(database: Database) -> None:
    """ClickHouse/ClickHouse#42028: a slot whose tables are quiet pins the log of all other writes."""
    source = await database.started()
    await database.append(1)
    _, (batch,) = await read_rows(source, 1)
    await database.run("CREATE TABLE noise AS SELECT generate_series(1, 1000) n")
    ((written,),) = await database.run("SELECT (pg_current_wal_lsn() - '0/0')::bigint")

    seen = batch.last
    while seen.lsn < written - 1:
        idle = await source.next_batch(wait_s=20)
        assert isinstance(idle, Idle)
        assert idle.position > seen
        seen = idle.position
        source.confirm(idle.lsn)

    async def moved() -> bool:
        return bool((await database.slot())[0] >= written)

    await until(moved)
    await database.close_sources()
    resumed = await database.started(seen)
    await database.append(2)
    assert (await read_rows(resumed, 1))[0] == [2]


async def test_a_slot_that_is_ahead_is_corrupt(database: Database) -> None:
    """PostgreSQL starts such a slot without an error, and what lies between is gone."""
    source = await database.started()
    await database.append(1)
    await database.append(2)
    _, batches = await read_rows(source, 2)
    source.confirm(batches[-1].confirm_lsn)

    async def confirmed() -> bool:
        return (await database.slot())[0] == batches[-1].confirm_lsn

    await until(confirmed)
    await database.close_sources()
    for after in (START, Position(batches[-1].confirm_lsn - 2)):
        with pytest.raises(Corrupt, match="does not go on"):
            await database.started(after)
    await database.started(batches[-1].last)


async def test_a_new_slot_does_not_serve_read_models_that_already_hold_something(database: Database) -> None:
    """supabase/etl#935: the slot was made anew and the old checkpoint won."""
    source = database.source()
    await source.prepare()

    with pytest.raises(Corrupt, match="does not go on"):
        await source.start(Position(2**20))

    assert not await database.run("SELECT 1 FROM pg_replication_slots WHERE slot_name = %s", database.name)


async def test_a_slot_made_anew_is_found_out_although_its_maker_was_killed(database: Database) -> None:
    """The same, one crash later: the new slot is there, and nobody remembers that it is new."""
    source = await database.started()
    await database.append(1)
    _, (batch,) = await read_rows(source, 1)
    await database.close_sources()
    await database.drop_slot()
    await database.append(2)
    await database.source().prepare()

    with pytest.raises(Corrupt, match="does not go on"):
        await database.started(batch.last)


async def test_a_position_behind_the_end_of_the_log_is_corrupt(database: Database) -> None:
    await database.started()
    await database.close_sources()

    with pytest.raises(Corrupt, match="does not go on"):
        await database.started(Position(2**60))


async def test_a_cancelled_wait_loses_nothing(database: Database) -> None:
    source = await database.started(batch_rows_max=1)
    for number in range(1, 30):
        await database.append(number)
    rows: list[int] = []
    while len(rows) < 29:
        waiting = asyncio.ensure_future(source.next_batch(wait_s=20))
        await asyncio.sleep(0)
        if len(rows) % 2:
            waiting.cancel()
        try:
            handed = await waiting
        except asyncio.CancelledError:
            handed = await source.next_batch(wait_s=20)
        if isinstance(handed, Batch):
            rows += [n for table in handed.inserts.values() for n in table.column("version").to_pylist()]
    assert rows == list(range(1, 30))
