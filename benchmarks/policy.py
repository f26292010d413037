"""What judging one request under a policy costs, without Redis.

Usage: python benchmarks/policy.py [--rules 100] [--rounds 7] [--json]

The policy holds rules of every type in equal parts but conditions (CEL), which are measured apart: the same policy with
ten of them added. A request that no rule refuses is the slowest, because every rule must be looked at.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from datetime import UTC, datetime
from typing import Any

from aegis_core.policy import AgentFacts, Policy, load_policy
from aegis_core.protocol.messages import PermissionRequest

NOON = datetime(2026, 3, 27, 12, tzinfo=UTC)
ASKING = AgentFacts("crew-researcher-01", "crewai", frozenset({"web_search", "code_gen"}), 8, {"team": "research"})
REQUESTS = {
    "plain": PermissionRequest(
        agent_id="crew-researcher-01", task_intent="Summarise Sui governance proposals of the last quarter",
        resource_type="llm_tokens", estimated_cost_usd="0.035", logic_density=3, confidence=0.9,
    ),
    "tool call": PermissionRequest(
        agent_id="crew-researcher-01", task_intent="Look up the order of a customer", resource_type="api_call",
        estimated_cost_usd="0.01", tool="get_order", arguments_hash="9c1185a5c5e9fc54", confidence=0.9,
    ),
    "not ASCII": PermissionRequest(
        agent_id="crew-researcher-01", task_intent="Fasse die Vorschläge zur Satzung auf Ελληνικά zusammen",
        resource_type="llm_tokens", estimated_cost_usd="0.035", confidence=0.9,
    ),
}  # fmt: skip


def rules(count: int) -> list[dict[str, Any]]:
    """`count` rules of every type, none of which objects to the requests."""
    makers = (
        lambda n: {"type": "max_cost", "limit_usd": 1_000 + n},
        lambda n: {"type": "blocked_intent", "phrases": [f"drop shard {n}", f"wipe disk {n}"]},
        lambda n: {"type": "blocked_intent", "phrases": [f"erase volume {n}"], "tools": [f"erase_{n}"]},
        lambda n: {"type": "sensitive_intent", "phrases": [f"salaries of unit {n}", f"contract {n}"]},
        lambda n: {"type": "priority_floor", "phrases": [f"swap pair {n}"], "min_priority": 7},
        lambda n: {"type": "agent_blocklist", "agents": [f"rogue-{n}-*", f"test-{n}"]},
        lambda _: {"type": "confidence_floor", "min_confidence": 0.2},
        lambda n: {"type": "capability_required", "capability": f"deploy_{n}", "phrases": [f"deploy service {n}"]},
        lambda n: {"type": "rate_limit", "limit": 10_000 + n, "window": "1h"},
        lambda n: {"type": "time_window", "denied": ["03:00-04:00"], "phrases": [f"send batch {n}"]},
    )
    return [{"name": f"rule-{n}", **makers[n % len(makers)](n)} for n in range(count)]


CONDITIONS = [
    {"name": f"condition-{n}", "type": "condition", "expr": f"request.priority > 9 && request.logic_density == {n}"}
    for n in range(1, 11)
]


def median_us(policy: Policy, request: PermissionRequest, rounds: int) -> float:
    """The median over rounds of the median of one evaluation, in microseconds."""
    found: list[float] = []
    for _ in range(rounds):
        took: list[int] = []
        for _ in range(2_000):
            began = time.perf_counter_ns()
            policy.evaluate(request, ASKING, NOON)
            took.append(time.perf_counter_ns() - began)
        found.append(statistics.median(took) / 1_000)
    return statistics.median(found)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rules", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    many = rules(options.rules)
    plain = load_policy(json.dumps({"schema": 1, "rules": many}), "benchmark")
    with_cel = load_policy(json.dumps({"schema": 1, "rules": [*many, *CONDITIONS]}), "benchmark")
    report: dict[str, dict[str, float]] = {}
    for name, request in REQUESTS.items():
        alone = median_us(plain, request, options.rounds)
        added = median_us(with_cel, request, options.rounds) - alone
        report[name] = {"rules_us": round(alone, 1), "ten_conditions_us": round(added, 1)}
    if options.json:
        print(json.dumps(report, indent=2))
        return
    for name, row in report.items():
        alone, added = row["rules_us"], row["ten_conditions_us"]
        print(f"{name:10s} {options.rules} rules {alone:6.1f} µs, ten CEL conditions {added:6.1f} µs more")


if __name__ == "__main__":
    main()
