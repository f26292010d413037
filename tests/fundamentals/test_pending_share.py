"""Whatever is asked, what waits never holds more than its share of what others need."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import aegis_core
from aegis_core import Governor, Settings
from aegis_core.governor.credentials import Entrance
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.protocol.messages import Handshake, PermissionRequest, ReleaseRequest
from aegis_core.store import layout
from aegis_core.store.packing import decode, pack, unpack
from aegis_core.store.schema import Agent, Tenant
from aegis_core.store.store import Store
from aegis_core.testing import FakeClock

pytestmark = pytest.mark.leaves("grants", "questions", "leases")

KEYS = (None, "key-a", "key-b")
AGENTS = tuple((f"agent-{at}", KEYS[at % 3]) for at in range(6))
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "ask", "ask", "lock", "lock", "release", "approve", "look"]),
        st.integers(0, len(AGENTS) - 1),
        st.sampled_from([1, 6, 9, 14, 26]),
    ),
    min_size=10,
    max_size=30,
)


class Origins:
    """One tenant whose day is $100, with agents of three origins; what waits, by the id of its grant."""

    def __init__(self, port: ResourceGovernor) -> None:
        self.port = port
        self.tokens: dict[str, str] = {}
        self.waits: dict[str, tuple[str, str | None, float]] = {}

    async def enter(self) -> None:
        for agent, key in AGENTS:
            opened = await self.port.handshake(
                Handshake(agent_id=agent), entry=Entrance(trusted=key is None, credential=key)
            )
            self.tokens[agent] = opened.session_token

    async def step(self, act: str, agent: str, key: str | None, cost: int) -> None:
        token = self.tokens[agent]
        if act in {"ask", "lock"}:
            kind, target = ("file_lock", "one") if act == "lock" else ("api_call", None)
            request = PermissionRequest(
                agent_id=agent, task_intent="Work", estimated_cost_usd=Decimal(cost), resource_type=kind,
                target_resource=target,
            )  # fmt: skip
            verdict = await self.port.request_permission(request, token=token)
            if verdict.status == "PENDING" and verdict.grant_id:
                self.waits[verdict.grant_id] = (agent, key, cost)
            return
        mine = [grant for grant, (owner, _, _) in self.waits.items() if owner == agent]
        if mine and act == "release":
            await self.port.release(mine[0], ReleaseRequest(agent_id=agent), token=token)
            del self.waits[mine[0]]
        elif mine and act == "approve":
            for waiting in await self.port.approvals.list():
                if waiting.grant_id == mine[0]:
                    await self.port.approvals.decide(waiting.approval_id, "approve", by="ada")
        if mine and act != "release":
            verdict = await self.port.wait_for(mine[0], 0)
            if verdict.status != "PENDING":
                del self.waits[mine[0]]

    async def check(self) -> None:
        """No more than half of it waits, of one agent and of one key; and the books say what really waits."""
        by_agent, by_key = dict.fromkeys((name for name, _ in AGENTS), 0.0), dict.fromkeys(KEYS, 0.0)
        for agent, key, cost in self.waits.values():
            by_agent[agent] += cost
            by_key[key] += cost
        assert max(*by_agent.values(), *by_key.values()) <= 50
        ledger = self.port._ledger
        tenant = decode(Tenant, unpack(await ledger.store.command("GET", layout.root(ledger.tenant))))
        kept = {name: sum(hours.values()) for name, hours in (tenant.waiting or {}).items()}
        assert kept == {key or "": cost * 1e9 for key, cost in by_key.items() if cost}
        for agent, cost in by_agent.items():
            found = await ledger.store.command("GET", layout.key(ledger.tenant, f"a:{agent}"))
            assert sum((decode(Agent, unpack(found)).waiting or {}).values()) == cost * 1e9


async def held(governor: Governor, steps: list[tuple[str, int, int]]) -> None:
    assert isinstance(governor.port, ResourceGovernor)
    origins = Origins(governor.port)
    await origins.enter()
    for act, which, cost in steps:
        await origins.step(act, *AGENTS[which], cost)
        await origins.check()


def tries(most: int) -> settings:
    return settings(max_examples=most, deadline=None, suppress_health_check=list(HealthCheck))


def run(server: Settings, steps: list[tuple[str, int, int]]) -> None:
    async def work() -> None:
        fresh = server.model_copy(update={"tenant": f"t-{uuid4().hex[:12]}", "agent_day_usd": 1_000})
        async with aegis_core.connect(settings=fresh) as governor:
            await held(governor, steps)

    asyncio.run(work())


@tries(6)
@given(STEPS)
def test_what_waits_holds_at_most_its_share(settings: Settings, steps: list[tuple[str, int, int]]) -> None:
    run(settings, steps)


@pytest.mark.deep
@tries(300)
@given(STEPS)
def test_what_waits_holds_at_most_its_share_for_long(settings: Settings, steps: list[tuple[str, int, int]]) -> None:
    run(settings, steps)


@pytest.mark.leaves("anything")
async def test_what_an_older_version_ended_drops_out(virtual: tuple[Governor, FakeClock, Store]) -> None:
    """It knows nothing of these counts, so what it ends stays in them; until the hour of its deadline is over."""
    governor, clock, store = virtual
    one, other = await governor.handshake("one"), await governor.handshake("other")
    assert (await one.request("Work", estimated_cost_usd=9)).status == "PENDING"
    assert isinstance(governor.port, ResourceGovernor)
    root = layout.root(governor.port.tenant)
    tenant = unpack(await store.command("GET", root))
    counts = tenant[Tenant._fields.index("waiting")][""]
    counts.update({hour: nanos + 40 * 10**9 for hour, nanos in counts.items()})
    await store.command("SET", root, pack(tenant))
    assert (await other.request("Work", estimated_cost_usd=9)).code == "too_much_pending"
    await clock.advance(hours=2)
    assert (await other.request("Work again", estimated_cost_usd=9)).status == "PENDING"
