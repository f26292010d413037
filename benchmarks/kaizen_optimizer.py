"""How often a canary is wrong, and how often a ceiling is exceeded: simulated and on recorded traffic, seeds fixed.

Usage: python benchmarks/kaizen_optimizer.py [--runs 1000] [--rounds 200] [--data ../shared/data] [--json]

A canary sees 6,000 requests of 8 agents in sessions of 10: a quarter of them while 10 % of the sessions have the
change, a quarter at 25 %, half at 50 %. Agents, and the sessions of an agent, differ in how often they fail. It is
looked at after every session. The guards, the cohorts and the tolerance bound are those of the product.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

from aegis_core.connect import open_governor
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.kaizen.optimizer.ceilings import tolerance_bound
from aegis_core.kaizen.optimizer.changes import apply
from aegis_core.kaizen.optimizer.guards import Guards
from aegis_core.policy.cohorts import below_of, in_cohort
from aegis_core.protocol.messages import Handshake, PermissionRequest, ReleaseRequest
from aegis_core.store.proposal_records import StoredProposal
from aegis_core.store.proposal_verbs import PutProposal
from aegis_core.store.store import open_store
from aegis_core.testing import private_settings

REQUESTS, EACH, AGENTS = 6_000, 10, 8
STAGES = (10, 25, 50, 50)
PAST, AHEAD = 300, 1_000
INPUT, OUTPUT = 2_500, 10_000
"""Nano-dollars a token (gpt-4o)."""


class Canary(NamedTuple):
    """What became of one: why it was taken back (empty: it was not), after how many sessions, and of both arms."""

    harm: str
    sessions: int
    changed: int


def canary(run: int, harm: float, *, as_requests: bool = False) -> Canary:
    """One canary, of a change that lets `harm` more of its requests fail.

    Args:
        run: the seed.
        harm: by how much.
        as_requests: by agent, and each request counted as if it were independent: how not to do it.
    """
    draws = random.Random(run)
    rates = [draws.uniform(0.05, 0.25) for _ in range(AGENTS)]
    guards, total = Guards(), REQUESTS // EACH
    for number in range(total):
        agent = draws.randrange(AGENTS)
        percent = STAGES[number * len(STAGES) // total]
        unit = f"agent-{agent}" if as_requests else f"session-{number}"
        changed = in_cohort(f"p-{run:08x}", unit, below_of(50 if as_requests else percent))
        rate = min(1.0, max(0.0, draws.gauss(rates[agent], 0.05)) + (harm if changed else 0))
        failed = [draws.random() < rate for _ in range(EACH)]
        for values in [[each] for each in failed] if as_requests else [failed]:
            guards.session({"outcome": sum(values) / len(values)}, changed=changed)
        if guards.harm:
            return Canary(guards.harm, number + 1, guards.sessions[True])
    return Canary("", total, guards.sessions[True])


def canaries(runs: int) -> dict[str, Any]:
    """The share of canaries that are taken back, with and without harm."""
    found: dict[str, Any] = {}
    for name, harm, wrong in (("no effect", 0.0, False), ("harm of 10 points", 0.10, False),
                              ("no effect, by agent, requests as units", 0.0, True)):  # fmt: skip
        ended = [canary(run, harm, as_requests=wrong) for run in range(runs)]
        back = sorted(each.sessions for each in ended if each.harm)
        found[name] = {
            "rolled_back": round(len(back) / runs, 4), "median_requests": back[len(back) // 2] * EACH if back else None,
        }  # fmt: skip
    return found


def ceilings(amounts: Sequence[int]) -> dict[str, Any]:
    """How many of the next calls are above a ceiling that was made of the last ones, over all windows of a trace."""
    ways: dict[str, Callable[[Sequence[int]], float]] = {
        "tolerance bound": lambda past: tolerance_bound(past, 0.01) or 0,
        "mean x 1.2": lambda past: sum(past) / len(past) * 1.2,
        "95 % quantile x 1.2": lambda past: sorted(past)[int(len(past) * 0.95)] * 1.2,
    }
    windows = range(0, len(amounts) - PAST - AHEAD, AHEAD)
    found: dict[str, Any] = {}
    for name, way in ways.items():
        above = []
        for start in windows:
            ceiling, ahead = way(amounts[start : start + PAST]), amounts[start + PAST : start + PAST + AHEAD]
            above.append(sum(each > ceiling for each in ahead) / len(ahead))
        late = sum(each > 0.015 for each in above) / len(above)
        found[name] = {"exceeded": round(sum(above) / len(above), 4), "windows_above_1.5": round(late, 4)}
    return found | {"with 200 calls": tolerance_bound(amounts[:200], 0.01)}


def azure(folder: Path) -> list[int]:
    """What the calls of a production service would cost (Azure Public Dataset, CC BY 4.0), in nano-dollars."""
    with (folder / "azure_llm_conv_2023.csv").open(newline="", encoding="utf-8") as file:
        return [
            int(row["ContextTokens"]) * INPUT + int(row["GeneratedTokens"]) * OUTPUT for row in csv.DictReader(file)
        ]


_RULE = {"name": "bench", "type": "max_cost", "limit_usd": "5000", "effect": "deny"}


async def decisions(rounds: int) -> dict[str, Any]:
    """Medians (µs) of decisions of a tenant with a canary at 50 % and of one without, in turn, and their ratio with
    what 95 % of such medians of ratios lie between (bootstrap)."""
    settings = private_settings(agent_day_usd="1000000", tenant_day_usd="8000000")
    store = await open_store(settings, throwaway=True)
    asks: dict[str, Callable[[], Awaitable[float]]] = {}
    governors: list[ResourceGovernor] = []
    for tenant in ("plain", "canary"):
        governor = await open_governor(store, settings, tenant=tenant)
        governors.append(governor)
        _, present = await governor.operator.policy_version()
        await governor.publish_policy(apply(present, [_RULE]).policy, author="bench")  # both judge as many rules
        asks[tenant] = await _asking(governor)
    version, present = await governors[1].operator.policy_version()
    changed = apply(present, [_RULE | {"limit_usd": "4000"}]).policy
    record = StoredProposal(0, "canary", False, "tighten", "", "", "[]", version, "", changed.digest, "{}", 0)
    order = PutProposal(
        "p-00000000", 0, list(record), "begin", changed.document, changed.digest, below_of(50), None, "bench", 100
    )
    await governors[1].optimizer.store.put(order)
    found: dict[str, list[float]] = {name: [] for name in asks}
    for at in range(rounds + 5):
        for name in random.Random(at).sample(list(asks), len(asks)):
            took = statistics.median([await asks[name]() for _ in range(40)]) * 1e6
            if at >= 5:
                found[name].append(took)
    for governor in governors:
        await governor.aclose()
    await store.aclose()
    ratios = [one / other for one, other in zip(found["canary"], found["plain"], strict=True)]
    draws = random.Random("aegis")
    medians = sorted(statistics.median(draws.choices(ratios, k=len(ratios))) for _ in range(2_000))
    answer: dict[str, Any] = {name: round(statistics.median(each)) for name, each in found.items()}
    return answer | {"ratio": [round(each, 3) for each in (statistics.median(ratios), medians[50], medians[1949])]}


async def _asking(governor: ResourceGovernor) -> Callable[[], Awaitable[float]]:
    """Asks once, of one of 16 sessions in turn, and answers how long the decision took."""
    opened = [await governor.handshake(Handshake(agent_id=f"a-{number}")) for number in range(16)]
    turn = cycle(opened)

    async def ask() -> float:
        session = next(turn)
        request = PermissionRequest(
            agent_id=session.agent_id, session_id=session.session_id, task_intent="Summarise",
            resource_type="llm_tokens", estimated_cost_usd="0.000001", logic_density=3, confidence=0.9,
        )  # type: ignore[arg-type]  # fmt: skip
        start = time.perf_counter()
        verdict = await governor.request_permission(request)
        took = time.perf_counter() - start
        await governor.release(str(verdict.grant_id), ReleaseRequest())
        return took

    return ask


def main() -> None:
    """Simulate, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--rounds", type=int, default=0, help="Also time decisions with and without a canary.")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    found: dict[str, Any] = {"canaries": canaries(chosen.runs)} if chosen.runs else {}
    if chosen.data.is_dir():
        found["ceilings, Azure"] = ceilings(azure(chosen.data))
    if chosen.rounds:
        found["decisions (µs)"] = asyncio.run(decisions(chosen.rounds))
    if chosen.json:
        print(json.dumps(found, indent=2))
        return
    for part, rows in found.items():
        print(part)
        for name, row in rows.items():
            print(f"  {name}: {row}")


if __name__ == "__main__":
    main()
