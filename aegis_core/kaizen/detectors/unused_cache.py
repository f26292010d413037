"""Prompts that begin like the one before, and were paid in full all the same.

Definition: a call of a model whose session called the same model within five minutes before. What is before its last
message was there before: the earlier prompt and its answer. Providers cache prefixes of 1,024 tokens and more, by 128.
Formula: sum of (floor(prefix / 128) * 128 - cached tokens reported) * (rate of input - rate of cached input), where
above 0. Unit: nano-dollars spent. Minimum: 50 such calls. Guards: an input that became smaller is no continuation;
models without a cached rate are left out. It is an upper bound: nobody promises a hit.
Source: OpenAI, "Prompt caching" (1,024 tokens, steps of 128, 5 to 10 minutes).
"""

from __future__ import annotations

from aegis_core.kaizen.detectors.steps import sessions
from aegis_core.kaizen.facts import Call, Day
from aegis_core.kaizen.findings import Detector, Found, Loss

LEAST, STEP, TTL_MS = 1_024, 128, 300_000


def find(day: Day) -> Found:
    """Look for prefixes that were not read from a cache."""
    losses, evidence, unpriced = list[Loss](), 0, 0
    for calls in sessions(day).values():
        last: dict[str, Call] = {}
        for call in calls:
            if not call.is_model or call.input is None:
                continue
            before, last[call.model] = last.get(call.model), call
            prefix = _prefix(before, call)
            if prefix is None:
                continue
            evidence += 1
            if call.rates is None or call.rates.cached is None:
                unpriced += 1
            elif prefix >= LEAST and (missed := prefix // STEP * STEP - call.cached) > 0 and call.spent:
                nanos = missed * (call.rates.input - call.rates.cached) // 1_000_000
                losses.append(Loss.of(call, min(nanos, call.spent)))
    unknown = None
    if not evidence:
        unknown = "no call says which session it continues, or how many tokens it read"
    elif unpriced == evidence:
        unknown = "of no model in use a price of cached input is known"
    return Found(evidence, [loss for loss in losses if loss.nanos], unknown, {"without_cached_price": unpriced})


def _prefix(before: Call | None, call: Call) -> int | None:
    if before is None or before.input is None or call.at - before.at > TTL_MS or not call.session:
        return None
    assert call.input is not None
    return min(call.input, before.input + (before.output or 0)) if call.input >= before.input else None


DETECTOR = Detector(
    "unused-cache", "Prompt cache that was not used", "spent", 50, "calls that continue another", find, bound=True
)
