"""Questions that are always answered yes.

Definition: a rule of whose questions n were approved and none refused, so that with 95 % confidence at most
1 - 0.05^(1/n) of them would be refused. Formula: sum of the times to an answer. Unit: ms waited. Minimum: 59 answers
(at most 5 %); from 299 on at most 1 %. Guard: answers within three seconds of being shown were not read, and do not
count. What was approved says nothing of amounts above the largest of them. Source: exact binomial bound (Clopper and
Pearson, 1934).
"""

from __future__ import annotations

from collections import defaultdict

from aegis_core.kaizen.detectors.lock_uses import worth
from aegis_core.kaizen.facts import Call, Day
from aegis_core.kaizen.findings import Detector, Found, Loss

MINIMUM, READ_MS = 59, 3_000


def find(day: Day) -> Found:
    """Look for rules that ask too much."""
    rules: dict[str, list[Call]] = defaultdict(list)
    refused = set[str]()
    for call in day.calls:
        if not call.asked or call.answered_at is None:
            continue
        if call.approved is False:
            refused.add(call.rule)
        elif call.answered_at - (call.at if call.shown_at is None else call.shown_at) >= READ_MS:
            rules[call.rule].append(call)
    rates, losses, facts = worth(day), list[Loss](), dict[str, int | float | str]()
    for rule, calls in sorted(rules.items()):
        if rule in refused or len(calls) < MINIMUM:
            continue
        facts[f"{rule} refusal_rate_at_most"] = round(1 - 0.05 ** (1 / len(calls)), 4)
        facts[f"{rule} largest_approved_usd"] = max(call.reserved for call in calls) / 1e9
        for call in calls:
            ms = (call.answered_at or call.at) - call.at
            losses.append(Loss.of(call, rates.get(call.agent, 0) * ms // 60_000, ms))
    return Found(max(map(len, rules.values()), default=0), losses, facts=facts)


DETECTOR = Detector("over-asking", "Questions always answered yes", "waited", MINIMUM, "approvals of one rule", find)
