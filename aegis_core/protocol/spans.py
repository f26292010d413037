"""How people write a span of time: a number and a unit, such as ``30m`` or ``2h``."""

from __future__ import annotations

import re
from datetime import timedelta

from aegis_core.protocol.errors import InvalidRequestError

_SPAN = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)([smhd]?)", re.ASCII)
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}


def seconds_of(span: str | float | timedelta, field: str) -> float:
    """A span in seconds, as which a bare number counts.

    Raises:
        InvalidRequestError: a text that is no span; the error names the `field`.
    """
    if isinstance(span, timedelta):
        return span.total_seconds()
    if not isinstance(span, str):
        return float(span)
    match = _SPAN.fullmatch(span)
    if match is None:
        problem = "must be a number and s, m, h or d, such as 30m"
        raise InvalidRequestError(f"{field}: {problem}", field=field, problem=problem)
    return float(match[1]) * _UNITS[match[2]]
