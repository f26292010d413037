"""What a failover of a real Cluster or Sentinel loses: primaries are killed while agents spend, lock and are asked.

Usage: python benchmarks/failover.py [--topology cluster|sentinel] [--replica healthy|stalled] [--min-replicas 0|1]

Every grant and receipt that a program was told of is compared with what the new primary knows of it: what is missing
was lost. `stalled` cuts the replicas off for some seconds before their primary is killed, as a network does. Needs
`redis-server` on PATH; the embedded server's binary is used where there is none.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

from failover_servers import Topology, cluster, sentinel

import aegis_core
from aegis_core import AegisError, GovernedAgent, Governor
from aegis_core.testing import private_settings, quiet_zone

PATIENCE, CENT, LIMIT = 2.0, Decimal("0.01"), Decimal(40)
TENANTS = ("amber", "birch", "cedar", "delta")
"""On a cluster of three their slots lie on each of its primaries."""
SPENDERS = 4


@dataclass
class Told:
    """What the programs of one tenant were told, and when.

    Attributes:
        granted: dollars that each grant holds, by its id.
        settled: what a receipt said that it was charged.
        fences: of the lock, in the order in which they were told.
        approved: grants that a person approved.
        answers: when a decision was answered (s).
        events: ids of events that were followed.
    """

    granted: dict[str, Decimal] = field(default_factory=dict)
    settled: dict[str, Decimal] = field(default_factory=dict)
    fences: list[int] = field(default_factory=list)
    approved: set[str] = field(default_factory=set)
    answers: list[float] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    def sizes(self) -> dict[str, int]:
        """How many of each so far."""
        return {
            "grants": len(self.granted), "locks": len(self.fences), "approvals": len(self.approved),
            "events": len(self.events),
        }  # fmt: skip


class Programs:
    """What works for one tenant: some spend, two take turns on a lock, one asks a person, and one follows events."""

    def __init__(self, governor: Governor) -> None:
        self.governor, self.told, self.over = governor, Told(), False

    async def run(self) -> None:
        """Until `over`."""
        await self.governor.handshake("spends")
        await self.governor.set_budget("agent", "spends", "total", LIMIT)
        following = asyncio.create_task(self._follow())
        works = [self._spend() for _ in range(SPENDERS)] + [self._lock(name) for name in ("one", "two")]
        await asyncio.gather(*(self._again(work) for work in (*works, self._ask())))
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following

    async def _again(self, work: Any) -> None:
        async for _ in work:
            if self.over:
                return

    async def tried(self, call: Awaitable[Any]) -> Any:
        """The answer; None where there was an error, which is counted."""
        try:
            answer = await call
        except AegisError as error:
            self.told.errors[error.code] += 1
            await asyncio.sleep(0.05)
            return None
        self.told.answers.append(time.monotonic())
        return answer

    async def agent(self, name: str) -> GovernedAgent:
        """A session of an agent, however long that takes."""
        while (agent := await self.tried(self.governor.handshake(name))) is None:
            pass
        return agent

    async def _spend(self) -> Any:
        agent = await self.agent("spends")
        while True:
            yield
            verdict = await self.tried(agent.request("Summarise", resource_type="api_call", estimated_cost_usd=CENT))
            if verdict is None or not verdict.granted:
                await asyncio.sleep(0.02)
                continue
            self.told.granted[verdict.grant_id] = CENT
            receipt = await self.tried(agent.settle(verdict.grant_id, cost_usd=CENT / 2))
            if receipt is not None:
                self.told.settled[verdict.grant_id] = receipt.charged_usd
            await asyncio.sleep(0.01)

    async def _lock(self, name: str) -> Any:
        agent = await self.agent(name)
        while True:
            yield
            with suppress(AegisError):
                block = agent.lock("till", ttl=2, wait=5)
                lease = await self.tried(block.__aenter__())
                if lease is not None:
                    self.told.fences.append(lease.fence)
                    await asyncio.sleep(0.005)
                    await block.__aexit__(None, None, None)

    async def _ask(self) -> Any:
        agent, number = await self.agent("asks"), 0
        while True:
            yield
            number += 1
            wish = {"resource_type": "api_call", "estimated_cost_usd": CENT, "confidence": 0.1, "wait": 8}
            asking = asyncio.create_task(self.tried(agent.request(f"Rent {number}", **wish)))
            while not asking.done():
                page = await self.tried(self.governor.approvals.list(agent_id="asks"))
                for each in page or ():
                    await self.tried(self.governor.approvals.decide(each.approval_id, "approve", by="ada"))
                await asyncio.sleep(0.05)
            verdict = await asking
            if verdict is not None and verdict.granted:
                self.told.approved.add(verdict.grant_id)
                await self.tried(agent.settle(verdict.grant_id, cost_usd=CENT))

    async def _follow(self) -> None:
        after = "$"
        while True:
            with suppress(AegisError):
                async for event in self.governor.follow(after=after):
                    self.told.events.append(event.id)
                    after = event.id
            await asyncio.sleep(0.05)


async def lost(programs: Programs) -> dict[str, Any]:
    """Compare what was told with what is known now.

    Raises:
        AssertionError: more was granted than the budget and what was lost allow, or a fence was given twice while
            nothing was lost.
    """
    told, governor = programs.told, programs.governor
    known: dict[str, tuple[str, float]] = {}
    after, ids = "0", list[str]()
    while page := await governor.events(after=after, limit=500):
        after = page[-1].id
        for event in page:
            ids.append(event.id)
            if (grant := event.facts.get("grant_id")) is not None:
                known[grant] = (event.kind, float(event.facts.get("charged_usd") or 0))
    grants = [grant for grant in told.granted if grant not in known]
    receipts = [grant for grant in told.settled if known.get(grant, ("",))[0] not in {"settled", "overrun"}]
    state = next(each for each in (await governor.budget("spends")).budgets if each.window == "total")
    # What the budget forgot: what a receipt said, and what an open grant held.
    gone = sum((told.settled[grant] for grant in receipts), Decimal(0))
    gone += sum((told.granted[grant] for grant in grants if grant not in told.settled), Decimal(0))
    spent = sum(told.settled.values(), Decimal(0))
    assert spent <= LIMIT + gone, f"{spent} were charged against {LIMIT}, and {gone} were forgotten"
    assert state.spent_usd + state.reserved_usd <= LIMIT
    twice = len(told.fences) - len(set(told.fences))
    assert not twice or grants or receipts, "a fence was given twice, though nothing was lost"
    seen = set(ids)
    return {
        "grants_told": len(told.granted), "grants_lost": len(grants), "receipts_lost": len(receipts),
        "approved_lost": len([grant for grant in told.approved if grant not in known]),
        "usd_forgotten": float(gone), "fences": len(told.fences), "fences_twice": twice,
        "events_followed": len(told.events), "events_lost": len(set(told.events) - seen),
        "longest_gap": round(_gap(told.answers), 2), "errors": dict(told.errors), "spent_usd": float(state.spent_usd),
    }  # fmt: skip


def _gap(answers: list[float]) -> float:
    """The longest time in which no call was answered."""
    return max((later - earlier for earlier, later in pairwise(answers)), default=0.0)


async def run(topology: Topology, *, stalled: bool, seconds: float, tenants: tuple[str, ...]) -> dict[str, Any]:
    """Let programs work, kill the primary of the first tenant in the middle, and compare."""
    async with AsyncExitStack() as stack:
        crew: list[Programs] = []
        for tenant in tenants:
            settings = private_settings(
                url=topology.url, tenant=tenant, store_timeout_seconds=PATIENCE, tenant_day_usd=1_000_000,
                agent_day_usd=100_000, timezone=quiet_zone(), approval_seconds=30, grant_seconds=300,
            )  # fmt: skip
            governor = await stack.enter_async_context(aegis_core.connect(settings=settings))
            crew.append(Programs(governor))
        began = time.process_time()
        working = [asyncio.create_task(each.run()) for each in crew]
        while not all(all(each.told.sizes().values()) for each in crew):  # noqa: ASYNC110 - until every program works
            await asyncio.sleep(0.05)
        await asyncio.sleep(seconds / 3)
        primary, replicas = await asyncio.to_thread(topology.around, tenants[0])
        before, used = crew[0].told.sizes(), time.process_time() - began
        calls = sum(len(each.told.answers) for each in crew)
        scripts = (await asyncio.to_thread(primary.client.info, "commandstats"))["cmdstat_fcall"]
        if stalled:
            for each in replicas:
                each.send(signal.SIGSTOP)
            primary.client.execute_command("CLIENT KILL TYPE replica")  # so what it writes from now on reaches nobody
            await asyncio.sleep(3)
        killed = time.monotonic()
        primary.kill()
        for each in replicas if stalled else ():
            each.send(signal.SIGCONT)
        first = await _answered_again(crew[0], killed)
        while crew[0].told.sizes() == before:  # noqa: ASYNC110 - likewise
            await asyncio.sleep(0.05)
        await asyncio.sleep(2 * seconds / 3)
        for each in crew:
            each.over = True
        await asyncio.wait_for(asyncio.gather(*working), 60)
        rows = {tenant: await lost(each) for tenant, each in zip(tenants, crew, strict=True)}
        after = {name: size - before[name] for name, size in crew[0].told.sizes().items()}
        return {
            "answered_again_after": round(first, 2), "before": before, "after": after, "tenants": rows,
            "server_us_a_script": round(scripts["usec_per_call"]), "client_cpu_us_a_call": round(used / calls * 1e6),
        }  # fmt: skip


async def _answered_again(programs: Programs, killed: float) -> float:
    """Seconds until a grant was told that was asked for after the primary was killed."""
    async with asyncio.timeout(60):
        while not [at for at in programs.told.answers if at > killed + 0.5]:  # noqa: ASYNC110 - it is asked
            await asyncio.sleep(0.02)
    return min(at for at in programs.told.answers if at > killed + 0.5) - killed


def measure(kind: str, folder: Path, *, stalled: bool, least: int, seconds: float = 9) -> dict[str, Any]:
    """One run on servers of its own."""
    binary = Path(shutil.which("redis-server") or "")
    if not binary.name:
        from aegis_core.store.embedded import find_binary

        binary = find_binary()
    with (cluster if kind == "cluster" else sentinel)(binary, folder, least) as topology:
        tenants = TENANTS if kind == "cluster" else TENANTS[:1]
        return asyncio.run(run(topology, stalled=stalled, seconds=seconds, tenants=tenants))


def main() -> None:
    """Print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--topology", choices=("cluster", "sentinel"), default="sentinel")
    parser.add_argument("--replica", choices=("healthy", "stalled"), default="healthy")
    parser.add_argument("--min-replicas", type=int, choices=(0, 1), default=0)
    parser.add_argument("--seconds", type=float, default=9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(
            options.topology, Path(folder), stalled=options.replica == "stalled", least=options.min_replicas,
            seconds=options.seconds,
        )  # fmt: skip
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
