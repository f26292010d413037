"""What stood in the way of a request where that is a lock, a chain or a lost answer: the rest of the table of codes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest

from aegis_core import Governor, Settings
from aegis_core.client.agent import GovernedAgent
from aegis_core.governor.credentials import Entrance
from aegis_core.protocol.canonical import record_id
from aegis_core.protocol.messages import Handshake
from aegis_core.protocol.parsing import parse
from aegis_core.protocol.profiles import Profile
from aegis_core.protocol.transactions import TransactionFacts, TransactionRequest
from aegis_core.store.chains import ChainStore
from aegis_core.store.verbs import Withdraw
from aegis_core.testing import FakeClock, virtual_governor
from tests.fundamentals.test_explained_events import Facts, publish

pytestmark = pytest.mark.leaves("grants", "questions", "leases")

GWEI = 10**9
WALLET = "eip155:1:0x" + "ab" * 20
Way = Callable[[Governor, FakeClock, GovernedAgent], Awaitable[Facts]]


async def sign(agent: GovernedAgent, target: str = "db", **more: Any) -> Any:
    return await agent.request("Write", resource_type="file_lock", estimated_cost_usd=0, target_resource=target, **more)


async def pay(governor: Governor, agent: GovernedAgent, own: str = WALLET) -> None:
    await governor.port.operator.set_profile(Profile(match="a", wallets=(own,)), author="ada")
    facts = TransactionFacts(
        chain="eip155:1", name="ethereum", testnet=False, wallet=WALLET, method="0x", creates=False, gas_usd=Decimal(1),
        core="0x1", hash="0x2", nonce=0, max_fee=500 * GWEI, priority_fee=2 * GWEI, stale_ms=30_000,
    )  # fmt: skip
    message = parse(
        TransactionRequest, agent_id=agent.agent_id, task_intent="Pay", resource_type="gas_budget",
        estimated_cost_usd=1, transaction=facts,
    )  # fmt: skip
    await governor.port.request_permission(message)


async def gas(governor: Governor, clock: FakeClock) -> None:
    """Gas costs 400 gwei, as a process that watches the chain says."""
    store: Any = ChainStore(governor.port._ledger)  # pyright: ignore[reportAttributeAccessIssue]
    assert (await store.hold(60))[0]
    at = int(clock.now.timestamp() * 1000)
    assert await store.put_gas("eip155:1", price=400 * GWEI, block=1, block_at=at, sources=1, usd="1")


async def by_question(governor: Governor, _: FakeClock, agent: GovernedAgent) -> Facts:
    await publish(governor, {"name": "ask", "type": "max_cost", "limit_usd": "2", "effect": "escalate"})
    await agent.request("Work", estimated_cost_usd=3)
    return {"kind": "rule", "name": "ask", "unit": "usd", "limit": 2.0, "left": 2.0, "asked": 3.0}


async def by_holder(governor: Governor, _: FakeClock, agent: GovernedAgent) -> Facts:
    await sign(await governor.handshake("holder"))
    await sign(agent)
    return {"kind": "lock", "name": "db"}


async def by_patience(governor: Governor, clock: FakeClock, agent: GovernedAgent) -> Facts:
    facts = await by_holder(governor, clock, agent)
    await clock.advance(minutes=11)
    await governor.port.latest_events(1)
    await agent.request("Work", estimated_cost_usd=0)  # and ends what is overdue
    return facts


async def by_waits(governor: Governor, clock: FakeClock, agent: GovernedAgent) -> Facts:
    facts = await by_holder(governor, clock, agent)
    await sign(agent)
    return facts | {"unit": "waits", "limit": 1, "left": 0, "asked": 1}


async def by_room(_: Governor, __: FakeClock, agent: GovernedAgent) -> Facts:
    for target in ("one", "two"):
        await sign(agent, target)
    return {"kind": "lock", "name": "two", "unit": "locks", "limit": 1, "left": 0, "asked": 1}


async def by_cycle(governor: Governor, _: FakeClock, agent: GovernedAgent) -> Facts:
    other = await governor.handshake("other")  # comes first, so it goes first
    async with other.lock("one"), agent.lock("two"):
        await sign(other, "two")
        await sign(agent, "one")
    return {"kind": "lock", "name": "one"}


async def by_lost_lease(_: Governor, __: FakeClock, agent: GovernedAgent) -> Facts:
    await sign(agent, within=[{"resource": "outer", "lock_token": "lk_" + "0" * 32}])
    return {"kind": "lock", "name": "db"}


async def by_age(governor: Governor, clock: FakeClock, agent: GovernedAgent) -> Facts:
    await gas(governor, clock)
    await clock.advance(seconds=40)
    await pay(governor, agent)
    return {
        "kind": "gas", "name": "the age of the price of gas", "unit": "ms", "limit": 30_000, "left": 30_000,
        "asked": 40_000,
    }  # fmt: skip


async def by_price(governor: Governor, clock: FakeClock, agent: GovernedAgent) -> Facts:
    await publish(governor, {"name": "calm", "type": "gas_price_ceiling", "max_gwei": 150})
    await gas(governor, clock)
    await pay(governor, agent)
    return {
        "kind": "rule", "name": "calm", "unit": "wei", "limit": 150 * GWEI, "left": 150 * GWEI, "asked": 402 * GWEI,
    }  # fmt: skip


async def by_wallet(governor: Governor, _: FakeClock, agent: GovernedAgent) -> Facts:
    await pay(governor, agent, "eip155:1:0x" + "cd" * 20)
    return {"kind": "profile", "name": "the wallets of the agent's profile"}


async def by_silence(governor: Governor, _: FakeClock, agent: GovernedAgent) -> Facts:
    verdict = await agent.request("Work", estimated_cost_usd=1)
    ledger: Any = governor.port._ledger  # pyright: ignore[reportAttributeAccessIssue]
    key = record_id("a", verdict.request_id)
    record, _ = await ledger.look(key)
    session, asked = agent.session.session_id, verdict.request_id
    await ledger.withdraw(Withdraw(key, "a", session, None, asked, record.digest, "llm_tokens", record.attempt))
    return {"kind": "answer", "name": "lost on its way"}


WAYS: dict[str, tuple[str, str, Way]] = {
    "escalated": ("pending", "escalated", by_question), "lock_busy": ("pending", "ok", by_holder),
    "lock_timed_out": ("released", "lock_timed_out", by_patience),
    "too_many_waits": ("rejected", "too_many_waits", by_waits), "locks_full": ("rejected", "locks_full", by_room),
    "lock_deadlock": ("rejected", "lock_deadlock", by_cycle), "lock_lost": ("rejected", "lock_lost", by_lost_lease),
    "gas_stale": ("rejected", "gas_stale", by_age),
    "gas_too_dear": ("rejected", "gas_too_dear", by_price),
    "foreign_wallet": ("rejected", "foreign_wallet", by_wallet), "withdrawn": ("released", "withdrawn", by_silence),
}  # fmt: skip


@pytest.mark.parametrize("code", WAYS)
async def test_an_event_says_what_stood_in_the_way(settings: Settings, code: str) -> None:
    narrow = settings.model_copy(update={"max_lock_waits": 1, "max_locks_per_key": 1 if code == "locks_full" else 9})
    async with virtual_governor(narrow) as (governor, clock, _):
        port: Any = governor.port
        let_in = Entrance(trusted=True, credential="key")
        agent = await governor.rejoin(await port.handshake(Handshake(agent_id="a"), entry=let_in))
        kind, said, act = WAYS[code]
        expected = await act(governor, clock, agent)
        found = [each for each in await governor.events(limit=1_000) if (each.kind, each.agent_id) == (kind, "a")]
        assert [(each.facts["code"], each.facts["stopped_by"]) for each in found] == [(said, expected)]
        assert found[0].facts["grant_id"].startswith("gr_")
