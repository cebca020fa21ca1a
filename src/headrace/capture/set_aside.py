"""Rows that cannot be handed on are taken out of their table one by one, each with its bytes and the reason."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from headrace.bus.batch import Definition, Undecodable
from headrace.capture.framing import Ints
from headrace.capture.places import Placed
from headrace.events.position import Position


def set_aside(
    rows: pa.RecordBatch,
    reasons: Mapping[int, str],
    *,
    definition: Definition,
    placed: Placed,
    which: Ints,
    personal: bool = False,
) -> tuple[pa.RecordBatch, list[Undecodable]]:
    """`rows` without those that `reasons` names by index, and these apart. Row i came by message `which[i]`.

    `personal`: the table has personal columns, so that nobody may see its bytes.
    """
    if not reasons:
        return rows, []
    keep = np.ones(len(which), np.bool_)
    keep[list(reasons)] = False
    return rows.filter(pa.array(keep)), [
        refuse(definition, placed, int(which[index]), reason, personal=personal)
        for index, reason in sorted(reasons.items())
    ]


def refuse(
    definition: Definition, placed: Placed, index: int, reason: str, *, offset: int = 0, personal: bool = False
) -> Undecodable:
    """The change that message `index` makes, or of several the one `offset` behind its first."""
    position = Position(int(placed.lsns[index]), int(placed.ordinals[index]) + offset)
    return Undecodable(definition.relation, position, reason, b"" if personal else placed.messages.raw(index))
