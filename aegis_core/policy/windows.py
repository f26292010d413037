"""Spans of time in rules: a window such as ``90s`` or ``1h``, and hours of a week such as ``mon-fri 09:00-17:00``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field

_SPAN = re.compile(r"([1-9]\d{0,6})(s|m|h|d)")
_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_MAX_MS = 31 * _UNIT_MS["d"]
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = "|".join(_DAYS)
_HOURS = re.compile(
    rf"(?P<days>(?:{_DAY})(?:-(?:{_DAY}))?(?:,(?:{_DAY})(?:-(?:{_DAY}))?)*)?"
    r"(?:(?:^|(?<=\w) )(?P<from>[01]\d|2[0-3]):(?P<from_min>[0-5]\d)-"
    r"(?P<to>[01]\d|2[0-4]):(?P<to_min>[0-5]\d))?"
)


def span_ms(span: str) -> int:
    """The length of a window in milliseconds.

    Raises:
        ValueError: it is not a window, or not 1 second to 31 days.
    """
    match = _SPAN.fullmatch(span)
    if match is None:
        raise ValueError("must be a number followed by s, m, h or d, such as 60s, 1m or 24h")
    length = int(match[1]) * _UNIT_MS[match[2]]
    if length > _MAX_MS:
        raise ValueError("is longer than 31 days")
    return length


@dataclass(frozen=True, slots=True)
class Hours:
    """Some hours of some days. Those that end before they begin last into the next morning."""

    days: frozenset[int]
    start: int
    end: int

    def hold(self, moment: datetime) -> bool:
        """Whether a local time lies in them; the end does not belong to them."""
        minute, day = moment.hour * 60 + moment.minute, moment.weekday()
        if self.start < self.end:
            return day in self.days and self.start <= minute < self.end
        return (day in self.days and minute >= self.start) or ((day - 1) % 7 in self.days and minute < self.end)


def read_hours(text: str) -> Hours:
    """Read ``mon-fri 09:00-17:00``, ``sat,sun`` or ``22:00-06:00``.

    Raises:
        ValueError: what it should look like.
    """
    match = _HOURS.fullmatch(" ".join(text.lower().split()))
    if match is None or not (match["days"] or match["from"]):
        raise ValueError('must be days, hours or both, such as "mon-fri 09:00-17:00", "sat,sun" or "22:00-06:00"')
    days = frozenset(day for part in (match["days"] or "mon-sun").split(",") for day in _days(part))
    if not match["from"]:
        return Hours(days, 0, 1_440)
    start = int(match["from"]) * 60 + int(match["from_min"])
    end = int(match["to"]) * 60 + int(match["to_min"])
    if end > 1_440:
        raise ValueError("ends after 24:00")
    if start == end:
        raise ValueError("begins and ends at the same time; leave the hours out for a whole day")
    return Hours(days, start, end)


def _days(part: str) -> list[int]:
    first, _, last = part.partition("-")
    start = _DAYS.index(first)
    length = (_DAYS.index(last or first) - start) % 7
    return [(start + step) % 7 for step in range(length + 1)]


def _checked_span(value: str) -> str:
    span_ms(value)
    return value


def _checked_hours(value: str) -> str:
    read_hours(value)
    return value


def _checked_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise ValueError("is not a time zone; write one of the IANA names, such as Europe/Berlin or UTC") from None
    return value


Span = Annotated[str, AfterValidator(_checked_span)]
WeekHours = Annotated[tuple[Annotated[str, AfterValidator(_checked_hours)], ...], Field(min_length=1)]
Zone = Annotated[str, Field(max_length=64), AfterValidator(_checked_zone)]
