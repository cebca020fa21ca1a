"""A slot that is lost, and a server that was replaced: `headrace recover` loads everything again, and loses nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from support.fault_domain import Deposited
from support.mirror_side import MirrorSide, mirror_side
from support.waiting import until

from headrace.capture.connection import SlotAddress, open_stream
from headrace.capture.origin import Origin
from headrace.embedded.clickhouse.process import EmbeddedClickHouse
from headrace.embedded.postgres import EmbeddedPostgres
from headrace.errors import AlreadyRunning, Corrupt, InvalidSQL, Unavailable
from headrace.event_store.event_store import EventStore
from headrace.events.position import Position
from headrace.runtime.databases import Addresses
from headrace.runtime.health import Health, Status, read_health
from headrace.runtime.project import Project
from headrace.runtime.recovery import recover
from headrace.settings import Settings
from headrace.warehouse.mirrors import MirrorRequest, read_mirrors, read_requests, write_request
from headrace.warehouse.origins import read_origin, write_origin
from headrace.warehouse.watermark import read_watermark, write_watermark

READ_MODELS = """
CREATE TABLE totals AS SELECT n, COUNT(*) AS times FROM t GROUP BY n;
CREATE TABLE balances AS SELECT account, COUNT(*) AS deposits, SUM(amount) AS total FROM Deposited GROUP BY account;
"""


@pytest.fixture
async def side(
    postgres_server: EmbeddedPostgres, clickhouse_server: EmbeddedClickHouse, migrated: str
) -> AsyncIterator[MirrorSide]:
    tables = ["public.t", "public.keyless", "public.p"]
    async with mirror_side(postgres_server.url, clickhouse_server.url, migrated, tables) as made:
        (made.root / "streams").mkdir()
        (made.root / "streams" / "models.sql").write_text(READ_MODELS)
        await made.run(
            "CREATE TABLE t (id int PRIMARY KEY, n int); CREATE TABLE keyless (n int); "
            "ALTER TABLE keyless REPLICA IDENTITY FULL; CREATE TABLE p (id int PRIMARY KEY); "
            "INSERT INTO t SELECT g, 1 FROM generate_series(1, 100) AS g; INSERT INTO keyless VALUES (1), (1)"
        )
        yield made


async def deposit(side: MirrorSide, *amounts: int) -> None:
    async with EventStore(side.url) as store:
        for amount in amounts:
            await store.append(f"account-{amount}", [Deposited(account="a", amount=amount, note="")])


async def rows(side: MirrorSide, sql: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await side.clickhouse.rows(sql)]


async def read_models_hold(side: MirrorSide, totals: list[tuple[int, int]], balance: tuple[int, int]) -> None:
    async def hold() -> bool:
        try:
            found = await rows(side, "SELECT n, times FROM totals ORDER BY n")
            summed = await rows(side, "SELECT deposits, total FROM balances")
        except InvalidSQL:  # not made yet
            return False
        return (found, summed) == (totals, [balance])

    await until(hold)


async def request(side: MirrorSide, name: str, wish: str) -> None:
    await write_request(side.clickhouse, side.mirrored.source, MirrorRequest(name, wish))

    async def answered() -> bool:
        return not any(each.wish for each in await read_requests(side.clickhouse, side.mirrored.source))

    await until(answered)


async def run_recover(side: MirrorSide) -> list[str]:
    project = Project.load(Settings.load(side.root))
    return (await recover(project, Addresses(side.url, side.clickhouse_url))).tables


async def health(side: MirrorSide) -> Status:
    async with EventStore(side.url) as store:
        return await read_health(Health(store, side.clickhouse, side.mirrored.source, side.url, side.slot))


async def test_everything_is_loaded_again_behind_a_new_slot(side: MirrorSide) -> None:
    """Changes and events that no log has any more are there; old rows are readable until the copy is complete. Also
    when the server is another one, whose log has not come as far.
    """
    await deposit(side, 1, 2)
    side.start()
    await side.mirrored.wait_until_ready()
    await deposit(side, 3)
    await side.run("UPDATE t SET n = 2 WHERE id > 50")
    await read_models_hold(side, [(1, 50), (2, 50)], (3, 6))
    await request(side, "public.p", "pause")
    assert (await health(side)).ready

    await side.stop()
    await side.run("SELECT pg_drop_replication_slot(%s)", side.slot)
    await side.run("DELETE FROM t WHERE id <= 10; UPDATE t SET n = 3 WHERE id = 11; INSERT INTO keyless VALUES (2)")
    await deposit(side, 4)
    source, far = side.mirrored.source, Position(1 << 60)
    loaded = await read_watermark(side.clickhouse, source)
    await write_watermark(side.clickhouse, source, batch=loaded.batch, position=far, committed_at=loaded.committed_at)
    side.start()
    with pytest.raises(Corrupt, match="headrace recover"):
        await side.ended()
    assert any("headrace recover" in problem for problem in (await health(side)).problems)

    assert await run_recover(side) == ["public.keyless", "public.p", "public.t"]
    assert await rows(side, "SELECT count(), sum(n) FROM t") == [(100, 150)]
    assert await rows(side, "SELECT sum(times) FROM totals") == [(100,)]
    await side.die_at("events_inserted")
    side.start()
    await request(side, "public.p", "resume")
    await side.assert_whole(from_empty=False)
    await read_models_hold(side, [(1, 39), (2, 50), (3, 1)], (4, 10))
    assert await rows(side, "SELECT count(), uniqExact(stream, version) FROM events") == [(4, 4)]

    await side.run("UPDATE t SET n = 4; DELETE FROM keyless WHERE n = 1; INSERT INTO p VALUES (1)")
    await deposit(side, 5)
    await side.assert_whole(from_empty=False)
    await read_models_hold(side, [(4, 90)], (5, 15))


async def test_a_server_that_took_over_is_followed_if_it_has_all_that_was_loaded(
    tmp_path: Path, clickhouse_server: EmbeddedClickHouse
) -> None:
    """A server that is promoted leaves its timeline, as a standby does that takes over."""
    server = EmbeddedPostgres(tmp_path / "postgres")
    await server.start()
    try:
        async with mirror_side(server.url, clickhouse_server.url, "template0", ["public.t"]) as side:
            await side.run("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
            side.start()
            await side.mirrored.wait_until_ready()
            await side.stop()
            await server.stop()
            (tmp_path / "postgres" / "standby.signal").touch()
            await server.start()
            await side.run("SELECT pg_promote()")
            side.start()
            await side.run("INSERT INTO t VALUES (2)")
            await side.assert_whole(from_empty=False)
            await side.stop()
            origin = await read_origin(side.clickhouse, side.mirrored.source)
            assert origin is not None
            assert origin[1] == 2

            # As if what is loaded had come from the first timeline all along.
            await write_origin(side.clickhouse, side.mirrored.source, origin[0], 1)
            side.start()
            with pytest.raises(Corrupt, match="headrace recover"):
                await side.ended()
            address = SlotAddress(side.url, side.slot, side.slot, origin=Origin(origin[0], 1))
            with pytest.raises(Unavailable, match="Another PostgreSQL server"):
                await asyncio.to_thread(open_stream, address, start_lsn=0)
    finally:
        await server.stop()


async def test_a_recovery_that_was_cut_off_is_begun_anew(side: MirrorSide) -> None:
    """A worker refuses what it left behind; one that runs is in its way."""
    side.start()
    await side.mirrored.wait_until_ready()
    await side.run("UPDATE t SET n = 2")
    await side.assert_whole(from_empty=False)
    with pytest.raises(AlreadyRunning):
        await run_recover(side)
    await side.stop()
    source = side.mirrored.source
    before = (await read_watermark(side.clickhouse, source)).batch
    await run_recover(side)
    await side.clickhouse.execute("DELETE FROM headrace.watermarks WHERE source = {source:String}", {"source": source})
    side.start()
    with pytest.raises(Corrupt, match="headrace recover"):
        await side.ended()

    await run_recover(side)
    assert (await read_watermark(side.clickhouse, source)).batch > before
    side.start()
    await side.assert_whole(from_empty=False)
    assert {each.generation for each in (await read_mirrors(side.clickhouse, source)).values()} == {2}
