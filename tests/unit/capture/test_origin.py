"""Whether a server continues the log that was loaded: by its system identifier and the histories it comes from."""

from __future__ import annotations

import pytest

from headrace.capture.origin import Origin, why_no_continuation
from headrace.events.position import Position

HISTORY = "1\t0/3000000\tno recovery target specified\n\n2\t0/5000060\tbefore 2026-01-01 00:00:00\n"


@pytest.mark.parametrize(
    ("found", "known", "after", "reason"),
    [
        (Origin(7, 3), Origin(7, 3), 0x9000000, ""),
        (Origin(7, 3), Origin(7, 1), 0x2FFFFFF, ""),
        (Origin(7, 3), Origin(7, 2), 0x4000000, ""),
        (Origin(7, 3), Origin(7, 1), 0x3000000, "It left timeline 1 at 0/3000000"),
        (Origin(7, 3), Origin(7, 4), 0x1000000, "does not come from timeline 4"),
        (Origin(8, 1), Origin(7, 1), 0x1000000, "system identifier is 8"),
    ],
    ids=["the same", "taken over behind it", "twice, from the second", "taken over before it", "a sibling", "another"],
)
def test_a_server_continues_what_it_shares(found: Origin, known: Origin, after: int, reason: str) -> None:
    told = why_no_continuation(found, HISTORY, known, Position(after))
    assert bool(told) == bool(reason)
    assert reason in told
