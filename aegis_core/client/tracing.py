"""Where the running code stands in a trace of OpenTelemetry, for programs that use it. Nothing here loads it."""

from __future__ import annotations

import sys
from typing import Any

from aegis_core.protocol.evidence import traceparent_in

_API = "opentelemetry.trace"


def current_traceparent() -> str | None:
    """The current span as a W3C ``traceparent``; None: there is none, or OpenTelemetry's API is not loaded."""
    api: Any = sys.modules.get(_API)
    if api is None:
        return None
    try:
        span = api.get_current_span().get_span_context()
        if not span.is_valid:
            return None
        return traceparent_in(f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags & 0xFF:02x}")
    except Exception:  # noqa: BLE001 - whatever a tracer does, it stops no decision
        return None
