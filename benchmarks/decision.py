"""What one decision costs beside the floor of the machine: ratios, all rows interleaved in one run, median of seven.

Usage: python benchmarks/decision.py [--rounds 7] [--seconds 0.7] [--json]

Rows: redis-py's PING, the raw pipelined authorize script, one hit of `limits`' fixed window, and a whole decision
(request object to verdict object, three budget scopes, twenty rules), each alone (@1) and with 64 tasks (@64), all on
one embedded server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Awaitable, Callable

import redis.asyncio as redis
from limits import RateLimitItemPerDay
from limits.aio.storage import RedisStorage
from limits.aio.strategies import FixedWindowRateLimiter

from aegis_core.connect import open_governor
from aegis_core.policy.loading import load_policy
from aegis_core.protocol.messages import Handshake, PermissionRequest
from aegis_core.store.store import open_store
from aegis_core.testing import private_settings

Call = Callable[[], Awaitable[object]]


def twenty_rules() -> str:
    """A policy of twenty rules of every first-version type, none of which matches the benchmark's request."""
    rules: list[dict[str, object]] = [
        {"name": f"cost-{n}", "type": "max_cost", "limit_usd": 5 + n, "effect": "escalate"} for n in range(4)
    ]
    rules += [
        {"name": f"blocked-{n}", "type": "blocked_intent", "phrases": [f"drop table{n}", f"wipe … disk{n}"]}
        for n in range(6)
    ]
    rules += [
        {"name": f"floor-{n}", "type": "priority_floor", "phrases": [f"bridge{n}*"], "min_priority": 7}
        for n in range(4)
    ]
    rules += [
        {"name": f"sensitive-{n}", "type": "sensitive_intent", "phrases": [f"revoke … access{n}"]} for n in range(4)
    ]
    rules += [{"name": "blocklist", "type": "agent_blocklist", "agents": ["rogue-*"]}]
    rules += [{"name": "confidence", "type": "confidence_floor", "min_confidence": 0.7}]
    assert len(rules) == 20
    return json.dumps({"schema": 1, "rules": rules})


async def measure(call: Call, tasks: int, seconds: float) -> tuple[float, float]:
    """Median latency in µs and operations per second."""
    latencies: list[float] = []
    end = time.perf_counter() + seconds

    async def worker() -> None:
        while (start := time.perf_counter()) < end:
            await call()
            latencies.append(time.perf_counter() - start)

    start = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(tasks)))
    elapsed = time.perf_counter() - start
    return statistics.median(latencies) * 1e6, len(latencies) / elapsed


async def run(rounds: int, seconds: float) -> dict[str, dict[str, float]]:
    """Interleave all rows; answer p50 (µs) and rate of each, medians over the rounds."""
    settings = private_settings(
        agent_day_usd="1000000", tenant_day_usd="8000000", max_open_grants=100_000, grant_seconds=3600
    )
    store = await open_store(settings, throwaway=True)
    governor = await open_governor(store, settings)
    await governor.publish_policy(load_policy(twenty_rules(), "benchmark"), author="benchmark")
    agents = [
        await governor.handshake(Handshake(agent_id=f"agent-{n}", session_budget_usd="1000000")) for n in range(8)
    ]  # type: ignore[arg-type]
    client = redis.Redis.from_url(store.address.url, max_connections=128)
    socket = store.address.url.removeprefix("unix://")
    limiter = FixedWindowRateLimiter(RedisStorage(f"async+redis+unix://{socket}", implementation="redispy"))
    hit = RateLimitItemPerDay(1_000_000_000)
    turn = 0

    def request() -> PermissionRequest:
        agent = agents[turn % 8]
        return PermissionRequest(
            agent_id=agent.agent_id, session_id=agent.session_id, task_intent="Summarise Sui governance proposals",
            resource_type="llm_tokens", estimated_cost_usd="0.000001", logic_density=3, confidence=0.9,
        )  # type: ignore[arg-type]  # fmt: skip

    ready: list[tuple[PermissionRequest, str]] = []
    for turn in range(8):
        ready.append((request(), agents[turn].session_token))

    async def decide() -> None:
        nonlocal turn
        turn += 1
        asked, token = ready[turn % 8]
        verdict = await governor.request_permission(asked, token=token)
        assert verdict.granted, verdict
        assert len(verdict.budgets) == 3, verdict

    raw = raw_script(store, governor, request)
    rows: dict[str, tuple[Call, int]] = {
        "redis-py PING @1": (client.ping, 1),
        "decision @1": (decide, 1),
        "raw script @1": (raw, 1),
        "limits fixed window @64": (lambda: limiter.hit(hit, "key"), 64),
        "decision @64": (decide, 64),
        "raw script @64": (raw, 64),
        "redis-py PING @64": (client.ping, 64),
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in rows}
    for call, tasks in rows.values():
        await measure(call, tasks, 0.2)
    for _ in range(rounds):
        for name, (call, tasks) in rows.items():
            found[name].append(await measure(call, tasks, seconds))
            await forget(client)
    await client.aclose()
    await governor.aclose()
    await store.aclose()
    return {name: medians(pairs) for name, pairs in found.items()}


