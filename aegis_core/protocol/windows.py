"""The windows of budgets: those of the calendar, which begin for everybody at once, and rolling ones of any length."""

from __future__ import annotations

import re

CALENDAR = {
    "hour": "h",
    "day": "d",
    "week": "w",
    "month": "m",
    "total": "t",
}
"""The windows of the calendar, by the letters under which they are stored; ``windows.lua`` says when each one ends."""

WORDS = f"{', '.join(CALENDAR)}, or rolling:24h"
"""The windows there are, for messages and help."""

PATTERN = f"({'|'.join(CALENDAR)}|rolling:[1-9][0-9]{{0,4}}[mhd])"

_ROLLING = re.compile(r"rolling:(?P<count>[1-9][0-9]{0,4})(?P<unit>[mhd])")
_UNIT_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}
_MAX_ROLLING_MS = 366 * 86_400_000
_NAMES = {letter: name for name, letter in CALENDAR.items()}


def window_kind(window: str) -> str | int:
    """How a window is stored: ``day`` as ``d``, ``rolling:24h`` as its span in ms.

    Raises:
        ValueError: not a window.
    """
    if letter := CALENDAR.get(window):
        return letter
    match = _ROLLING.fullmatch(window)
    if match is None:
        raise ValueError(f"must be {', '.join(CALENDAR)}, or rolling:N followed by m, h or d (rolling:24h)")
    span = int(match["count"]) * _UNIT_MS[match["unit"]]
    if not 10 * 60_000 <= span <= _MAX_ROLLING_MS:
        raise ValueError("a rolling window lasts 10 minutes to 366 days")
    return span


def window_name(kind: str | int) -> str:
    """The reverse of `window_kind`; a span is named in its largest whole unit."""
    if isinstance(kind, str):
        return _NAMES[kind]
    for unit, span in (("d", 86_400_000), ("h", 3_600_000)):
        if kind % span == 0:
            return f"rolling:{kind // span}{unit}"
    return f"rolling:{kind // 60_000}m"
