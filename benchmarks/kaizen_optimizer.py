"""How often a canary is wrong, and how often a ceiling is exceeded: simulated and on recorded traffic, seeds fixed.

Usage: python benchmarks/kaizen_optimizer.py [--runs 1000] [--data ../shared/data] [--json]

A canary sees 6,000 requests of 8 agents in sessions of 10: a quarter of them while 10 % of the sessions have the
change, a quarter at 25 %, half at 50 %. Agents, and the sessions of an agent, differ in how often they fail. It is
looked at after every session. The guards, the cohorts and the tolerance bound are those of the product.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from aegis_core.kaizen.optimizer.ceilings import tolerance_bound
from aegis_core.kaizen.optimizer.guards import Guards
from aegis_core.policy.cohorts import below_of, in_cohort

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


def main() -> None:
    """Simulate, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    found: dict[str, Any] = {"canaries": canaries(chosen.runs)}
    if chosen.data.is_dir():
        found["ceilings, Azure"] = ceilings(azure(chosen.data))
    if chosen.json:
        print(json.dumps(found, indent=2))
        return
    for part, rows in found.items():
        print(part)
        for name, row in rows.items():
            print(f"  {name}: {row}")


if __name__ == "__main__":
    main()
