"""What events cost a decision, against another version: wall time, CPU of the server, and bytes kept.

Usage: python benchmarks/events.py --before CHECKOUT [--rounds 9] [--decisions 1500] [--json]

Both versions run the same program in turn, each in a process and on an embedded server of its own, with the interpreter
and packages of this one: an agent asks and settles, one call after the other. Ratios are medians over pairs of
neighbouring runs, so that what else the machine does falls on both. Bytes are what Redis says of the events and of the
agents' words, by decision; a decision and its settlement are two events.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

WORKER = """
import asyncio, json, sys, time
from aegis_core.connect import open_governor, open_store
from aegis_core.client.agent import Governor
from aegis_core.testing import private_settings

async def main(decisions):
    settings = private_settings(agent_day_usd=100000, tenant_day_usd=100000)
    store = await open_store(settings, throwaway=True)
    governor = Governor(await open_governor(store, settings))
    agent = await governor.handshake("crew-researcher-01")

    async def cpu():
        found = await store.command("INFO", "cpu")
        if isinstance(found, bytes):
            found = dict(line.split(":") for line in found.decode().split() if ":" in line)
        return sum(float(found[name]) for name in ("used_cpu_user", "used_cpu_sys"))

    async def work(times):
        asked = settled = 0.0
        for at in range(times):
            began = time.perf_counter()
            granted = await agent.request(
                f"Summarise report {at}", model="gpt-4o-mini", estimated_cost_usd="0.002",
            )
            asked += time.perf_counter() - began
            began = time.perf_counter()
            await agent.settle(granted.grant_id, cost_usd="0.001")
            settled += time.perf_counter() - began
        return asked, settled

    await work(decisions // 5)
    before = await cpu()
    asked, settled = await work(decisions)
    used = await cpu() - before
    total, bytes_kept = decisions + decisions // 5, 0
    for name in ("e", "w:crew-researcher-01"):
        bytes_kept += int(await store.command("MEMORY", "USAGE", f"ae:{{{settings.tenant}}}:{name}", "SAMPLES", 0) or 0)
    print(json.dumps({"request_us": asked / decisions * 1e6, "settle_us": settled / decisions * 1e6,
                      "server_cpu_us": used / decisions * 1e6, "bytes": bytes_kept / total}))
    await governor.port.aclose()
    await store.aclose()

asyncio.run(main(int(sys.argv[1])))
"""


def measured(checkout: Path, decisions: int) -> dict[str, float]:
    """One run of a version."""
    command = [sys.executable, "-c", WORKER, str(decisions)]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, help="a checkout of the other version")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--decisions", type=int, default=1500)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    here, before = Path(__file__).parents[1], given.before.resolve()
    pairs: list[tuple[dict[str, float], dict[str, float]]] = []
    for at in range(given.rounds):  # who goes first changes
        order = (before, here) if at % 2 else (here, before)
        found = {place: measured(place, given.decisions) for place in order}
        pairs.append((found[before], found[here]))
    rows = {
        name: {
            "before": statistics.median(old[name] for old, _ in pairs),
            "now": statistics.median(new[name] for _, new in pairs),
            "ratio": statistics.median(new[name] / old[name] for old, new in pairs),
        }
        for name in pairs[0][0]
    }
    if given.json:
        print(json.dumps(rows, indent=2))
        return
    print(f"{'':16}{'before':>10}{'now':>10}{'ratio':>8}")
    for name, row in rows.items():
        print(f"{name:16}{row['before']:10.1f}{row['now']:10.1f}{row['ratio']:8.2f}")


if __name__ == "__main__":
    main()
