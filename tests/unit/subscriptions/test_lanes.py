"""Order per key, and a checkpoint that passes nothing that has not ended."""

from __future__ import annotations

import asyncio
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from headrace.event_store.follow import Checkpoint
from headrace.subscriptions.lanes import Lanes, Progress


def at(place: int) -> Checkpoint:
    return Checkpoint(seen=f"{place}:{place}:")


@given(st.integers(0, 30), st.randoms(use_true_random=False))
def test_whatever_ends_first_the_checkpoint_lies_before_all_that_has_not_ended(count: int, draw: Random) -> None:
    progress = Progress(at(1))
    marks = [(place, progress.expect(at(place))) for place in range(2, count + 2)]
    progress.reach(at(count + 2))
    going = {place for place, _ in marks}
    draw.shuffle(marks)
    for place, mark in marks:
        assert progress.checkpoint == at(min(going) - 1)
        progress.end(mark)
        going.discard(place)
    assert progress.checkpoint == at(count + 2)
    assert progress.waiting == 0


async def test_jobs_of_a_key_run_in_order_and_those_of_other_keys_in_between() -> None:
    done: list[tuple[str, int]] = []
    gate = asyncio.Event()

    async def run(key: str, number: int) -> None:
        if key == "a":
            await gate.wait()
        done.append((key, number))
        if key == "b" and number == 2:
            gate.set()

    async with asyncio.TaskGroup() as group:
        lanes = Lanes(group)
        for number in range(3):
            for key in ("a", "b"):
                lanes.add(key, lambda key=key, number=number: run(key, number))  # type: ignore[misc]
    assert done == [("b", 0), ("b", 1), ("b", 2), ("a", 0), ("a", 1), ("a", 2)]
