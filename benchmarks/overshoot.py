"""The proof that a budget holds: many processes ask for more than there is, and are killed while they do.

Usage: python benchmarks/overshoot.py [--rounds 200] [--processes 8] [--tasks 50] [--kills 20]

Part one: in each round, 8 processes with 50 tasks each ask for $0.50 against a fresh budget of $10: exactly 20 may be
granted. Part two: workers that reserve and settle are killed with SIGKILL at random moments until enough died between
a reservation and its settlement; then every invariant is checked by walking Redis.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing as mp
import os
import random
import signal
import sys
import time
from collections import Counter
from decimal import Decimal
from typing import Any

import aegis_core
from aegis_core import Settings
from aegis_core.store import layout
from aegis_core.store.embedded import join_sync
from aegis_core.store.packing import decode, unpack
from aegis_core.store.records import Record
from aegis_core.store.schema import Agent, Tenant
from aegis_core.store.states import OPEN
from aegis_core.store.store import Store, open_store
from aegis_core.testing import private_settings

PRICE = Decimal("0.50")
START = "spawn"
"""How processes begin. Tests let them fork from one that has loaded the project, which takes a second each time."""


def settings_for(url: str, **values: Any) -> Settings:
    """Room for the tenant, $10 a day for each agent."""
    limits = {
        "tenant_day_usd": 1_000_000,
        "max_open_grants": 100_000,
        "events_kept": 10_000_000,
        "store_timeout_seconds": 60,
    }
    return private_settings(url=url, timezone=noon_zone(), **limits, **values)


def noon_zone() -> str:
    """A time zone in which it is about noon, so that no day begins while the proof runs."""
    ahead = 12 - time.gmtime().tm_hour
    return f"Etc/GMT{-ahead:+d}" if ahead else "Etc/GMT"


SHORT: dict[str, Any] = {"grant_seconds": 2}
"""Grants that live two seconds, so that those of the dead expire soon."""


def racer(url: str, tasks: int, start: Any, inbox: Any, outbox: Any) -> None:
    """A process that, each round, lets `tasks` tasks ask at once for the same agent."""

    async def run() -> None:
        async with aegis_core.connect(settings=settings_for(url)) as governor:
            while (agent_id := await asyncio.to_thread(inbox.get)) is not None:
                agent = await governor.handshake(agent_id)
                await asyncio.to_thread(start.wait)
                verdicts = await asyncio.gather(
                    *(agent.request("Summarise", estimated_cost_usd=PRICE) for _ in range(tasks))
                )
                outbox.put(Counter(f"{verdict.status} {verdict.code}" for verdict in verdicts))

    asyncio.run(run())


def race(url: str, rounds: int, processes: int, tasks: int, progress: Any = None) -> list[Counter[str]]:
    """Part one: the verdicts of each round, counted."""
    context = mp.get_context(START)
    start, outbox = context.Barrier(processes), context.Queue()
    inboxes = [context.Queue() for _ in range(processes)]
    workers = [context.Process(target=racer, args=(url, tasks, start, inbox, outbox)) for inbox in inboxes]
    for worker in workers:
        worker.start()
    found: list[Counter[str]] = []
    try:
        for number in range(rounds):
            for inbox in inboxes:
                inbox.put(f"racer-{number}")
            found.append(sum((outbox.get(timeout=120) for _ in workers), start=Counter()))
            if progress:
                progress(number + 1)
    finally:
        for inbox in inboxes:
            inbox.put(None)
        for worker in workers:
            worker.join(30)
            if worker.is_alive():
                worker.kill()
    return found


def spender(url: str, agent_id: str, journal: str) -> None:
    """A process that reserves, notes the grant in its journal, works a moment, settles, and notes that too."""

    async def task(agent: aegis_core.GovernedAgent, notes: Any) -> None:
        dice = random.Random()
        while True:
            amount = Decimal(dice.randrange(1, 2_000)) / 100_000
            verdict = await agent.request("Work", estimated_cost_usd=amount)
            if not verdict.granted:
                await asyncio.sleep(0.005)
                continue
            notes.write(f"+{verdict.grant_id}\n")
            await asyncio.sleep(dice.random() * 0.004)
            await agent.settle(verdict.grant_id or "", cost_usd=amount * dice.randrange(0, 12) / 10)
            notes.write(f"-{verdict.grant_id}\n")

    async def run() -> None:
        with open(journal, "a", buffering=1, encoding="ascii") as notes:  # noqa: ASYNC230, PTH123 - one line at a time
            async with aegis_core.connect(settings=settings_for(url, **SHORT)) as governor:
                agent = await governor.handshake(agent_id)
                await asyncio.gather(*(task(agent, notes) for _ in range(8)))

    asyncio.run(run())


def kill_spree(url: str, folder: str, processes: int, wanted: int) -> tuple[int, int]:
    """Part two: kill workers until `wanted` died holding a grant. Answers all kills, and those."""
    context = mp.get_context(START)
    kills, between, generation = 0, 0, 0
    running: list[tuple[Any, str]] = []

    def launch() -> None:
        nonlocal generation
        generation += 1
        journal = os.path.join(folder, f"{generation}.txt")  # noqa: PTH118
        agent_id = f"spender-{generation // 2}"  # two share one, and it is fresh: without money nothing is held
        worker = context.Process(target=spender, args=(url, agent_id, journal))
        worker.start()
        running.append((worker, journal))

    for _ in range(processes):
        launch()
    try:
        until = time.monotonic() + 300
        while between < wanted and time.monotonic() < until:
            time.sleep(random.uniform(0.05, 0.25))
            worker, journal = random.choice(running)
            if not os.path.exists(journal) or os.path.getsize(journal) < 200:  # noqa: PTH110, PTH202
                continue
            os.kill(worker.pid, signal.SIGKILL)
            worker.join()
            running.remove((worker, journal))
            kills += 1
            between += holding(journal) > 0
            launch()
    finally:
        for worker, _ in running:
            worker.kill()
            worker.join()
    return kills, between


def holding(journal: str) -> int:
    """How many grants a killed worker had reserved and not settled."""
    with open(journal, encoding="ascii") as notes:  # noqa: PTH123
        lines = notes.read().split("\n")[:-1]
    return len({line[1:] for line in lines if line[0] == "+"} - {line[1:] for line in lines if line[0] == "-"})


async def told(store: Store, tenant: str) -> tuple[dict[tuple[str, str], int], set[tuple[str, str]], Counter[str], int]:
    """What the events say: the charge of each grant, which ended, how many of each kind, and how many in all."""
    charged: dict[tuple[str, str], int] = {}  # a settlement after the deadline replaces the charge at the estimate
    ended: set[tuple[str, str]] = set()
    kinds: Counter[str] = Counter()
    seen, after = 0, "-"
    while page := await store.clients.any.xrange(layout.key(tenant, "e"), after, "+", count=5_000):
        seen, after = seen + len(page), "(" + page[-1][0].decode()
        tell(page, charged, ended, kinds)
    return charged, ended, kinds, seen


def tell(page: Any, charged: dict[tuple[str, str], int], ended: set[tuple[str, str]], kinds: Counter[str]) -> None:
    """Count one page of events."""
    for _, fields in page:
        kind = fields[b"k"].decode()
        kinds[kind] += 1
        if kind in {"settled", "overrun", "expired", "released"}:
            record = decode(Record, unpack(fields[b"b"]))
            ended.add((record.agent, record.request))
            charged[record.agent, record.request] = record.charged


async def walk(store: Store, tenant: str) -> dict[str, int]:
    """Check architecture's invariants 1, 2, 8 and 11 on what lies in Redis.

    Raises:
        AssertionError: one does not hold.
    """
    client = store.clients.any
    records: dict[str, Record] = {}
    budgets: dict[str, list[list[Any]]] = {}
    agents: dict[str, Agent] = {}
    prefix = layout.key(tenant, "")
    async for raw in client.scan_iter(match=f"{prefix}*", count=2_000):
        name = raw.decode().removeprefix(prefix)
        if name.startswith("r:"):
            blob = await client.get(raw)
            if blob is None:  # a remembered refusal that expired just now
                continue
            record = decode(Record, unpack(blob))
            records[name[2:]] = record
            open_ = record.state in OPEN
            assert (await client.ttl(raw) == -1) is open_, f"open records have no expiry, ended ones do: {record}"
        elif name.startswith("a:"):
            agents[name[2:]] = decode(Agent, unpack(await client.get(raw)))
            budgets["a " + name[2:]] = agents[name[2:]].purse
    budgets["t"] = decode(Tenant, unpack(await client.get(layout.root(tenant)))).purse
    held: Counter[str] = Counter()
    for record in records.values():
        if record.state in OPEN:
            held["a " + record.agent] += record.amount
            held["t"] += record.amount
    charged, ended, kinds, seen = await told(store, tenant)
    spent: Counter[str] = Counter()
    for (agent_id, _), cost in charged.items():
        spent["a " + agent_id] += cost
        spent["t"] += cost
    for owner, purse in budgets.items():
        for _, limit, _, budget_spent, reserved, *_ in purse:
            assert reserved == held[owner], f"{owner}: reserved {reserved}, open grants hold {held[owner]}"
            assert budget_spent == spent[owner], f"{owner}: spent {budget_spent}, the events say {spent[owner]}"
            # Overruns of the spenders may pass the limit; what was admitted never does.
            assert reserved == 0 or reserved <= limit
    for name, agent in agents.items():
        count = sum(1 for record in records.values() if record.agent == name and record.state in OPEN)
        assert agent.open == count, f"{name}: counts {agent.open} open grants, has {count}"
    open_count = sum(1 for record in records.values() if record.state in OPEN)
    admitted = kinds["granted"]
    assert admitted == len(ended) + open_count, f"{admitted} grants, {len(ended)} ended, {open_count} open"
    return {
        "admitted": admitted,
        "ended": len(ended),
        "expired": kinds["expired"],
        "open": open_count,
        "events": seen,
    }


async def inspect(url: str, sweep: bool) -> dict[str, int]:
    """Walk the store; with `sweep`, first wait until every grant of the dead has passed its deadline."""
    store = await open_store(settings_for(url))
    try:
        if sweep:
            async with aegis_core.connect(settings=settings_for(url, **SHORT)) as governor:
                await asyncio.sleep(2.2)
                port: Any = governor.port
                while await port._ledger.sweep():
                    pass
        return await walk(store, "default")
    finally:
        await store.aclose()


def main() -> None:
    """Run both parts and print what was seen; exit 1 when anything was granted beyond a budget."""
    import tempfile

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--tasks", type=int, default=50)
    parser.add_argument("--kills", type=int, default=20, help="workers that must die between reserve and settle")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    live = sys.stderr.isatty()
    server = join_sync(None, throwaway=True)
    try:
        found = race(
            server.url, options.rounds, options.processes, options.tasks,
            (lambda number: sys.stderr.write(f"\rround {number}/{options.rounds} ")) if live else None,
        )  # fmt: skip
    finally:
        server.leave_sync()
    granted = Counter(counts["GRANTED ok"] for counts in found)
    sys.stderr.write(f"\r{len(found)} rounds, granted: {dict(granted)}\n")
    report: dict[str, Any] = {
        "rounds": len(found),
        "granted_per_round": {str(n): times for n, times in granted.items()},
    }
    server = join_sync(None, throwaway=True)
    try:
        with tempfile.TemporaryDirectory() as folder:
            kills, between = kill_spree(server.url, folder, options.processes, options.kills)
            report |= {"kills": kills, "kills_between_reserve_and_settle": between}
            report["after_the_kills"] = asyncio.run(inspect(server.url, sweep=False))
            report["after_the_deadlines"] = asyncio.run(inspect(server.url, sweep=True))
    finally:
        server.leave_sync()
    right = set(granted) == {20} and between >= options.kills and report["after_the_deadlines"]["open"] == 0
    report["holds"] = right
    if options.json:
        print(json.dumps(report, indent=2))
    else:
        print(f"\r{len(found)} rounds of {options.processes} × {options.tasks} requests for $0.50 against $10.00")
        for number, times in sorted(granted.items()):
            print(f"  granted {number}: {times} rounds")
        print(f"{kills} workers killed, {between} of them between reserve and settle")
        print(f"  after the kills: {report['after_the_kills']}")
        print(f"  after the deadlines: {report['after_the_deadlines']}")
        print("every invariant holds" if right else "FAILED")
    sys.exit(0 if right else 1)


if __name__ == "__main__":
    main()
