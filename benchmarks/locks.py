"""Locks side by side in one run: Aegis, redis-py's Lock at two sleeps, pottery's Redlock, python-redis-lock.

    python benchmarks/locks.py [--seconds 3] [--rounds 5] [--json]

Uncontended: one caller takes and gives back. Contended: 64 tasks (threads for the peers that block) on one permit in
one process, without a pause. Every figure is the median of the rounds, and the candidates take turns within a round.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import unquote
from uuid import uuid4

import redis
import redis.asyncio

import aegis_core
from aegis_core.protocol.errors import LockPreemptedError
from aegis_core.store.embedded import join_sync
from aegis_core.testing import private_settings

TASKS = 64


def quantile(values: list[float], share: float) -> float:
    """A quantile of a sample, in its unit."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")


async def alone(take: Callable[[], Any], seconds: float) -> float:
    """The median time of acquire and release in µs."""
    spent: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        began = time.perf_counter()
        async with take():
            pass
        spent.append(time.perf_counter() - began)
    return quantile(spent, 0.5) * 1e6


def alone_sync(take: Callable[[], Any], seconds: float) -> float:
    """The same for peers that block."""
    spent: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        began = time.perf_counter()
        with take():
            pass
        spent.append(time.perf_counter() - began)
    return quantile(spent, 0.5) * 1e6


async def crowd(takes: list[Callable[[], Any]], seconds: float) -> dict[str, float]:
    """Many tasks on one permit: rate, 99th percentile of the wait in ms, and how far shares lie from their mean."""
    counts, waits = [0] * len(takes), []
    until = time.perf_counter() + seconds

    async def work(number: int, take: Callable[[], Any]) -> None:
        while time.perf_counter() < until:
            began = time.perf_counter()
            async with take():
                waits.append(time.perf_counter() - began)
                counts[number] += 1

    began = time.perf_counter()
    tasks = [asyncio.create_task(work(number, take)) for number, take in enumerate(takes)]
    await asyncio.wait(tasks, timeout=seconds + 30)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return _shares(counts, waits, time.perf_counter() - began)


def crowd_sync(take: Callable[[], Any], seconds: float) -> dict[str, float]:
    """The same with threads."""
    counts, waits = [0] * TASKS, []
    until = time.perf_counter() + seconds

    def work(number: int) -> None:
        while time.perf_counter() < until:
            began = time.perf_counter()
            with suppress(Exception), take():
                waits.append(time.perf_counter() - began)
                counts[number] += 1

    began = time.perf_counter()
    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(TASKS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, until + 30 - time.perf_counter()))
    return _shares(counts, waits, time.perf_counter() - began)


def _shares(counts: list[int], waits: list[float], took: float) -> dict[str, float]:
    mean = sum(counts) / len(counts)
    return {
        "per_second": sum(counts) / took,
        "p99_wait_ms": quantile(waits, 0.99) * 1e3,
        "least": min(counts),
        "most": max(counts),
        "unfairness": max(max(counts) - mean, mean - min(counts)) / mean if mean else float("nan"),
    }


async def notice(low: Any, high: Any, times: int) -> float:
    """From asking with a higher priority to the holder's notice, the median in ms."""
    found: list[float] = []
    for number in range(times):
        name = f"n{number}"
        async with low.lock(name, priority=1) as lease:
            asked = time.perf_counter()
            taking = asyncio.create_task(_take(high, name))
            await lease.evicting.wait()
            found.append(time.perf_counter() - asked)
        await taking
    return quantile(found, 0.5) * 1e3


async def _take(agent: Any, name: str) -> None:
    async with agent.lock(name, priority=9):
        pass


async def deadlock(one: Any, other: Any, times: int) -> float:
    """Two agents take two locks in opposite order: the median time in ms until both are through."""
    found: list[float] = []

    async def both(agent: Any, first: str, second: str, meet: asyncio.Barrier) -> None:
        with suppress(LockPreemptedError):
            async with agent.lock(first):
                await meet.wait()
                async with agent.lock(second):
                    return
        async with agent.lock_all(first, second):
            return

    for number in range(times):
        meet = asyncio.Barrier(2)
        a, b = f"d{number}a", f"d{number}b"
        began = time.perf_counter()
        await asyncio.gather(both(one, a, b, meet), both(other, b, a, meet))
        found.append(time.perf_counter() - began)
    return quantile(found, 0.5) * 1e3


