"""What read models need to know of mirrored tables. Whoever mirrors them tells; without, there are none."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol


class MirroredTables(Protocol):
    """The mirrored tables of one source, by their names in ClickHouse."""

    def names(self) -> Collection[str]:
        """All that there are, also those that are still copied."""

    def is_ready(self, name: str) -> bool:
        """Whether the table and its change stream stand as of the watermark. Changes between two batches only."""


class NoMirroredTables:
    """A source of events alone."""

    def names(self) -> Collection[str]:
        return ()

    def is_ready(self, name: str) -> bool:
        return False
