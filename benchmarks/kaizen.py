"""Decisions with and without the engine that closes days, and trials: rows interleaved in one run, ratios of medians.

Usage: python benchmarks/kaizen.py [--rounds 200] [--seconds 0.15] [--json]

Rows: no engine; the engine as `aegis serve` runs it, but looking twenty times a second instead of once a minute; an
engine in the same process, of the same share of its time, that closes a day of all decisions so far over and over
instead of once; and a shadow experiment that samples a tenth of the requests, whose candidate answers at once and is
paid, judged and counted. Of each ratio to the first row its median over the rounds, with the interval that holds 95 %
of such medians (bootstrap). At the end the day is closed alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

from aegis_core.connect import open_governor
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.governor.kaizen_days import TenantKaizen
from aegis_core.kaizen import running
from aegis_core.kaizen.days import DayCloser
from aegis_core.kaizen.experiments.judges import Answer, Outcome, Task
from aegis_core.kaizen.experiments.shadow import Answered, Arm, Asked, Shadow
from aegis_core.kaizen.facts import DAY_MS
from aegis_core.kaizen.ports import DayLease
from aegis_core.protocol.experiments import ExperimentStart
from aegis_core.protocol.kaizen import OWN_AGENT
from aegis_core.protocol.messages import Handshake, PermissionRequest, SessionOpened, SettleRequest
from aegis_core.store import layout
from aegis_core.store.ledger import Ledger
from aegis_core.store.store import Store, open_store
from aegis_core.testing import private_settings

Engine = Callable[[], AbstractAsyncContextManager[object]]


class Tomorrow(TenantKaizen):
    """Takes the server's clock to be a day ahead, so that today is over, and reads only while it may."""

    def __init__(self, ledger: Ledger, governor: ResourceGovernor) -> None:
        super().__init__(ledger, lambda: governor.arbiter.prices)
        self.gate = asyncio.Event()

    async def hold(self, seconds: float) -> DayLease | None:
        await self.gate.wait()
        lease = await super().hold(seconds)
        return lease and lease._replace(now=lease.now + DAY_MS)

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        self.gate.set()
        yield
        self.gate.clear()


async def unmake(store: Store, tenant: str) -> None:
    """As if no day had been closed."""
    names = [layout.key(tenant, "kz"), *await store.command("KEYS", layout.key(tenant, "kd:*"))]
    await store.command("DEL", *names)


async def close_again(store: Store, tenant: str, closer: DayCloser) -> None:
    """Close the same day over and over."""
    while True:
        await unmake(store, tenant)
        await closer.look()
        await asyncio.sleep(0)


class Trials:
    """The experiments of a tenant, as `ShadowPort` has it, with money enough; and what asks a candidate."""

    def __init__(self, governor: ResourceGovernor, session: SessionOpened) -> None:
        of = governor.experiments
        self.running, self.open_pair, self.score, self.see = of.running, of.open_pair, of.score, of.see
        self._governor, self._session = governor, session

    async def renew_limit(self) -> bool:
        return True

    async def ask(self, arm: Arm) -> Asked:
        message = PermissionRequest(
            agent_id=OWN_AGENT, session_id=self._session.session_id, task_intent="Shadow trial",
            resource_type="llm_tokens", estimated_cost_usd="0.000001", experiment_arm=arm.experiment,
            propensity=arm.propensity,
        )  # type: ignore[arg-type]  # fmt: skip
        token = self._session.session_token
        verdict = await self._governor.request_permission(message, token=token)
        done = SettleRequest(agent_id=OWN_AGENT, cost_usd="0.000001")  # type: ignore[arg-type]
        await self._governor.settle(str(verdict.grant_id), done, token=token)
        return Asked(Answer(arm.candidate, outcome=1))