async def measure(url: str, seconds: float, rounds: int) -> dict[str, Any]:
    """All rows."""
    path = unquote(url.removeprefix("unix://"))
    client = redis.asyncio.Redis(unix_socket_path=path, max_connections=256)
    plain = redis.Redis(unix_socket_path=path)
    rows: dict[str, dict[str, list[float]]] = {}

    def note(name: str, **figures: float) -> None:
        for key, value in figures.items():
            rows.setdefault(name, {}).setdefault(key, []).append(value)

    async with aegis_core.connect(settings=private_settings(url=url, tenant=f"b-{uuid4().hex[:8]}")) as governor:
        agents = [await governor.handshake(f"agent-{number}", max_priority=9) for number in range(TASKS)]
        for _ in range(rounds):
            name = f"lock-{uuid4().hex[:8]}"
            note("aegis", alone_us=await alone(partial(agents[0].lock, name), seconds / 3))
            for label, sleep in (("redis-py, sleep 0.1 s", 0.1), ("redis-py, sleep 1 ms", 0.001)):
                take = partial(client.lock, f"r-{name}", timeout=30, sleep=sleep)
                note(label, alone_us=await alone(take, seconds / 3))
            _peers_alone(plain, name, seconds / 3, note)
            note("aegis", **await crowd([partial(a.lock, name, wait=60) for a in agents], seconds))
            for label, sleep in (("redis-py, sleep 0.1 s", 0.1), ("redis-py, sleep 1 ms", 0.001)):
                take = partial(client.lock, f"r-{name}", timeout=30, sleep=sleep)
                note(label, **await crowd([take] * TASKS, seconds))
            await asyncio.to_thread(_peers_crowd, plain, name, seconds, note)
            note("aegis", notice_ms=await notice(agents[0], agents[1], 50))
            note("aegis", deadlock_ms=await deadlock(agents[0], agents[1], 20))
    await client.aclose()
    return {name: {key: statistics.median(values) for key, values in row.items()} for name, row in rows.items()}


def _peers_alone(plain: redis.Redis, name: str, seconds: float, note: Callable[..., None]) -> None:
    for label, take in _peers(plain, name).items():
        note(label, alone_us=alone_sync(take, seconds))


def _peers_crowd(plain: redis.Redis, name: str, seconds: float, note: Callable[..., None]) -> None:
    for label, take in _peers(plain, name).items():
        note(label, **crowd_sync(take, seconds))


def _peers(plain: redis.Redis, name: str) -> dict[str, Callable[[], Any]]:
    """The peers that are installed, each as something to enter."""
    found: dict[str, Callable[[], Any]] = {}
    with suppress(ImportError):
        import redis_lock

        found["python-redis-lock"] = lambda: redis_lock.Lock(plain, f"p-{name}", expire=30)
    with suppress(ImportError):
        from pottery import Redlock

        found["pottery Redlock"] = lambda: Redlock(key=f"q-{name}", masters={plain}, auto_release_time=30)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    handle = join_sync(None, throwaway=True)
    try:
        rows = asyncio.run(measure(handle.url, options.seconds, options.rounds))
    finally:
        handle.leave_sync()
    ours = rows["aegis"]
    theirs = [row for name, row in rows.items() if name.startswith("redis-py")]
    best = max(theirs, key=lambda row: row["per_second"])
    ratios = {
        "uncontended p50 / redis-py's (wanted <= 0.8)": ours["alone_us"] / min(row["alone_us"] for row in theirs),
        "rate of 64 / redis-py's best (wanted >= 1.5)": ours["per_second"] / best["per_second"],
        "p99 wait of 64 / that of redis-py's best (wanted <= 0.067)": ours["p99_wait_ms"] / best["p99_wait_ms"],
        "farthest share from the mean (wanted <= 0.05)": ours["unfairness"],
        "notice of preemption, ms (wanted <= 2)": ours["notice_ms"],
        "deadlock resolved, ms (wanted <= 200)": ours["deadlock_ms"],
    }
    if options.json:
        print(json.dumps({"rows": rows, "ratios": ratios}, indent=2))
        return
    for name, row in rows.items():
        print(
            f"{name:22s} alone {row['alone_us']:7.0f} µs   64: {row['per_second']:7.0f}/s  p99 wait "
            f"{row['p99_wait_ms']:8.1f} ms  per task {row['least']:.0f}–{row['most']:.0f}"
        )
    for name, ratio in ratios.items():
        print(f"{ratio:7.3f}  {name}")


if __name__ == "__main__":
    main()
