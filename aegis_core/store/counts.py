"""What is counted of a tenant, in one hash of sums that only grow: for those who measure, and to number events."""

from __future__ import annotations

from collections.abc import Mapping

COUNTS: Mapping[str, str] = {
    "COUNT_EVENTS": "#", "COUNT_CHARGED": "$", "COUNT_ESTIMATED": "~", "COUNT_ANSWERED": "?", "COUNT_ANSWER_MS": "?ms",
    "COUNT_WAITED": "w", "COUNT_WAITED_MS": "wms",
}  # fmt: skip
"""What is counted of a tenant beside its events by kind, and by kind and code: how many events there were, which is the
number of the last; nano-dollars charged, and how many of them estimated; answered questions and how long those waited
(ms); leases that were waited for, by the bucket of the wait, and how long all waited (ms)."""

ROLLUPS: Mapping[str, int] = {
    "HOURS_KEPT": 400 * 24,  # hours for which sums are kept; longer where events are
    "ROLLUP_ROWS": 200_000,  # rows of all hours together, or twice as many as events are kept; the oldest hours go
    "HOUR_ROWS": 2_000,  # rows of one hour, of which
    "AGENT_ROWS": 64,  # are of one agent
}
"""Bounds of the sums of events by the hour."""

WAIT_BUCKETS_MS = (100, 1_000, 5_000, 30_000, 120_000, 600_000, 2**53 - 1)
"""Up to how many ms a lease was waited for."""
