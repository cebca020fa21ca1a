"""Condition: what must not have happened since a decision was read. Consistency across streams, by types and tags.

The vocabulary of https://dcb.events/specification: a query is a set of items here called criteria, and an append may
fail if events match it after what was read.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from headrace.errors import InvalidInput, LimitExceeded
from headrace.events.event import check_tag

CRITERIA_MAX = 100
NAMES_MAX = 100


class Criterion(msgspec.Struct, frozen=True):
    """Events of one of these `types` (none given: of any) that carry all of these `tags` (none given: any).

    Without both it matches every event.
    """

    types: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


class Condition(msgspec.Struct, frozen=True):
    """Append only if no event matches one of `criteria` that the read which gave `after` had not seen.

    `after` is `Matching.after`, a PostgreSQL snapshot as text; None: nothing was read, so no event may match at all.
    """

    criteria: tuple[Criterion, ...]
    after: str | None = None


def check_criteria(criteria: Sequence[Criterion]) -> None:
    """Refuse what cannot be asked. Raises InvalidInput for none, LimitExceeded for too many."""
    if not criteria:
        raise InvalidInput("There are no criteria.", hint="Criterion() without types and tags matches every event.")
    largest = max(len(criterion.types) + len(criterion.tags) for criterion in criteria)
    if len(criteria) > CRITERIA_MAX or largest > NAMES_MAX:
        raise LimitExceeded(
            f"At most {CRITERIA_MAX} criteria with {NAMES_MAX} types and tags each can be asked for.",
            f"There are {len(criteria)}; the largest names {largest}.",
        )
    for criterion in criteria:
        for tag in criterion.tags:
            check_tag(tag)


def held_alone(condition: Condition) -> set[str]:
    """The names that a conditional append holds alone: what every event that could match touches, see `touched`."""
    held: set[str] = set()
    for criterion in condition.criteria:
        if criterion.tags:
            held.add(f"tag {criterion.tags[0]}")
        else:
            held.update({f"type {name}" for name in criterion.types} or {"everything"})
    return held


def touched(types: Sequence[str], tags: Sequence[str]) -> set[str]:
    """The names that events of these types and tags touch."""
    return {f"type {name}" for name in types} | {f"tag {name}" for name in tags} | ({"everything"} if types else set())
