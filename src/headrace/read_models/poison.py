"""Poison: which rows of a mirrored table's changes make a statement fail, where positions do not tell rows apart.

Rows are told by a hash (`selection.row_of`). The range of hashes is halved until one is left; its rows are then read as
they stand in the change stream, or in the table while it is filled from there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from headrace.events.position import Position
from headrace.read_models.model import CannotAdvance, ReadModel
from headrace.streaming_sql.generate import extent_sql, images_sql
from headrace.streaming_sql.slice import Slice
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.dead_letters import DeadLetter

POISON_MAX = 1000
_HASH_MAX = 2**64 - 1
# A batch has a position for each change; a row that was copied has none. A letter of it stands at the watermark.
_ORDINAL_MAX = 2**32


@dataclass(frozen=True, slots=True)
class FailingRow:
    """`row` is its hash, `reason` what ClickHouse says."""

    row: int
    reason: str


async def find_failing_rows(
    rows: Slice, extent: Callable[[Slice], Awaitable[tuple[int, int]]], problem: Callable[[Slice], Awaitable[str]]
) -> list[FailingRow]:
    """The rows of a slice that fail on their own.

    Raises CannotAdvance for more than `POISON_MAX`, and when the fault is not theirs.
    """
    if reason := await problem(replace(rows, first_row=1, last_row=0)):  # no row at all
        raise CannotAdvance(reason)
    found: list[FailingRow] = []
    ranges = [(0, _HASH_MAX)]
    while ranges:
        first, last = ranges.pop()
        part = replace(rows, first_row=first, last_row=last)
        reason = await problem(part)
        if not reason:
            continue
        first, last = await extent(part)
        if first == last:
            found.append(FailingRow(first, reason))
            if len(found) > POISON_MAX:
                raise CannotAdvance(f"more than {POISON_MAX} rows of one batch fail; the first: {found[0].reason}")
        else:
            middle = (first + last) // 2
            ranges += [(middle + 1, last), (first, middle)]
    return found


async def extent_of(clickhouse: ClickHouse, model: ReadModel, rows: Slice) -> tuple[int, int]:
    """The least and the greatest hash in a slice that is not empty."""
    sql = extent_sql(model.definition, clickhouse.database, rows)
    ((first, last),) = await clickhouse.rows(sql, rows.parameters())
    return int(first), int(last)


async def letters_of(
    clickhouse: ClickHouse,
    model: ReadModel,
    rows: Slice,
    failing: list[FailingRow],
    *,
    at: Position,
    left_out: Collection[int],
) -> list[DeadLetter]:
    """A letter for each position with failing rows, which it holds as lines of JSON; `at` is the watermark.

    `left_out` are the hashes that are left out already: a letter takes the place of the one before it at its position,
    so it holds their rows too.
    """
    reasons = {each.row: each.reason for each in failing}
    sql = images_sql(model.definition, clickhouse.database, rows)
    answer = await clickhouse.raw(
        sql, {**rows.parameters(), "found": sorted({*reasons, *left_out})}, format="JSONEachRow"
    )
    lines: dict[Position, list[tuple[int, bytes]]] = {}
    batches: dict[Position, int] = {}
    for line in answer.splitlines():
        image = msgspec.json.decode(line)
        row = int(image["_row"])
        position = _position(image, row, rows, at)
        lines.setdefault(position, []).append((row, line))
        batches[position] = rows.upto if rows.current else int(image["_batch"])
    letters = []
    for position, images in lines.items():
        new = [row for row, _ in images if row in reasons]
        if new:
            raw = b"\n".join(line for _, line in images)
            letters.append(DeadLetter(model.name, position, batches[position], reasons[new[0]], raw))
    return letters


def _position(image: dict[str, Any], row: int, rows: Slice, at: Position) -> Position:
    if rows.current:
        return Position(at.lsn, row % _ORDINAL_MAX)
    return Position(int(image["_lsn"]), int(image["_ordinal"]))
