"""Names on their way: request ids that carry the server's time, and tenants spelt for a header."""

from __future__ import annotations

import os
import re
import time
from datetime import UTC, datetime
from urllib.parse import quote, unquote

from aegis_core.protocol.fields import identifier

_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE)


def spelt(tenant: str) -> str:
    """A tenant's name in letters that an HTTP header carries: ASCII as it is, the rest percent-encoded."""
    return quote(tenant, safe="@:/")


def unspelt(text: str) -> str | None:
    """The reverse of `spelt`; None for what no tenant can be called."""
    try:
        tenant = unquote(text, errors="strict")
        return tenant if identifier(tenant) == tenant else None
    except ValueError:
        return None


_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # Linux's monotonic clock stops in suspend


def _uptime_ms() -> int:
    return time.clock_gettime_ns(_BOOT_CLOCK) // 1_000_000


class RequestIds:
    """Makes UUIDv7 request ids on the server's time, so that a client's clock may jump without harm."""

    def __init__(self, server_ms: int) -> None:
        self._offset = server_ms - _uptime_ms()

    def now(self) -> datetime:
        """The server's time, as far as it was learned."""
        return datetime.fromtimestamp((time.monotonic_ns() // 1_000_000 + self._offset) / 1000, UTC)

    def new(self) -> str:
        """A fresh id."""
        now = _uptime_ms() + self._offset
        noise = os.urandom(10)
        stamp, tail = f"{now:012x}", noise.hex()
        variant = "89ab"[noise[0] & 3]
        return f"{stamp[:8]}-{stamp[8:]}-7{tail[2:5]}-{variant}{tail[5:8]}-{tail[8:]}"


def born_at(request_id: str) -> int:
    """The time in ms inside a UUIDv7, 0 for any other id."""
    if len(request_id) == 36 and _UUID7.fullmatch(request_id):
        return int(request_id[:8] + request_id[9:13], 16)
    return 0
