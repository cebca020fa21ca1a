"""A worker that was killed while it built read models, or left a broken one, starts again and puts it right."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest
from support.read_side import ReadSide, make_batch

from headrace.streaming_sql.definition import define_all
from headrace.streaming_sql.parser import parse
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.definitions import (
    FAILED,
    FILLING,
    READY,
    WANTED,
    StoredDefinition,
    read_definitions,
    write_definition,
)

DEFINITIONS = """
CREATE STREAM deposits AS SELECT account, amount FROM Deposited WHERE amount > 0;
CREATE TABLE balances AS SELECT account, SUM(amount) AS total FROM deposits GROUP BY account;
"""
EVENTS: list[tuple[str, dict[str, object]]] = [("Deposited", {"account": f"a{n % 3}", "amount": n}) for n in range(40)]


@pytest.fixture
async def read_side(clickhouse: ClickHouse) -> ReadSide:
    side = ReadSide(clickhouse, f"source_{uuid4().hex[:12]}")
    await side.start()
    await side.deploy(DEFINITIONS)
    await side.loader.load(make_batch(100, EVENTS))
    return side


async def states(side: ReadSide) -> dict[str, str]:
    return {name: row.state for name, row in (await read_definitions(side.clickhouse, side.source)).items()}


async def assert_right(side: ReadSide) -> None:
    for name in ("deposits", "balances"):
        assert await side.content(name) == await side.batch_content(name)
        assert await side.content(name)
    assert set((await states(side)).values()) == {READY}


@pytest.mark.parametrize("dropped", [(), ("balances", "balances__state"), ("balances", "balances__state", "deposits")])
async def test_build_that_was_cut_off_between_its_drops_is_built_again(
    read_side: ReadSide, dropped: tuple[str, ...]
) -> None:
    for model in read_side.models:
        await write_definition(
            read_side.clickhouse, read_side.source, replace(model.stored, state=FILLING, applied_batch=0)
        )
    for name in dropped:
        await read_side.clickhouse.execute(f"DROP TABLE `{read_side.clickhouse.database}`.`{name}` SYNC")
    again = read_side.again()
    await again.start()
    await again.deploy(DEFINITIONS)
    await assert_right(again)


async def test_changed_stream_has_its_readers_rebuilt_even_when_cut_off(read_side: ReadSide) -> None:
    """The stream is new by its fingerprint, its reader is not: only what was written down tells that it must go too."""
    changed = DEFINITIONS.replace("amount > 0", "amount > 20")
    await read_side.deployer.deploy(define_all(parse(changed), read_side.deployer.aggregates))
    assert set((await states(read_side)).values()) == {FILLING}
    again = read_side.again()
    await again.start()
    await again.deploy(changed)
    await assert_right(again)


async def test_rebuild_asked_for_while_no_worker_ran_is_carried_out(read_side: ReadSide) -> None:
    model = read_side.models.get("deposits")
    assert model is not None
    await write_definition(read_side.clickhouse, read_side.source, replace(model.stored, state=WANTED, applied_batch=0))
    again = read_side.again()
    await again.start()
    await again.deployer.carry_out_requests()
    await again.keeper.fill_all()
    await assert_right(again)


@pytest.mark.parametrize(
    "statement", ["CREATE TABLE broken AS SELECT", "CREATE STREAM broken AS SELECT nosuch FROM Deposited"]
)
async def test_refused_definition_does_not_keep_the_worker_from_starting(read_side: ReadSide, statement: str) -> None:
    wanted = StoredDefinition("broken", statement, "", WANTED)
    await write_definition(read_side.clickhouse, read_side.source, wanted)
    await read_side.deployer.carry_out_requests()
    assert (await states(read_side))["broken"] == FAILED
    again = read_side.again()
    await again.start()
    await again.deploy(DEFINITIONS)
    assert await states(again) == {"deposits": READY, "balances": READY, "broken": FAILED}


async def test_read_model_whose_source_was_dropped_by_hand_does_not_keep_the_worker_from_starting(
    read_side: ReadSide,
) -> None:
    await read_side.clickhouse.execute(f"DROP TABLE `{read_side.clickhouse.database}`.deposits SYNC")
    await read_side.loader.load(make_batch(200, EVENTS))
    again = read_side.again()
    await again.start()
    assert set((await states(again)).values()) == {FAILED}
