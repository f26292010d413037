"""The server's clock jumps far ahead and is put right: what then counts in a day to come is told, and can be mended."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from aegis_core import Governor, NotFoundError
from aegis_core.policy.loading import load_policy
from aegis_core.protocol.messages import BudgetState, Verdict
from aegis_core.store.store import Store
from aegis_core.testing import FakeClock

NOON = datetime(2026, 3, 27, 12, tzinfo=UTC)
AHEAD = NOON + timedelta(days=300)
Virtual = tuple[Governor, FakeClock, Store]


async def spend(governor: Governor, usd: object, **more: Any) -> Verdict:
    """Ask in a session of its own, since jumps end the others, and settle what is granted."""
    agent = await governor.handshake("a")
    verdict = await agent.request("Rent", resource_type="api_call", estimated_cost_usd=usd, **more)
    if verdict.grant_id:
        await agent.settle(verdict.grant_id, cost_usd=usd)
    return verdict


async def budget(governor: Governor, window: str = "day", scope: str = "agent") -> BudgetState:
    states = (await governor.budget("a")).budgets
    return next(state for state in states if (state.scope, state.window) == (scope, window))


async def told(governor: Governor, kind: str) -> list[dict[str, Any]]:
    return [dict(event.facts) for event in await governor.latest_events(200) if event.kind == kind]


async def test_a_budget_that_counts_in_a_day_to_come_says_so_and_is_mended(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    await governor.set_budget("tenant", governor.tenant, "day", 1_000)
    await spend(governor, 1)
    await clock.set(AHEAD)
    await spend(governor, 4)
    assert await told(governor, "budget_ahead") == [], "nobody can know yet"
    await clock.set(NOON + timedelta(minutes=5))
    await spend(governor, "0.5")
    ends = datetime(2027, 1, 22, tzinfo=UTC)
    found = await budget(governor)
    assert (found.spent_usd, found.resets_at) == (Decimal("4.5"), ends), (
        "it is held against the agent, and says until when"
    )
    for _ in range(2):
        refused = await spend(governor, 6)
        assert (refused.code, "starts again at 2027-01-22" in refused.reason) == ("budget_exceeded", True)
    for whose in ("a", "t"):
        (event,) = [facts for facts in await told(governor, "budget_ahead") if facts["owner"] == whose]
        assert (event["window"], event["resets_at"]) == ("d", ends.isoformat())
    await governor.set_budget("agent", "a", "day", 20)
    assert (await budget(governor)).spent_usd == Decimal("4.5"), "a limit changes nothing of it"

    done = await governor.port.operator.reset_budget("agent", "a", "day", author="ada")
    assert (done.spent_usd, done.held_usd, done.budget.spent_usd) == (Decimal("4.5"), 0, 0)
    assert (await spend(governor, 5)).granted
    found = await budget(governor)
    assert (found.spent_usd, found.resets_at) == (5, datetime(2026, 3, 28, tzinfo=UTC))
    (event,) = await told(governor, "budget_reset")
    assert event == {
        "owner": "a", "session_id": None, "window": "d", "limit_usd": 20.0, "spent_usd": 4.5, "held_usd": 0.0,
        "by": "ada", "resets_at": ends.isoformat(),
    }  # fmt: skip
    await clock.set(datetime(2026, 3, 28, tzinfo=UTC))
    assert (await budget(governor)).spent_usd == 0, "and it begins anew each day again"


async def test_a_refusal_notices_it_too(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    await clock.set(AHEAD)
    await spend(governor, 5)
    await spend(governor, 5)
    await clock.set(NOON)
    for _ in range(3):
        assert (await spend(governor, "0.01")).code == "budget_exceeded"
    assert [facts["owner"] for facts in await told(governor, "budget_ahead")] == ["a"]


@pytest.mark.leaves("grants")
@pytest.mark.parametrize("window", ["hour", "day", "week", "month", "total", "rolling:2h"])
async def test_what_is_held_counts_as_spent_and_is_never_counted_twice(virtual: Virtual, window: str) -> None:
    governor, clock, _ = virtual
    agent = await governor.handshake("a")
    await governor.set_budget("agent", "a", "day", 1_000)
    await governor.set_budget("agent", "a", window, 8)
    before = await agent.request("Rent", resource_type="api_call", estimated_cost_usd=1)
    await clock.advance(minutes=8)
    during = await agent.request("Rent", resource_type="api_call", estimated_cost_usd=3)
    await clock.set(NOON)
    for resets in range(3):
        done = await governor.port.operator.reset_budget("agent", "a", window, author="ada")
        assert (done.held_usd, done.budget.spent_usd, done.budget.reserved_usd) == (0 if resets else 4, 4, 0)
    assert (await agent.request("Rent", resource_type="api_call", estimated_cost_usd=5)).code == "budget_exceeded"
    fresh = await agent.request("Rent", resource_type="api_call", estimated_cost_usd=2)
    assert fresh.granted
    await agent.settle(before.grant_id or "", cost_usd=1)
    await agent.settle(during.grant_id or "", cost_usd="3.25")
    state = await budget(governor, window)
    assert (state.spent_usd, state.reserved_usd) == (Decimal("4.25"), 2), (
        "of what was held before, the overrun is added"
    )
    await agent.settle(fresh.grant_id or "", cost_usd=2)
    assert (await budget(governor, window)).spent_usd == Decimal("6.25")


async def test_a_budget_that_is_not_there_cannot_be_reset(virtual: Virtual) -> None:
    governor, _, _ = virtual
    operator = governor.port.operator
    await governor.handshake("a")
    for scope, name, window, kind in [
        ("agent", "a", "week", "budget"), ("label", "team=red", "day", "budget"), ("agent", "b", "day", "agent"),
    ]:  # fmt: skip
        with pytest.raises(NotFoundError) as caught:
            await operator.reset_budget(scope, name, window, author="ada")
        assert caught.value.facts["kind"] == kind


async def test_limits_on_frequency_do_not_outlast_the_jump(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    rules = [
        {"name": "often", "type": "rate_limit", "limit": 1, "window": "1h", "effect": "deny"},
        {"name": "pace", "type": "spend_rate", "limit_usd": "2", "window": "1h", "effect": "deny"},
    ]
    await governor.port.publish_policy(load_policy(json.dumps({"schema": 1, "rules": rules})), author="ada")
    await clock.set(AHEAD)
    assert (await spend(governor, 2, tool="x")).granted
    await clock.set(NOON)
    assert (await spend(governor, "0.01", tool="x")).granted
    assert (await spend(governor, "0.01", tool="x")).code == "rate_limit", "and they go on to hold"
