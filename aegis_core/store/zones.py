"""Time zones as scripts need them: the offset now, and the next one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

FOREVER = 9_007_199_254_740_991
_DAY = timedelta(days=1)
_MINUTE = timedelta(minutes=1)
_LAST = datetime(9998, 1, 1, tzinfo=UTC)
"""Dates end in the year 9999, and with them what can be looked up."""

Zone = tuple[str, int, int, int, int]
"""Name, offset in ms, valid from and till (ms since 1970), offset after that."""


def zone_at(name: str, now_ms: int) -> Zone:
    """The zone's offset around an instant, and until when it holds (looking 400 days ahead)."""
    if name == "UTC":
        return ("UTC", 0, 0, FOREVER, 0)
    zone = ZoneInfo(name)
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    if now >= _LAST:
        offset = _offset(zone, _LAST)
        return (name, offset, _ms(_LAST), FOREVER, offset)
    offset = _offset(zone, now)
    since = now
    while since > now - _DAY and _offset(zone, since - timedelta(hours=1)) == offset:
        since -= timedelta(hours=1)
    till = now
    for _ in range(400):
        if _offset(zone, till + _DAY) != offset:
            till = _change(zone, till, till + _DAY)
            break
        till += _DAY
    return (name, offset, _ms(since), _ms(till), _offset(zone, till))


def _change(zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    offset = _offset(zone, before)
    while after - before > _MINUTE:
        middle = before + (after - before) / 2
        before, after = (middle, after) if _offset(zone, middle) == offset else (before, middle)
    return after.replace(second=0, microsecond=0)


def _offset(zone: ZoneInfo, at: datetime) -> int:
    offset = at.astimezone(zone).utcoffset()
    assert offset is not None
    return int(offset.total_seconds() * 1000)


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)
