"""All detectors, in the order in which a request is counted: by the first one that finds it."""

from __future__ import annotations

from aegis_core.kaizen.detectors import (
    abandoned_grants,
    duplicate_agents,
    failed_work,
    false_refusals,
    identical_calls,
    idle_holding,
    kaizen_itself,
    lock_bottleneck,
    long_context,
    loops,
    output_cap,
    over_asking,
    over_reservation,
    over_strong,
    retries,
    runaway,
    stale_questions,
    undeciding_rules,
    unused_cache,
    unused_locks,
)
from aegis_core.kaizen.findings import Detector

DETECTORS: tuple[Detector, ...] = (
    abandoned_grants.DETECTOR, retries.DETECTOR, identical_calls.DETECTOR, loops.DETECTOR, unused_cache.DETECTOR,
    long_context.DETECTOR, over_strong.DETECTOR, failed_work.DETECTOR, runaway.DETECTOR, duplicate_agents.DETECTOR,
    over_reservation.DETECTOR, output_cap.DETECTOR, stale_questions.DETECTOR, lock_bottleneck.DETECTOR,
    idle_holding.DETECTOR, unused_locks.DETECTOR, over_asking.DETECTOR, undeciding_rules.DETECTOR,
    false_refusals.DETECTOR, kaizen_itself.DETECTOR,
)  # fmt: skip
