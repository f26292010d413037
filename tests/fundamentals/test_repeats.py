"""The same request id is the same decision: a lost answer costs nothing twice."""

from __future__ import annotations

import time
from decimal import Decimal

import pytest

from aegis_core import AegisDenied, Governor, InvalidRequestError
from aegis_core.governor.requests import PreparedRequest
from aegis_core.protocol.errors import AuthError, ConflictError, NotFoundError
from aegis_core.protocol.ids import RequestIds
from aegis_core.protocol.messages import PermissionRequest

pytestmark = pytest.mark.leaves("grants")


async def test_a_repeat_gets_the_original_facts_and_the_present_state(governor: Governor) -> None:
    agent = await governor.handshake("a")
    first = await agent.request("Work", estimated_cost_usd=1, request_id="r-1")
    await agent.request("Other work", estimated_cost_usd=2)
    again = await agent.request("Work", estimated_cost_usd=1, request_id="r-1")
    assert again == first
    await agent.settle(first.grant_id or "", cost_usd="0.40")
    later = await agent.request("Work", estimated_cost_usd=1, request_id="r-1")
    assert (later.status, later.state, later.remaining_budget_usd) == ("GRANTED", "settled", Decimal(9))
    assert [event.kind for event in await governor.events()].count("granted") == 2


async def test_a_grant_that_has_ended_lets_nobody_spend_again(governor: Governor) -> None:
    agent = await governor.handshake("a")
    async with agent.permit("Work", estimated_cost_usd=1, request_id="r-1") as grant:
        grant.settle(cost_usd="0.40")
    with pytest.raises(AegisDenied, match="already"):
        async with agent.permit("Work", estimated_cost_usd=1, request_id="r-1"):
            pytest.fail("the block ran a second time on one reservation")


async def test_the_same_id_with_other_content_is_an_error(governor: Governor) -> None:
    agent = await governor.handshake("a")
    await agent.request("Work", estimated_cost_usd=1, request_id="r-1")
    with pytest.raises(ConflictError, match="request_id: was used before for another request"):
        await agent.request("Work", estimated_cost_usd=2, request_id="r-1")
    assert (await agent.budget()).remaining_budget_usd == Decimal(9)


async def test_the_size_of_the_prompt_is_part_of_the_content(governor: Governor) -> None:
    agent = await governor.handshake("a")
    sizes = {"model": "gpt-4o", "max_output_tokens": 100}
    first = await agent.request("Answer", prompt_tokens=1_000, request_id="r-1", **sizes)
    assert first.reserved_usd == Decimal("0.0035")  # 1,000 × $2.50 and 100 × $10 per million
    assert await agent.request("Answer", prompt_tokens=1_000, request_id="r-1", **sizes) == first
    for other in ({"prompt_tokens": 1_001}, {"prompt_bytes": 1_000}, {"prompt_bytes": 2_000}):
        with pytest.raises(ConflictError, match="request_id: was used before for another request"):
            await agent.request("Answer", request_id="r-1", **sizes, **other)


@pytest.mark.parametrize(
    ("said", "digest"),
    [
        ({"prompt_bytes": 2_000, "max_output_tokens": 100}, "1cc343a2b01cd712d5b471bb0cdd3a6e"),
        ({"estimated_cost_usd": 1, "min_output_tokens": 16}, "ed227ffaccdc5295ed17d23c32ec2855"),
    ],
)
def test_a_later_field_leaves_earlier_fingerprints_as_they_were(said: dict[str, object], digest: str) -> None:
    """Else a retry that an upgrade lies between is taken for another request."""

    def fingerprint(**fields: object) -> str:
        message = {"agent_id": "a", "task_intent": "Answer", "resource_type": "llm_tokens", "model": "gpt-4o"}
        return PreparedRequest.of(PermissionRequest.model_validate(message | fields), "r", 0).digest

    assert fingerprint(**said) == digest
    claim = {"estimated_cost_usd": 1}
    assert fingerprint(**claim, prompt_tokens=16) != fingerprint(**claim, min_output_tokens=16)


async def test_ids_belong_to_an_agent(governor: Governor) -> None:
    one, two = await governor.handshake("one"), await governor.handshake("two")
    assert (await one.request("Work", estimated_cost_usd=1, request_id="r-1")).granted
    assert (await two.request("Play", estimated_cost_usd=2, request_id="r-1")).granted


async def test_an_id_from_before_the_memory_of_decisions_is_refused(governor: Governor) -> None:
    agent = await governor.handshake("a")
    old = RequestIds(int(time.time() * 1000) - 2 * 3_600_000).new()
    with pytest.raises(
        InvalidRequestError, match=r"request_id: was made 7\d\d\d s ago, longer than decisions are remembered"
    ):
        await agent.request("Work", estimated_cost_usd=1, request_id=old)


async def test_a_client_whose_clock_jumps_is_governed_all_the_same(
    governor: Governor, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = await governor.handshake("a")
    monkeypatch.setattr(time, "time", lambda: 0.0)
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    verdict = await agent.request("Work", estimated_cost_usd=1)
    assert verdict.granted
    assert verdict.expires_at is not None
    assert verdict.granted_at is not None
    assert (verdict.expires_at - verdict.granted_at).total_seconds() == 600


async def test_settling_twice_with_the_same_content_is_harmless(governor: Governor) -> None:
    agent = await governor.handshake("a")
    verdict = await agent.request("Work", estimated_cost_usd=1)
    first = await agent.settle(verdict.grant_id or "", cost_usd="0.40")
    second = await agent.settle(verdict.grant_id or "", cost_usd="0.40")
    assert (first.repeated, second.repeated) == (False, True)
    assert second.charged_usd == Decimal("0.40")
    with pytest.raises(ConflictError, match="already settled"):
        await agent.release(verdict.grant_id or "")
    assert (await agent.budget()).budgets[0].spent_usd == Decimal("0.40")


async def test_a_grant_belongs_to_its_agent(governor: Governor) -> None:
    one, two = await governor.handshake("one"), await governor.handshake("two")
    verdict = await one.request("Work", estimated_cost_usd=1)
    with pytest.raises(AuthError, match="belongs to another agent"):
        await two.settle(verdict.grant_id or "", cost_usd=0)
    with pytest.raises(NotFoundError, match="no such grant"):
        await one.settle("gr_" + "0" * 32, cost_usd=0)
    with pytest.raises(NotFoundError, match="no such grant"):
        await one.settle("../../etc", cost_usd=0)