class Offers:
    """Offers every request that was decided to the shadow while it is open."""

    def __init__(self, trials: Trials) -> None:
        self._trials, self._shadow, self._open, self._count = trials, Shadow(trials, Outcome()), False, 0

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        self._open = True
        yield
        self._open = False
        await self._shadow.drain()

    def take(self) -> None:
        if self._open:
            self._count += 1
            task = Task(f"r{self._count}", "t")
            self._shadow.offer(Answered(task, Answer("gpt-4o", outcome=1), "gpt-4o", "ann", self._trials.ask))


async def run(rounds: int, seconds: float) -> dict[str, object]:
    """Interleave the rows; answer medians (µs), ratios with their intervals, and what it took to close the day."""
    running.LOOK_SECONDS = 0.05
    settings = private_settings(agent_day_usd="1000000", tenant_day_usd="8000000")
    store = await open_store(settings, throwaway=True)
    governor = await open_governor(store, settings)
    session = await governor.handshake(Handshake(agent_id="ann", session_budget_usd="1000000"))  # type: ignore[arg-type]
    request = PermissionRequest(
        agent_id="ann", session_id=session.session_id, task_intent="Summarise", resource_type="llm_tokens",
        estimated_cost_usd="0.000001", logic_density=3, confidence=0.9,
    )  # type: ignore[arg-type]  # fmt: skip

    async def decide() -> float:
        start = time.perf_counter()
        verdict = await governor.request_permission(request, token=session.session_token)
        took = time.perf_counter() - start
        done = SettleRequest(agent_id="ann", cost_usd="0.000001")  # type: ignore[arg-type]
        await governor.settle(str(verdict.grant_id), done, token=session.session_token)
        offers.take()
        return took

    wish = ExperimentStart(task_type="t", present="gpt-4o", candidate="gpt-4o-mini", most_pairs=6_000)
    trial = await governor.experiments.start(wish, author="bench")
    own = await governor.handshake(Handshake(agent_id=OWN_AGENT, session_budget_usd="1000000"))  # type: ignore[arg-type]
    offers = Offers(Trials(governor, own))

    port, share = Tomorrow(Ledger(store, settings.tenant), governor), running.SHARE_BESIDE_DECISIONS
    rows: dict[str, Engine] = {
        "none": nullcontext,
        "looking": lambda: running.closing_days(DayCloser(governor.kaizen, share=share)),
        "closing": port.open,
        "trials": offers.open,
    }
    found: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(500):
        await decide()
    again = asyncio.create_task(close_again(store, settings.tenant, DayCloser(port, share=share)))
    for at in range(rounds):
        for name in random.Random(at).sample(list(rows), len(rows)):
            async with rows[name]():
                until, took = time.perf_counter() + seconds, list[float]()
                while time.perf_counter() < until:
                    took.append(await decide())
            found[name].append(statistics.median(took) * 1e6)
    again.cancel()
    await unmake(store, settings.tenant)
    port.gate.set()
    start = time.process_time()
    await DayCloser(port).look()
    alone = time.process_time() - start
    events = int(await store.command("XLEN", layout.key(settings.tenant, "e")))
    pairs = (await governor.experiments.one(trial.experiment_id)).pairs
    await governor.aclose()
    await store.aclose()
    answer: dict[str, object] = {name: round(statistics.median(each)) for name, each in found.items()}
    for name in ("looking", "closing", "trials"):
        answer[f"{name} / none"] = interval([a / b for a, b in zip(found[name], found["none"], strict=True)])
    return answer | {"pairs": pairs, "events": events, "seconds of CPU to close": round(alone, 2)}


def interval(ratios: list[float]) -> list[float]:
    """The median, and between what 95 % of medians lie when the rounds are drawn again."""
    draws = random.Random("aegis")
    medians = sorted(statistics.median(draws.choices(ratios, k=len(ratios))) for _ in range(2_000))
    return [round(each, 3) for each in (statistics.median(ratios), medians[50], medians[1949])]


def main() -> None:
    """Print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=0.15)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = asyncio.run(run(options.rounds, options.seconds))
    if options.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:<18}", value)


if __name__ == "__main__":
    main()
