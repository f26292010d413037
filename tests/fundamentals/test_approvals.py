"""What a rule escalates waits for a person: exactly one outcome, on the same grant, by the server's clock."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, get_args

import pytest

import aegis_core
from aegis_core import AegisDenied, Governor, Settings, Verdict
from aegis_core.client.agent import GovernedAgent
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.policy.loading import load_policy
from aegis_core.protocol.approvals import ApprovalEdit, ApprovalStatus, EnvelopeRequest
from aegis_core.protocol.errors import AuthError, ConflictError, InvalidRequestError, NotFoundError
from aegis_core.store.store import Store
from aegis_core.testing import FakeClock

pytestmark = [pytest.mark.concurrent, pytest.mark.leaves("grants", "questions")]

Virtual = tuple[Governor, FakeClock, Store]


@pytest.fixture
async def agent(governor: Governor) -> GovernedAgent:
    return await governor.handshake("payer")


async def ask(agent: GovernedAgent, cost: Any = 7, intent: str = "Pay the invoice", **fields: Any) -> Verdict:
    return await agent.request(intent, resource_type="api_call", estimated_cost_usd=cost, **fields)


async def rules(governor: Governor, *more: dict[str, Any]) -> None:
    assert isinstance(governor.port, ResourceGovernor)
    await governor.port.publish_policy(load_policy(json.dumps({"schema": 1, "rules": more})), author="tests")


async def kinds(governor: Governor) -> list[str]:
    return [event.kind for event in await governor.latest_events(200)]


async def test_an_approval_turns_the_same_grant_live(governor: Governor, agent: GovernedAgent) -> None:
    verdict = await ask(agent, request_id="order-1")
    assert (verdict.status, verdict.waiting_for, verdict.reserved_usd) == ("PENDING", "human", Decimal(7))
    (waiting,) = await governor.approvals.list()
    assert (waiting.approval_id, waiting.amount_usd, waiting.rule) == (verdict.escalation_id, Decimal(7), "big-spend")
    done = await governor.approvals.decide(waiting.approval_id, "approve", by="ada", reason="known supplier")
    assert (done.status, done.decided_by, done.missing) == ("approved", "ada", 0)
    again = await ask(agent, request_id="order-1")
    assert again.granted
    assert again.grant_id == verdict.grant_id
    assert again.reason == "Approved by ada (known supplier)."
    receipt = await agent.settle(again.grant_id or "", cost_usd=6)
    assert (receipt.charged_usd, receipt.returned_usd) == (Decimal(6), Decimal(1))
    assert (await kinds(governor))[-3:] == ["pending", "approved", "settled"]
    assert await governor.approvals.list() == ()
    assert [each.decided_by for each in await governor.approvals.list("approved")] == ["ada"]


async def test_a_waiting_agent_goes_on_when_it_is_approved(governor: Governor, agent: GovernedAgent) -> None:
    async def work() -> str:
        async with agent.permit("Pay", resource_type="api_call", estimated_cost_usd=7) as grant:
            grant.settle(cost_usd=7)
            return grant.verdict.reason

    working = asyncio.create_task(work())
    async for event in governor.follow(after="0"):
        if event.kind == "pending":
            break
    waiting = await governor.approvals.list()
    await governor.approvals.decide(waiting[0].approval_id, "approve", by="ada")
    assert await asyncio.wait_for(working, 30) == "Approved by ada."


async def test_a_rejection_frees_the_money_and_says_who_and_why(governor: Governor, agent: GovernedAgent) -> None:
    verdict = await ask(agent)
    await governor.approvals.decide(verdict.escalation_id or "", "reject", by="ada", reason="duplicate")
    with pytest.raises(AegisDenied, match="same request was refused by ada: duplicate"):
        async with agent.permit("Pay the invoice", resource_type="api_call", estimated_cost_usd=7):
            raise AssertionError("it ran")
    assert (await agent.budget()).budgets[0].reserved_usd == 0


async def test_the_first_valid_decision_wins_and_the_second_learns_of_it(
    governor: Governor, agent: GovernedAgent
) -> None:
    verdict = await ask(agent)
    approval = verdict.escalation_id or ""
    told = await asyncio.gather(
        *(
            governor.approvals.decide(approval, word, by=name)
            for name, word in [("ada", "approve"), ("bob", "reject"), ("eve", "approve")]
        ),
        return_exceptions=True,
    )
    assert sum(not isinstance(each, Exception) for each in told) == 1
    refusals = [each for each in told if isinstance(each, ConflictError)]
    assert len(refusals) == 2
    assert {error.code for error in refusals} == {"already_decided"}
    assert {error.facts["decided_by"] for error in refusals} == {"ada"}
    repeated = await governor.approvals.decide(approval, "approve", by="ada")
    assert repeated.status == "approved"
    assert (await kinds(governor)).count("approved") == 1


async def test_a_word_that_does_not_count_leaves_a_trace(governor: Governor, agent: GovernedAgent) -> None:
    approval = (await ask(agent)).escalation_id or ""
    await governor.approvals.set_limit("eve", 1, by="cfo")
    unknown = "ap_" + "0" * 32
    for name, about, error in (("eve", approval, AuthError), ("ada", unknown, NotFoundError)):
        with pytest.raises(error):
            await governor.approvals.decide(about, "approve", by=name)
    await governor.approvals.decide(approval, "reject", by="ada")
    for _ in range(3):
        with pytest.raises(ConflictError):
            await governor.approvals.decide(approval, "approve", by="bob")
    await governor.approvals.decide(approval, "reject", by="ada")  # a harmless repeat leaves none
    traces = [event.facts for event in await governor.latest_events(50) if event.kind == "channel_refused"]
    assert traces == [
        {"channel": "decision", "act": f"above_operator_limit {approval}", "by": "eve"},
        {"channel": "decision", "act": f"not_found {unknown}", "by": "ada"},
        {"channel": "decision", "act": f"already_decided {approval}", "by": "bob"},
    ]


@pytest.mark.parametrize("decision", ["approve", "reject"])
async def test_an_ended_approval_keeps_its_deadline(virtual: Virtual, decision: Literal["approve", "reject"]) -> None:
    governor, clock, _ = virtual
    agent = await governor.handshake("payer")
    approval_id = (await ask(agent)).escalation_id or ""
    asked = await governor.approvals.get(approval_id)
    await clock.advance(minutes=1)
    await governor.approvals.decide(approval_id, decision, by="ada")
    ended = await governor.approvals.get(approval_id)
    assert ended.deadline == asked.deadline
    assert ended.decided_at == asked.asked_at + timedelta(minutes=1)


PAGE = (Path(__file__).parents[2] / "docs" / "approvals.md").read_text()
STANDS = re.findall(r"^\| `(\w+)` \| ([A-Z]+) \| `(\w+)` \| `(\w+)`", PAGE, re.MULTILINE)


@pytest.mark.parametrize(("status", "verdict", "code", "state"), STANDS)
async def test_approval_verdict_and_grant_stand_as_the_page_says(
    virtual: Virtual, status: str, verdict: str, code: str, state: str
) -> None:
    assert [row[0] for row in STANDS] == list(get_args(ApprovalStatus))
    governor, clock, _ = virtual
    agent = await governor.handshake("payer")
    asked = await ask(agent, request_id="one")
    approval_id = asked.escalation_id or ""
    match status:
        case "approved":
            await governor.approvals.decide(approval_id, "approve", by="ada")
        case "rejected":
            await governor.approvals.decide(approval_id, "reject", by="ada")
        case "timed_out":
            await clock.advance(minutes=10)
        case "withdrawn":
            await agent.release(asked.grant_id or "")
    again = await ask(agent, request_id="one")
    approval = await governor.approvals.get(approval_id)
    assert (approval.status, again.status, again.code, again.state) == (status, verdict, code, state)


async def test_silence_refuses_and_whoever_looks_first_sees_it(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    agent = await governor.handshake("payer")
    verdict = await ask(agent, request_id="one")
    await clock.advance(minutes=10)
    with pytest.raises(ConflictError, match="timed out") as late:
        await governor.approvals.decide(verdict.escalation_id or "", "approve", by="ada")
    assert late.value.code == "timed_out"
    approval = await governor.approvals.get(verdict.escalation_id or "")
    assert (approval.status, approval.decided_by, approval.decided_at) == ("timed_out", None, approval.deadline)
    assert (await ask(agent, request_id="one")).code == "approval_timed_out"
    assert (await agent.budget()).budgets[0].reserved_usd == 0


async def test_an_approval_that_nobody_claims_is_free(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    agent = await governor.handshake("payer")
    verdict = await ask(agent)
    await governor.approvals.decide(verdict.escalation_id or "", "approve", by="ada")
    await clock.advance(minutes=10)
    budget = (await agent.budget()).budgets[0]
    assert (budget.reserved_usd, budget.spent_usd) == (0, 0)


async def test_an_approved_grant_that_was_claimed_is_charged(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    agent = await governor.handshake("payer")
    verdict = await ask(agent, request_id="one")
    await governor.approvals.decide(verdict.escalation_id or "", "approve", by="ada")
    await clock.advance(minutes=9)
    assert (await ask(agent, request_id="one")).granted
    await clock.advance(minutes=9)
    assert (await agent.budget()).budgets[0].reserved_usd == Decimal(7), "its time begins when the agent hears of it"
    await clock.advance(minutes=1)
    assert (await agent.budget()).budgets[0].spent_usd == Decimal(7)


async def test_a_quorum_counts_different_operators(governor: Governor, agent: GovernedAgent) -> None:
    await rules(governor, {"name": "two", "type": "max_cost", "limit_usd": 5, "asking": {"quorum": 2}})
    verdict = await ask(agent)
    assert "the approval of 2 operators (0 so far)" in verdict.reason
    approval = verdict.escalation_id or ""
    for _ in range(3):
        assert (await governor.approvals.decide(approval, "approve", by="ada")).missing == 1
    assert (await governor.approvals.decide(approval, "approve", by="bob")).status == "approved"
    assert [vote.operator for vote in (await governor.approvals.get(approval)).votes] == ["ada", "bob"]


async def test_no_rule_can_be_used_to_get_around_another(governor: Governor, agent: GovernedAgent) -> None:
    """An agent that says it is unsure triggers an easier rule; the harder one still asks two people."""
    await rules(
        governor,
        {"name": "unsure", "type": "confidence_floor", "min_confidence": 0.7},
        {"name": "big", "type": "max_cost", "limit_usd": 1, "asking": {"timeout_seconds": 900}},
        {"name": "two", "type": "max_cost", "limit_usd": 5, "asking": {"quorum": 2, "timeout_seconds": 60}},
    )
    verdict = await ask(agent, confidence=0.1)
    approval = await governor.approvals.get(verdict.escalation_id or "")
    assert (approval.quorum, (approval.deadline - approval.asked_at).total_seconds()) == (2, 60)
    small = await governor.approvals.get((await ask(agent, cost=2)).escalation_id or "")
    assert (small.quorum, (small.deadline - small.asked_at).total_seconds()) == (1, 900)


async def test_only_the_operators_of_a_rule_decide(governor: Governor, agent: GovernedAgent) -> None:
    await rules(
        governor, {"name": "cfo", "type": "max_cost", "limit_usd": 5, "asking": {"operators": ["cfo", "telegram:7"]}}
    )
    approval = (await ask(agent)).escalation_id or ""
    with pytest.raises(AuthError, match="cfo, telegram:7"):
        await governor.approvals.decide(approval, "reject", by="ada")
    assert (await governor.approvals.decide(approval, "approve", by="telegram:7")).status == "approved"


async def test_silence_approves_only_where_every_rule_that_asks_says_so(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    quiet = {"on_timeout": "approve", "timeout_seconds": 60}
    await rules(
        governor,
        {"name": "big", "type": "max_cost", "limit_usd": 5, "asking": quiet},
        {"name": "unsure", "type": "confidence_floor", "min_confidence": 0.7},
    )
    agent = await governor.handshake("payer")
    quietly, unsure = await ask(agent, 6, "Pay a"), await ask(agent, 2, "Pay b", confidence=0.1)
    both = await ask(agent, "1.50", "Pay c", confidence=0.1)
    assert (both.status, unsure.status) == ("PENDING", "PENDING")
    await clock.advance(seconds=60)
    assert (await governor.approvals.get(quietly.escalation_id or "")).status == "approved"
    assert (await governor.approvals.get(unsure.escalation_id or "")).status == "open"
    await clock.advance(minutes=9)
    assert (await governor.approvals.get(unsure.escalation_id or "")).status == "timed_out"


async def test_an_operator_approves_up_to_a_limit_of_their_own(governor: Governor, agent: GovernedAgent) -> None:
    await governor.approvals.set_limit("ada", "6.50", by="cfo")
    assert await governor.approvals.limits() == {"ada": Decimal("6.50")}
    approval = (await ask(agent)).escalation_id or ""
    with pytest.raises(AuthError, match=r"about \$7.00, and this person may approve up to \$6.50"):
        await governor.approvals.decide(approval, "approve", by="ada")
    edit = ApprovalEdit(estimated_cost_usd=Decimal(6))
    assert (await governor.approvals.decide(approval, "approve", by="ada", edit=edit)).amount_usd == Decimal(6)


async def test_an_edited_request_is_judged_again(governor: Governor, agent: GovernedAgent) -> None:
    await rules(
        governor,
        {"name": "asks", "type": "max_cost", "limit_usd": 5},
        {"name": "never", "type": "max_cost", "limit_usd": 9, "effect": "deny"},
        {"name": "no-wire", "type": "blocked_intent", "tools": ["wire"]},
    )
    verdict = await ask(agent, request_id="one", tool="pay", arguments_hash="h7")
    approval = verdict.escalation_id or ""
    for edit in (ApprovalEdit(estimated_cost_usd=Decimal("9.01")), ApprovalEdit(tool="wire")):
        with pytest.raises(ConflictError, match="policy refuses the changed request") as refused:
            await governor.approvals.decide(approval, "approve", by="ada", edit=edit)
        assert refused.value.code == "edit_refused"
    await governor.set_budget("agent", "payer", "day", 8)
    with pytest.raises(ConflictError, match="more than a budget has left"):
        await governor.approvals.decide(
            approval, "approve", by="ada", edit=ApprovalEdit(estimated_cost_usd=Decimal("8.01"))
        )
    assert (await agent.budget()).budgets[0].reserved_usd == Decimal(7), "a refused edit changes nothing"
    edit = ApprovalEdit(estimated_cost_usd=Decimal(8), arguments_hash="h8")
    done = await governor.approvals.decide(approval, "approve", by="ada", edit=edit)
    assert (done.edited, done.amount_usd, done.tool, done.arguments_hash) == (True, Decimal(8), "pay", "h8")
    again = await ask(agent, request_id="one", tool="pay", arguments_hash="h7")
    assert (again.granted, again.reserved_usd) == (True, Decimal(8))
    assert (await agent.budget()).budgets[0].reserved_usd == Decimal(8)


async def test_an_edit_forgets_what_others_said_of_the_request_before(governor: Governor, agent: GovernedAgent) -> None:
    await rules(governor, {"name": "two", "type": "max_cost", "limit_usd": 5, "asking": {"quorum": 2}})
    approval = (await ask(agent)).escalation_id or ""
    await governor.approvals.decide(approval, "approve", by="ada")
    edited = await governor.approvals.decide(
        approval, "approve", by="bob", edit=ApprovalEdit(estimated_cost_usd=Decimal(8))
    )
    assert (edited.status, edited.missing) == ("open", 1)
    assert (await governor.approvals.decide(approval, "approve", by="ada")).status == "approved"


async def test_a_human_refusal_answers_identical_requests_for_an_hour(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    agent = await governor.handshake("payer")
    first = await ask(agent, tool="pay", arguments_hash="h")
    await governor.approvals.decide(first.escalation_id or "", "reject", by="ada", reason="no")
    same = await ask(agent, tool="pay", arguments_hash="h")
    assert (same.status, same.code) == ("REJECTED", "refused_before")
    assert same.reason == "The same request was refused by ada: no."
    assert 3_500 < (same.retry_after_seconds or 0) <= 3_600
    assert (await ask(agent, tool="pay", arguments_hash="other")).status == "PENDING"
    await clock.advance(hours=1)
    assert (await ask(agent, tool="pay", arguments_hash="h")).status == "PENDING"


async def test_an_agent_cannot_drown_its_operators(governor: Governor, agent: GovernedAgent) -> None:
    for _ in range(20):
        assert (await ask(agent, "0.01", confidence=0.1)).status == "PENDING"
    refused = await ask(agent, "0.01", confidence=0.1)
    assert (refused.status, refused.code) == ("REJECTED", "too_many_questions")
    assert refused.retry_after_seconds
    assert len(await governor.approvals.list(agent_id="payer")) == 20
    assert (await governor.approvals.list(limit=7))[-1].asked_at <= (await governor.approvals.list())[-1].asked_at


async def test_pages_follow_one_another_without_a_gap(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    agent = await governor.handshake("payer")
    asked: list[str] = []
    for number in range(11):
        asked.append((await ask(agent, "0.01", confidence=0.1)).escalation_id or "")
        if number % 3:
            await clock.advance(seconds=1)
    seen: list[str] = []
    while page := await governor.approvals.list(after=seen[-1] if seen else None, limit=4):
        seen += [each.approval_id for each in page]
    assert sorted(seen) == sorted(asked)
    for approval in asked:
        await governor.approvals.decide(approval, "reject", by="ada")
    ended: list[str] = []
    while page := await governor.approvals.list("ended", after=ended[-1] if ended else None, limit=4):
        ended += [each.approval_id for each in page]
    assert sorted(ended) == sorted(asked)


async def test_what_was_approved_in_advance_is_granted_without_asking(governor: Governor, agent: GovernedAgent) -> None:
    envelope = await governor.approvals.approve_ahead(
        EnvelopeRequest(agent_id="payer", tool="pay", limit_usd=Decimal(9), reason="month end"), by="ada"
    )
    first = await ask(agent, 6, tool="pay")
    assert first.granted
    assert "approved in advance by ada" in first.reason
    await agent.settle(first.grant_id or "", cost_usd=2)
    second = await ask(agent, 7, tool="pay")
    assert second.granted, "what came back is free again"
    assert (await ask(agent, 6, tool="pay")).status != "GRANTED", "what exceeds it asks again"
    assert (await ask(agent, "0.5", confidence=0.1, tool="wire")).status == "PENDING", "another tool asks"
    (held,) = await governor.approvals.envelopes()
    assert (held.used_usd, held.uses, held.author) == (Decimal(9), 2, "ada")
    await agent.release(second.grant_id or "")
    revoked = await governor.approvals.revoke(envelope.envelope_id, by="bob")
    assert revoked.used_usd == Decimal(2)
    assert (await ask(agent, 6, tool="pay")).status == "PENDING"
    with pytest.raises(NotFoundError):
        await governor.approvals.revoke(envelope.envelope_id, by="bob")
    uses = [event for event in await governor.latest_events(100) if event.facts.get("envelope_id")]
    assert [event.kind for event in uses] == [
        "envelope_made", "granted", "settled", "granted", "released", "envelope_revoked",
    ]  # fmt: skip


async def test_an_envelope_for_a_rule_covers_no_other_rule(governor: Governor, agent: GovernedAgent) -> None:
    await governor.approvals.approve_ahead(
        EnvelopeRequest(agent_id="payer", rule="low-confidence", limit_usd=Decimal(100)), by="ada"
    )
    assert (await ask(agent, 1, confidence=0.1)).granted
    assert (await ask(agent, 6, confidence=0.1)).status == "PENDING", "big-spend asks as well"


async def test_an_envelope_ends_with_its_time(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    agent = await governor.handshake("payer")
    wish = EnvelopeRequest(session_id=agent.session.session_id, phrase="pay the", limit_usd=Decimal(100), seconds=60)
    await governor.approvals.approve_ahead(wish, by="ada")
    assert (await ask(agent, 1, "Please PAY the bill", confidence=0.1)).granted
    assert (await ask(agent, 1, "Repay theirs", confidence=0.1)).status == "PENDING"
    await clock.advance(seconds=60)
    assert (await ask(agent, 1, "Please pay the bill", confidence=0.1)).status == "PENDING"
    assert await governor.approvals.envelopes() == ()


async def test_blocking_an_agent_declines_its_questions(governor: Governor, agent: GovernedAgent) -> None:
    verdict = await ask(agent, request_id="one")
    assert isinstance(governor.port, ResourceGovernor)
    await governor.port.operator.block("payer", author="ada")
    approval = await governor.approvals.get(verdict.escalation_id or "")
    assert (approval.status, approval.decided_by) == ("rejected", "ada")
    with pytest.raises(ConflictError):
        await governor.approvals.decide(approval.approval_id, "approve", by="bob")


async def test_a_withdrawn_question_is_no_longer_asked(governor: Governor, agent: GovernedAgent) -> None:
    verdict = await ask(agent)
    await agent.release(verdict.grant_id or "")
    assert (await governor.approvals.get(verdict.escalation_id or "")).status == "withdrawn"
    assert await governor.approvals.list() == ()


async def test_what_is_no_approval_is_not_found(governor: Governor, agent: GovernedAgent) -> None:
    plain = await ask(agent, 1)
    for name in (f"ap_{'0' * 32}", "nonsense", (plain.grant_id or "").replace("gr_", "ap_")):
        with pytest.raises(NotFoundError, match="no such approval"):
            await governor.approvals.get(name)
        with pytest.raises(NotFoundError, match="no such approval"):
            await governor.approvals.decide(name, "approve", by="ada")
    with pytest.raises(InvalidRequestError):
        await governor.approvals.decide((await ask(agent)).escalation_id or "", "maybe", by="ada")  # type: ignore[arg-type]


async def test_a_new_process_that_asks_again_joins_the_same_question(
    settings: Settings, governor: Governor, agent: GovernedAgent
) -> None:
    verdict = await ask(agent, request_id="one")
    async with aegis_core.connect(settings=settings) as elsewhere:
        again = await elsewhere.handshake("payer")
        waiting = asyncio.create_task(ask(again, request_id="one", wait=60))
        await asyncio.sleep(0.1)
        await governor.approvals.decide(verdict.escalation_id or "", "approve", by="ada")
        assert (await asyncio.wait_for(waiting, 30)).granted
    assert (await agent.budget()).budgets[0].reserved_usd == Decimal(7)


async def test_another_tenants_approval_is_not_there(settings: Settings, agent: GovernedAgent) -> None:
    verdict = await ask(agent)
    async with aegis_core.connect(settings=settings.model_copy(update={"tenant": "another"})) as other:
        with pytest.raises(NotFoundError):
            await other.approvals.decide(verdict.escalation_id or "", "approve", by="ada")


async def test_what_is_approved_is_what_runs(governor: Governor, agent: GovernedAgent) -> None:
    fields = {"tool": "pay", "arguments": {"to": "acme", "amount": 7}, "request_id": "one"}
    verdict = await ask(agent, **fields)
    await governor.approvals.decide(verdict.escalation_id or "", "approve", by="ada")
    fields["intent"], fields["resource_type"], fields["estimated_cost_usd"] = "Pay the invoice", "api_call", 7
    async with agent.permit(**fields) as grant:  # type: ignore[arg-type]
        grant.check("pay", {"amount": 7.0, "to": "acme"})
        for tool, arguments in (("pay", {"to": "mallory", "amount": 7}), ("wire", {"to": "acme", "amount": 7})):
            with pytest.raises(AegisDenied, match="was approved") as refused:
                grant.check(tool, arguments)
            assert refused.value.code == "not_approved"
