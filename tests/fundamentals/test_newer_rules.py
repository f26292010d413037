"""A rule that denies is met by what was asked before it was published, whatever a person says, through every door."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest
from two_doors import governor, settings, url  # noqa: F401 - fixtures

import aegis_core
from aegis_core import Governor, Settings
from aegis_core.client.agent import GovernedAgent
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.policy.loading import load_policy
from aegis_core.protocol.approvals import ApprovalEdit
from aegis_core.protocol.errors import ConflictError
from aegis_core.store.store import Store
from aegis_core.testing import FakeClock

pytestmark = [pytest.mark.concurrent, pytest.mark.leaves("grants", "questions")]

ASKS = {"name": "big", "type": "max_cost", "limit_usd": 5}
TWO_ASK = {"name": "bigger", "type": "max_cost", "limit_usd": 4, "asking": {"quorum": 2, "operators": ["eve", "fay"]}}
NO_PAYING = {"name": "no-paying", "type": "blocked_intent", "tools": ["pay"]}
NOT_ABOVE_SIX = {"name": "not-above-six", "type": "max_cost", "limit_usd": 6, "effect": "deny"}
WISH: dict[str, Any] = {
    "intent": "Pay the invoice", "resource_type": "api_call", "estimated_cost_usd": 7, "tool": "pay",
    "request_id": "order-1",
}  # fmt: skip


async def publish(port: object, *rules: dict[str, Any]) -> None:
    assert isinstance(port, ResourceGovernor)
    await port.publish_policy(load_policy(json.dumps({"schema": 1, "rules": rules})), author="tests")


async def elsewhere(settings: Settings, *rules: dict[str, Any]) -> None:  # noqa: F811
    """Put rules in force from another process, of which this one hears by their version only."""
    async with aegis_core.connect(settings=settings) as other:
        await publish(other.port, *rules)


async def asks_again(_: Governor, agent: GovernedAgent, __: str) -> None:
    await agent.request(**WISH)


async def waits(_: Governor, agent: GovernedAgent, __: str) -> None:
    await agent.request(**WISH, wait=5)


async def extends(_: Governor, agent: GovernedAgent, grant: str) -> None:
    with pytest.raises(ConflictError):
        await agent.extend(grant, 60)


@pytest.mark.parametrize("claim", [asks_again, waits, extends])
@pytest.mark.parametrize("rule", [NO_PAYING, NOT_ABOVE_SIX], ids=["by its tool", "by its amount"])
async def test_an_approval_does_not_outlive_a_rule_that_denies(
    governor: Governor,  # noqa: F811
    settings: Settings,  # noqa: F811
    claim: Callable[[Governor, GovernedAgent, str], Awaitable[None]],
    rule: dict[str, Any],
) -> None:
    await elsewhere(settings, ASKS)
    agent = await governor.handshake("payer")
    asked = await agent.request(**WISH)
    await governor.approvals.decide(asked.escalation_id or "", "approve", by="ada")
    await elsewhere(settings, rule)
    await claim(governor, agent, asked.grant_id or "")
    refused = await agent.request(**WISH)
    assert (refused.status, refused.code, refused.rule) == ("REJECTED", "policy", rule["name"])
    assert refused.granted_at is None
    assert "approved" not in refused.reason.lower()
    assert (await agent.budget()).budgets[0].reserved_usd == 0, "the money is back"
    assert (await governor.approvals.get(asked.escalation_id or "")).status == "approved"


async def test_who_approves_what_the_rules_deny_is_told_and_may_reject_it(
    governor: Governor,  # noqa: F811
    settings: Settings,  # noqa: F811
) -> None:
    await elsewhere(settings, ASKS)
    agent = await governor.handshake("payer")
    asked = (await agent.request(**WISH)).escalation_id or ""
    await elsewhere(settings, NO_PAYING)
    with pytest.raises(ConflictError, match="policy in force refuses it") as refused:
        await governor.approvals.decide(asked, "approve", by="ada")
    assert refused.value.code == "policy_denies"
    assert (await governor.approvals.get(asked)).votes == ()
    await governor.approvals.decide(asked, "reject", by="ada")
    assert (await agent.request(**WISH)).code == "declined"


async def test_what_newer_rules_only_ask_about_was_asked(
    governor: Governor,  # noqa: F811
    settings: Settings,  # noqa: F811
) -> None:
    await elsewhere(settings, ASKS)
    agent = await governor.handshake("payer")
    await governor.set_budget("agent", "payer", "day", 100)
    before, after = await agent.request(**WISH), await agent.request(**WISH | {"request_id": "order-2"})
    await governor.approvals.decide(before.escalation_id or "", "approve", by="ada")
    await elsewhere(settings, TWO_ASK)
    await governor.approvals.decide(after.escalation_id or "", "approve", by="ada")
    for order in ("order-1", "order-2"):
        assert (await agent.request(**WISH | {"request_id": order})).granted
    await elsewhere(settings, NO_PAYING)
    assert (await agent.request(**WISH)).granted, "what an agent has claimed is a grant like any other"


async def test_what_was_approved_is_judged_as_it_was_edited(governor: Governor, settings: Settings) -> None:  # noqa: F811
    await elsewhere(settings, ASKS)
    agent = await governor.handshake("payer")
    asked = await agent.request(**WISH)
    edit = ApprovalEdit(estimated_cost_usd=Decimal("5.50"))
    await governor.approvals.decide(asked.escalation_id or "", "approve", by="ada", edit=edit)
    await elsewhere(settings, NOT_ABOVE_SIX)
    granted = await agent.request(**WISH)
    assert (granted.granted, granted.reserved_usd) == (True, Decimal("5.50"))


async def test_silence_is_no_better_than_a_word(virtual: tuple[Governor, FakeClock, Store]) -> None:
    house, clock, _ = virtual
    await publish(house.port, ASKS | {"asking": {"on_timeout": "approve", "timeout_seconds": 60}})
    agent = await house.handshake("payer")
    await agent.request(**WISH)
    await publish(house.port, NO_PAYING)
    await clock.advance(seconds=61)
    assert (await agent.request(**WISH)).code == "policy"


async def test_a_lock_is_not_taken_for_what_newer_rules_deny(governor: Governor, settings: Settings) -> None:  # noqa: F811
    await elsewhere(settings, ASKS)
    agent = await governor.handshake("signer")
    wish = WISH | {"resource_type": "wallet_lock", "target_resource": "wallet"}
    asked = await agent.request(**wish)
    await governor.approvals.decide(asked.escalation_id or "", "approve", by="ada")
    await elsewhere(settings, NO_PAYING)
    assert (await agent.request(**wish)).code == "policy"
    assert await governor.locks() == ()


async def test_an_observed_tenant_is_denied_nothing(governor: Governor, settings: Settings) -> None:  # noqa: F811
    await elsewhere(settings, ASKS)
    agent = await governor.handshake("payer")
    asked = await agent.request(**WISH)
    async with aegis_core.connect(settings=settings) as house:
        assert isinstance(house.port, ResourceGovernor)
        await house.port.operator.set_mode("observe", author="tests")
        await publish(house.port, NO_PAYING)
    await governor.approvals.decide(asked.escalation_id or "", "approve", by="ada")
    assert (await agent.request(**WISH)).granted
