"""The text that was given, places in it, and errors that show the place.

Every error of this package is made by `Script.error`, so that each one names line and column and draws the
caret. Offsets count characters from 0; lines and columns, which only people see, count from 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from headrace.errors import InvalidSQL

EXCERPT_CHARS_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class Span:
    """The characters from `start` up to, not including, `end`."""

    start: int
    end: int

    def to(self, other: Span) -> Span:
        """The span from the start of this one to the end of `other`."""
        return Span(self.start, other.end)


NOWHERE: Final = Span(0, 0)


@dataclass(frozen=True)
class Script:
    """One text of one or more statements; `file` is only shown in errors, and may be empty."""

    text: str
    file: str = ""

    def error(self, message: str, span: Span, hint: str = "") -> InvalidSQL:
        """The error to raise for what stands at `span`; its detail holds the place and an excerpt with a caret."""
        line, column = self._line_and_column(span)
        return InvalidSQL(
            message, f"{self.place(span)}\n{self._excerpt(span, line, column)}", hint, line=line, column=column
        )

    def place(self, span: Span) -> str:
        """Where `span` begins, for people: `views.sql, line 3, column 12`."""
        line, column = self._line_and_column(span)
        place = f"line {line}, column {column}"
        return f"{self.file}, {place}" if self.file else place

    def _line_and_column(self, span: Span) -> tuple[int, int]:
        before = self.text[: span.start]
        return before.count("\n") + 1, span.start - before.rfind("\n")

    def _excerpt(self, span: Span, line: int, column: int) -> str:
        line_start = span.start - column + 1
        line_end = self.text.find("\n", span.start)
        if line_end < 0:
            line_end = len(self.text)
        # A long line is cut to a window around the place, or the caret would wrap out of sight.
        start = max(line_start, span.start - EXCERPT_CHARS_MAX // 2)
        end = min(line_end, start + EXCERPT_CHARS_MAX)
        shown = "".join(c if c.isprintable() else " " for c in self.text[start:end])
        carets = "^" * max(1, min(span.end, end) - span.start)
        number = str(line)
        return f"  {number} | {shown}\n  {' ' * len(number)} | {' ' * (span.start - start)}{carets}"


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """`Did you mean "x"?` for the candidate nearest to `word` in spelling, or an empty string if none is near."""
    by_folded = {candidate.casefold(): candidate for candidate in sorted(candidates)}
    near = get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.6)
    return f'Did you mean "{by_folded[near[0]]}"?' if near else ""
