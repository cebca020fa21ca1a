"""The time range of a page, as its URL says it: `?range=30d`, or `?from=…&to=…`.

A relative range stays relative all the way to the query, so that a live page slides with the clock. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self
from urllib.parse import urlencode

from headrace.errors import InvalidInput
from headrace.queries.parameter_type import UNIT_SECONDS, parse_moment
from headrace.queries.parameters import Values

RANGE_PATTERN = r"^[1-9]\d{0,4}[smhdwy]$"
RANGE_MAX_S = 50 * UNIT_SECONDS["y"]
TIME_PARAMETERS = ("from", "to")

# What the picker offers: the text of the URL and the words on the page.
CHOICES = (
    ("1h", "1 hour"),
    ("24h", "24 hours"),
    ("7d", "7 days"),
    ("30d", "30 days"),
    ("90d", "90 days"),
    ("1y", "1 year"),
)
_WORDS = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week", "y": "year"}


@dataclass(frozen=True, slots=True)
class TimeRange:
    """Either `relative` (like `30d`, ending now) or both ends. `since` and `until` are texts that a query reads."""

    relative: str | None
    since: str
    until: str

    @classmethod
    def of(cls, values: Values, *, default: str, now: datetime) -> Self:
        """Read the range of a request; `default` when it names none. Raises InvalidInput for a malformed one."""
        since, until, relative = (_last(values.get(name)) for name in ("from", "to", "range"))
        if since or until:
            start, end = since or f"now-{default}", until or "now"
            try:
                if parse_moment(start, now) >= parse_moment(end, now):
                    raise InvalidInput("The time range is empty.", f"from {start} is not before to {end}.")
            except (ValueError, OverflowError) as error:
                raise InvalidInput(
                    "The time range cannot be read.",
                    f"Got from={start[:40]!r} to={end[:40]!r}.",
                    "Write times like 2026-01-31T12:00:00Z, or now-7d.",
                ) from error
            return cls(None, start, end)
        relative = relative or default
        if relative[-1] not in UNIT_SECONDS or not relative[:-1].isascii() or not relative[:-1].isdigit():
            raise InvalidInput(
                "The time range cannot be read.", f"Got range={relative[:40]!r}.", "Write one like 24h, 30d or 1y."
            )
        if len(relative) > 7 or not 0 < int(relative[:-1]) * UNIT_SECONDS[relative[-1]] <= RANGE_MAX_S:
            raise InvalidInput("The time range is not usable.", f"Got range={relative[:40]!r}.", "Ask for 1s to 50y.")
        return cls(relative, f"now-{relative}", "now")

    @property
    def values(self) -> dict[str, list[str]]:
        """`from` and `to` as a caller of a query sends them."""
        return {"from": [self.since], "to": [self.until]}

    @property
    def words(self) -> str:
        """For a heading: `Last 30 days`, or the two ends."""
        if self.relative is None:
            return f"{self.since} to {self.until}"
        count, unit = int(self.relative[:-1]), _WORDS[self.relative[-1]]
        return f"Last {unit}" if count == 1 else f"Last {count} {unit}s"

    def ends(self, now: datetime) -> tuple[datetime, datetime]:
        """Both ends as moments in UTC."""
        return parse_moment(self.since, now), parse_moment(self.until, now)


def link(values: Values, **changed: str) -> str:
    """The query string of this page with some parameters changed; `range` replaces `from` and `to`."""
    kept = [(name, value) for name, sent in values.items() if name not in (*TIME_PARAMETERS, "range") for value in sent]
    return "?" + urlencode(
        [(name, value) for name, value in kept if value and name not in changed] + list(changed.items())
    )


def _last(sent: Sequence[str] | None) -> str:
    return sent[-1].strip() if sent else ""
