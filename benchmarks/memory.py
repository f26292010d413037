"""What 100,000 registered agents cost in Redis, and that streams and records stay bounded.

Usage: python benchmarks/memory.py [--agents 100000] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json

from aegis_core.connect import open_governor
from aegis_core.protocol.messages import Handshake, PermissionRequest
from aegis_core.store import layout
from aegis_core.store.store import open_store
from aegis_core.testing import private_settings


async def measure(agents: int) -> dict[str, float]:
    """Register agents, then decide ten times the stream's bound; answer megabytes and lengths."""
    settings = private_settings(events_kept=1_000, tenant_day_usd=1_000_000)
    store = await open_store(settings, throwaway=True)
    governor = await open_governor(store, settings)
    before = (await store.check()).used_bytes
    for start in range(0, agents, 500):
        names = (f"agent-{number:06d}" for number in range(start, min(start + 500, agents)))
        await asyncio.gather(*(governor.handshake(Handshake(agent_id=name)) for name in names))
    after = (await store.check()).used_bytes
    for _ in range(10_000 // 500):
        await asyncio.gather(
            *(
                governor.request_permission(
                    PermissionRequest(
                        agent_id=f"agent-{number:06d}",
                        task_intent="Summarise",
                        resource_type="api_call",
                        estimated_cost_usd="0.000001",  # type: ignore[arg-type]
                    )
                )
                for number in range(500)
            )
        )
    grown = (await store.check()).used_bytes
    kept = await store.command("XLEN", layout.key("default", "e"))
    await governor.aclose()
    await store.aclose()
    return {
        "agents": agents,
        "megabytes": round((after - before) / 1e6, 1),
        "bytes_per_agent": round((after - before) / agents),
        "bytes_per_open_grant": round((grown - after) / 10_000),
        "events_kept": int(kept),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=100_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = asyncio.run(measure(options.agents))
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        each, total = found["bytes_per_agent"], found["megabytes"]
        print(f"{found['agents']:,} agents: {total} MB, {each} bytes each (wanted <= 150 MB)")
        print(f"an open grant: {found['bytes_per_open_grant']} bytes")
        print(f"of 10,000 decisions the stream keeps {found['events_kept']} events")


if __name__ == "__main__":
    main()
