"""Turns: one after the other in a stream, side by side in different ones, and nothing is kept."""

from __future__ import annotations

import asyncio

import pytest

from headrace.commands.turns import Turns


async def test_commands_of_one_stream_come_one_after_the_other_in_their_order() -> None:
    turns, said = Turns(), list[str]()

    async def command(number: int) -> None:
        async with turns.take("a"):
            said.append(f"begin {number}")
            await asyncio.sleep(0)
            said.append(f"end {number}")

    await asyncio.gather(*(command(number) for number in range(3)))
    assert said == [f"{what} {number}" for number in range(3) for what in ("begin", "end")]


async def test_streams_do_not_wait_for_each_other_and_are_forgotten() -> None:
    turns, met = Turns(), asyncio.Barrier(2)

    async def command(stream: str) -> None:
        async with turns.take(stream):
            await asyncio.wait_for(met.wait(), timeout=10)

    await asyncio.gather(command("a"), command("b"))
    assert not vars(turns)["_locks"]
    assert not vars(turns)["_waiting"]


async def test_one_that_fails_or_is_cancelled_gives_its_turn_on() -> None:
    turns = Turns()
    with pytest.raises(ValueError, match="refused"):
        async with turns.take("a"):
            raise ValueError("refused")
    async with turns.take("a"):
        waiting = asyncio.create_task(turns.take("a").__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
    async with asyncio.timeout(10), turns.take("a"):
        pass
