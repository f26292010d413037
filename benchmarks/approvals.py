"""What it costs to wait for people: thousands of open approvals in one process, and how fast an answer arrives.

Usage: python benchmarks/approvals.py [--waiters 10000] [--rounds 200] [--json]

The same questions are waited for twice in one run: by Aegis, with one subscription for the process, and by polling each
of them every second, which is what one would write without it. An answer's way is timed from before the operator's
decision is sent until the agent's task goes on.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import random
import statistics
import time
from pathlib import Path
from typing import Any

from aegis_core import Settings
from aegis_core.connect import open_governor
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.protocol.messages import Handshake, PermissionRequest, Verdict
from aegis_core.store.store import Store, open_store
from aegis_core.testing import private_settings

AGENTS = 100
PAGE = os.sysconf("SC_PAGE_SIZE")


def roomy() -> Settings:
    """No ceiling is met, and nothing times out."""
    return private_settings(
        agent_day_usd=1_000_000, tenant_day_usd=8_000_000, max_open_approvals=100_000, max_open_grants=100_000,
        approval_seconds=86_400, store_timeout_seconds=60,
    )  # fmt: skip


def resident() -> int:
    """Bytes of this process in memory."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE


async def commands(store: Store) -> int:
    """Commands that the server has carried out, but for this question."""
    stats: Any = await store.clients.any.info("commandstats")
    return sum(row["calls"] for name, row in stats.items() if name != "cmdstat_info")


async def ask(port: ResourceGovernor, number: int) -> str:
    """One question; answers its grant."""
    request = PermissionRequest(
        agent_id=f"agent-{number % AGENTS}", task_intent=f"Pay invoice {number}", resource_type="api_call",
        estimated_cost_usd="0.01", confidence=0.1,  # type: ignore[arg-type]
    )  # fmt: skip
    verdict = await port.request_permission(request)
    assert verdict.status == "PENDING", verdict
    return verdict.grant_id or ""


async def ask_many(port: ResourceGovernor, count: int) -> list[str]:
    """Many questions, in modest waves."""
    grants: list[str] = []
    for start in range(0, count, 500):
        grants += await asyncio.gather(*(ask(port, number) for number in range(start, min(start + 500, count))))
    return grants


async def approve(port: ResourceGovernor, grant: str) -> None:
    """An operator's yes."""
    await port.approvals.decide(grant.replace("gr_", "ap_"), "approve", by="ada")


async def subscribed(port: ResourceGovernor, grant: str) -> Verdict:
    """Wait as agents do."""
    return await port.wait_for(grant, 3_600)


async def polling(port: ResourceGovernor, grant: str) -> Verdict:
    """Wait by asking once a second, not all at the same instant."""
    await asyncio.sleep(random.random())
    while (verdict := await port.wait_for(grant, 0)).status == "PENDING":  # noqa: ASYNC110 - it is what is measured
        await asyncio.sleep(1)
    return verdict


async def settled_down(store: Store) -> None:
    """Nothing is under way any more."""
    before = -1
    while before != (before := await commands(store)):  # noqa: ASYNC110 - the server tells nobody
        await asyncio.sleep(0.3)


async def alone(port: ResourceGovernor, waits: Any, rounds: int) -> list[float]:
    """Milliseconds from sending a decision until the one agent that waits for it goes on."""
    took: list[float] = []
    for number in range(rounds):
        grant = await ask(port, number)
        waiting = asyncio.create_task(waits(port, grant))
        await asyncio.sleep(0.02 if waits is subscribed else 1.2)
        began = time.perf_counter()
        deciding = asyncio.create_task(approve(port, grant))
        assert (await waiting).granted
        took.append((time.perf_counter() - began) * 1_000)
        await deciding
    return took


async def crowd(port: ResourceGovernor, store: Store, waits: Any, count: int) -> dict[str, float]:
    """What so many waiters cost while nothing happens, and how long until all go on when all are approved at once."""
    grants = await ask_many(port, count)
    before = resident()
    waiters = [asyncio.create_task(waits(port, grant)) for grant in grants]
    await asyncio.sleep(0)
    if waits is subscribed:
        await settled_down(store)
    else:
        await asyncio.sleep(2)
    held = resident() - before
    asked = await commands(store)
    await asyncio.sleep(1)
    idle = await commands(store) - asked
    began = time.perf_counter()
    deciding = asyncio.gather(*(approve(port, grant) for grant in grants))
    verdicts, _ = await asyncio.gather(asyncio.gather(*waiters), deciding)
    took = time.perf_counter() - began
    assert all(verdict.granted for verdict in verdicts)
    return {
        "kib_each": round(held / count / 1024, 2),
        "commands_in_an_idle_second": idle,
        "all_awake_s": round(took, 2),
    }


async def measure(waiters: int, rounds: int) -> dict[str, dict[str, float]]:
    """Both ways of waiting, on one throw-away server."""
    settings = roomy()
    store = await open_store(settings, throwaway=True)
    port = await open_governor(store, settings)
    for number in range(AGENTS):
        await port.handshake(Handshake(agent_id=f"agent-{number}"))
    found: dict[str, dict[str, float]] = {}
    for name, waits, repeats in (("aegis", subscribed, rounds), ("polling", polling, max(5, rounds // 20))):
        single = await alone(port, waits, repeats)
        row = {
            "wake_p50_ms": round(statistics.median(single), 2),
            "wake_p95_ms": round(statistics.quantiles(single, n=20)[-1], 2),
        }
        found[name] = row | await crowd(port, store, waits, waiters)
    await port.aclose()
    await store.aclose()
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--waiters", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = asyncio.run(measure(options.waiters, options.rounds))
    if options.json:
        print(json.dumps(found, indent=2))
        return
    for name, row in found.items():
        print(
            f"{name:8s} wake alone p50 {row['wake_p50_ms']} ms, p95 {row['wake_p95_ms']} ms; "
            f"{options.waiters:,} waiting: {row['kib_each']} KiB each, "
            f"{row['commands_in_an_idle_second']:.0f} commands in an idle second, "
            f"all awake {row['all_awake_s']} s after all were approved at once"
        )


if __name__ == "__main__":
    main()