def medians(pairs: list[tuple[float, float]]) -> dict[str, float]:
    """Of the rounds of one row."""
    latencies, rates = zip(*pairs, strict=True)
    return {"p50_us": statistics.median(latencies), "per_second": statistics.median(rates)}


def raw_script(store: object, governor: object, request: Callable[[], PermissionRequest]) -> Call:
    """The same script with ready-made arguments over the pipelined connection: the floor below the governor."""
    import msgpack

    from aegis_core.store.layout import root

    pack = msgpack.Packer(use_bin_type=False, autoreset=True).pack
    captured: list[tuple[object, ...]] = []
    ledger = governor._ledger  # type: ignore[attr-defined]
    original = ledger.authorize

    async def capture(order: tuple[object, ...]) -> object:
        captured.append(order)
        return await original(order)

    key, function, counter = root(ledger.tenant), store.scripts.authorize.function, iter(range(10**9))  # type: ignore[attr-defined]

    async def call() -> None:
        if not captured:
            ledger.authorize = capture
            await governor.request_permission(request())  # type: ignore[attr-defined]
            ledger.authorize = original
        order = captured[0]
        pipeline = store._pipeline  # type: ignore[attr-defined]
        await pipeline.call(b"FCALL", function, 1, key, pack((f"{next(counter):032x}", *order[1:])))

    return call


async def forget(client: redis.Redis) -> None:
    """Drop the records of the past round, so that every round starts from the same state."""
    names = [name async for name in client.scan_iter(match="*:r:*", count=5000)]
    for at in range(0, len(names), 5000):
        await client.unlink(*names[at : at + 5000])
    script = (
        "local k=KEYS[1]; local g=cmsgpack.unpack(redis.call('GET',k)); g[3]=0; redis.call('SET',k,cmsgpack.pack(g))"
    )
    async for name in client.scan_iter(match="*:a:*"):
        await client.eval(script, 1, name)
    async for name in client.scan_iter(match="*}:d"):
        await client.delete(name)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = asyncio.run(run(options.rounds, options.seconds))
    ping, alone, many = rows["redis-py PING @1"], rows["decision @1"], rows["decision @64"]
    ratios = {
        "decision @1 p50 / redis-py PING @1 p50 (wanted <= 2.2)": alone["p50_us"] / ping["p50_us"],
        "decision @64 rate / limits fixed window @64 rate (wanted >= 1)": many["per_second"]
        / rows["limits fixed window @64"]["per_second"],
        "decision @64 rate / raw script @64 rate (wanted >= 0.6)": many["per_second"]
        / rows["raw script @64"]["per_second"],
    }
    if options.json:
        print(json.dumps({"rows": rows, "ratios": ratios}, indent=2))
        return
    for name, row in rows.items():
        print(f"{name:26s} p50 {row['p50_us']:8.0f} µs {row['per_second']:10.0f}/s")
    for name, ratio in ratios.items():
        print(f"{ratio:6.2f}  {name}")


if __name__ == "__main__":
    main()
