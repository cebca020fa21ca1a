"""Position: a place in the one global order, which is the commit order of PostgreSQL's write-ahead log.

Nothing else in Headrace orders changes: no clock, no sequence. A position is written as PostgreSQL writes an LSN,
with the ordinal of the change within its transaction behind a dot: `0/16B3748.3`.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Self

from headrace.errors import InvalidInput

_TEXT = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})(?:\.(\d{1,10}))?")
ORDINAL_MAX = 2**32 - 1


class Position(NamedTuple):
    """(commit LSN, ordinal within the transaction). Compares in commit order; ordinals count from 0.

    The ordinal `ORDINAL_MAX` stands for the whole transaction: everything that it changed.
    """

    lsn: int
    ordinal: int = ORDINAL_MAX

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `16/B374D848` (the whole transaction) or `16/B374D848.3`. Raises InvalidInput."""
        match = _TEXT.fullmatch(text)
        if match is None or (match[3] is not None and int(match[3]) > ORDINAL_MAX):
            raise InvalidInput(
                f"Not a position: {text[:40]!r}.",
                "A position looks like 0/16B3748 or 0/16B3748.3.",
                "Use the position that a command answered with.",
            )
        lsn = (int(match[1], 16) << 32) | int(match[2], 16)
        return cls(lsn) if match[3] is None else cls(lsn, int(match[3]))

    def __str__(self) -> str:
        lsn = f"{self.lsn >> 32:X}/{self.lsn & 0xFFFFFFFF:X}"
        return lsn if self.ordinal == ORDINAL_MAX else f"{lsn}.{self.ordinal}"


START = Position(0, 0)
