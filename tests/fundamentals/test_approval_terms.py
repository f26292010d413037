"""Where approvals meet one another: edits, votes, envelopes, claims and limits never widen what somebody may do."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from aegis_core import Governor, Settings, Verdict
from aegis_core.client.agent import GovernedAgent
from aegis_core.connect import open_governor
from aegis_core.governor.approvals import HITLManager
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.policy.loading import load_policy
from aegis_core.protocol.approvals import ApprovalEdit, EnvelopeRequest
from aegis_core.protocol.errors import AuthError, ConflictError, InvalidRequestError, PolicyError
from aegis_core.protocol.profiles import Profile
from aegis_core.store.approvals import ApprovalStore
from aegis_core.store.store import Store
from aegis_core.testing import FakeClock

pytestmark = [pytest.mark.concurrent, pytest.mark.leaves("grants", "questions")]

Virtual = tuple[Governor, FakeClock, Store]

TWO = {"name": "two", "type": "max_cost", "limit_usd": 5, "asking": {"quorum": 2}}
ASKS = {"name": "asks", "type": "max_cost", "limit_usd": 5}


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


def edit(cost: object = None, **fields: str) -> ApprovalEdit:
    return ApprovalEdit(estimated_cost_usd=cost, **fields)  # type: ignore[arg-type]


async def test_an_edit_is_asked_on_the_terms_of_what_it_becomes(governor: Governor, agent: GovernedAgent) -> None:
    dear = {"name": "dear", "type": "max_cost", "limit_usd": 8, "asking": {"quorum": 2, "operators": ["cfo", "ada"]}}
    await rules(governor, ASKS, dear)
    approval = (await ask(agent, 6, request_id="one")).escalation_id or ""
    with pytest.raises(AuthError, match="only these operators decide: cfo, ada"):
        await governor.approvals.decide(approval, "approve", by="bob", edit=edit(9))
    assert (await governor.approvals.get(approval)).operators == (), "a refused edit changes nothing"
    changed = await governor.approvals.decide(approval, "approve", by="ada", edit=edit(9))
    assert (changed.status, changed.missing, changed.operators) == ("open", 1, ("cfo", "ada"))
    assert (await governor.approvals.decide(approval, "approve", by="cfo")).status == "approved"


@pytest.mark.parametrize(
    ("asking", "words"),
    [
        ({"timeout_seconds": 60, "remind_seconds": 60}, r"remind_seconds: must be less than timeout_seconds \(60\)"),
        ({"quorum": 3, "operators": ["ada", "bob"]}, "operators: names 2, fewer than the quorum of 3"),
    ],
)
def test_terms_that_cannot_be_kept_are_refused(asking: dict[str, Any], words: str) -> None:
    with pytest.raises(PolicyError, match=words):
        load_policy(json.dumps({"schema": 1, "rules": [{**ASKS, "asking": asking}]}))


async def test_there_is_no_other_listing(governor: Governor) -> None:
    with pytest.raises(InvalidRequestError, match="status: must be one of open, ended, approved"):
        await governor.approvals.list("aproved")  # type: ignore[arg-type]


async def test_the_same_edit_again_is_a_harmless_repeat(governor: Governor, agent: GovernedAgent) -> None:
    await rules(governor, TWO)
    approval = (await ask(agent)).escalation_id or ""
    for _ in range(2):
        assert (await governor.approvals.decide(approval, "approve", by="ada", edit=edit(8))).missing == 1
    assert (await governor.approvals.decide(approval, "approve", by="bob")).status == "approved"
    assert (await governor.approvals.decide(approval, "approve", by="ada", edit=edit(8))).status == "approved"
    with pytest.raises(ConflictError, match="approved by bob"):
        await governor.approvals.decide(approval, "approve", by="ada", edit=edit(9))
    assert (await kinds(governor)).count("voted") == 1


async def test_who_makes_the_same_edit_votes_for_it(governor: Governor, agent: GovernedAgent) -> None:
    await rules(governor, TWO)
    approval = (await ask(agent)).escalation_id or ""
    await governor.approvals.decide(approval, "approve", by="ada", edit=edit(8))
    done = await governor.approvals.decide(approval, "approve", by="bob", edit=edit(8))
    assert (done.status, done.amount_usd, len(done.votes)) == ("approved", Decimal(8), 2)


async def test_refusing_what_an_operator_made_of_it_refuses_what_the_agent_asked(
    governor: Governor, agent: GovernedAgent
) -> None:
    await rules(governor, TWO)
    approval = (await ask(agent)).escalation_id or ""
    await governor.approvals.decide(approval, "approve", by="ada", edit=edit(6))
    await governor.approvals.decide(approval, "reject", by="bob", reason="not at all")
    assert (await ask(agent)).code == "refused_before"
    assert (await agent.budget()).budgets[0].reserved_usd == 0


async def test_an_edit_to_what_is_asked_anyway_is_a_plain_vote(governor: Governor, agent: GovernedAgent) -> None:
    await rules(governor, TWO)
    approval = (await ask(agent, 7)).escalation_id or ""
    await governor.approvals.decide(approval, "approve", by="ada")
    done = await governor.approvals.decide(approval, "approve", by="bob", edit=edit("7.00"))
    assert (done.status, done.edited, len(done.votes)) == ("approved", False, 2)


async def test_an_edit_that_fills_a_budget_is_announced(governor: Governor, agent: GovernedAgent) -> None:
    approval = (await ask(agent, 6)).escalation_id or ""
    assert "budget_reserved" not in await kinds(governor)
    await governor.approvals.decide(approval, "approve", by="ada", edit=edit(9))
    assert (await kinds(governor))[-2:] == ["budget_reserved", "approved"]


async def test_an_edit_across_a_reset_holds_its_money_in_the_present_window(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    await rules(governor, {"name": "asks", "type": "max_cost", "limit_usd": 5, "asking": {"timeout_seconds": 200_000}})
    agent = await governor.handshake("payer")
    await governor.set_budget("agent", "payer", "rolling:2h", 20)
    await governor.set_budget("agent", "payer", "total", 20)
    first, second = await ask(agent, 6, request_id="one"), await ask(agent, "3.5", request_id="two", confidence=0.9)
    await clock.advance(hours=13)
    await governor.approvals.decide(first.escalation_id or "", "approve", by="ada", edit=edit("7.5"))
    await agent.settle(second.grant_id or "", cost_usd=3) if second.granted else None
    held = {state.window: state.reserved_usd for state in (await agent.budget()).budgets if state.scope == "agent"}
    assert held == {"day": Decimal("7.5"), "rolling:2h": Decimal("7.5"), "total": Decimal("7.5")}
    again = await ask(agent, 6, request_id="one")
    await agent.settle(again.grant_id or "", cost_usd=7)
    for state in (await agent.budget()).budgets:
        if state.scope == "agent":
            expected = Decimal(10) if state.window == "total" else Decimal(7)
            assert (state.window, state.reserved_usd, state.spent_usd) == (state.window, 0, expected)


async def test_an_edit_may_not_use_a_model_that_the_policy_forbids_for_it(
    governor: Governor, agent: GovernedAgent
) -> None:
    only = {"name": "cheap-mail", "type": "model_override", "models": ["gpt-4.1-nano"], "tools": ["mail"]}
    await rules(governor, ASKS, only)
    verdict = await agent.request("Pay", estimated_cost_usd=7, tool="pay", model="gpt-4o")
    with pytest.raises(ConflictError, match="the model gpt-4o may not be used for it"):
        await governor.approvals.decide(verdict.escalation_id or "", "approve", by="ada", edit=edit(tool="mail"))


async def test_who_waits_for_news_hears_of_an_edit(
    governor: Governor, agent: GovernedAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, look = asyncio.Event(), HITLManager._look

    async def looking(manager: HITLManager, key: str, **more: Any) -> Any:
        found = await look(manager, key, **more)
        looked.set()
        return found

    await rules(governor, TWO)
    approval = (await ask(agent)).escalation_id or ""
    await governor.approvals.decide(approval, "approve", by="ada")
    monkeypatch.setattr(HITLManager, "_look", looking)
    waiting = asyncio.create_task(governor.approvals.get(approval, wait=60))
    await asyncio.wait_for(looked.wait(), 30)  # news is what was not there at the first look
    await governor.approvals.decide(approval, "approve", by="bob", edit=edit(8))
    news = await asyncio.wait_for(waiting, 30)
    assert ([vote.operator for vote in news.votes], news.amount_usd) == (["bob"], Decimal(8))


async def test_a_limit_speaks_of_the_amount_that_was_tried(governor: Governor, agent: GovernedAgent) -> None:
    await governor.approvals.set_limit("ada", 8, by="cfo")
    approval = (await ask(agent)).escalation_id or ""
    with pytest.raises(AuthError, match=r"about \$9.00, and this person may approve up to \$8.00"):
        await governor.approvals.decide(approval, "approve", by="ada", edit=edit(9))


async def test_approving_in_advance_gets_around_no_limit_and_no_rule(governor: Governor, agent: GovernedAgent) -> None:
    await governor.approvals.set_limit("ada", 8, by="cfo")
    with pytest.raises(AuthError, match=r"may approve up to \$8.00"):
        await governor.approvals.approve_ahead(
            EnvelopeRequest(agent_id="payer", tool="pay", limit_usd=Decimal(9)), by="ada"
        )
    assert await governor.approvals.envelopes() == ()
    cfo = {"name": "wires", "type": "sensitive_intent", "phrases": ["wire"], "asking": {"operators": ["cfo"]}}
    await rules(governor, cfo, TWO)
    for name in ("ada", "cfo"):
        await governor.approvals.approve_ahead(
            EnvelopeRequest(agent_id="payer", tool="pay", limit_usd=Decimal(7)), by=name
        )
    assert (await ask(agent, 1, "Wire it", tool="pay")).granted, "cfo may approve it alone"
    used = {each.author: each.used_usd for each in await governor.approvals.envelopes()}
    assert used == {"ada": 0, "cfo": Decimal(1)}
    assert (await ask(agent, 6, tool="pay")).status == "PENDING", "nobody may approve it alone"


async def test_a_refusal_is_stronger_than_what_was_approved_before_it(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    agent = await governor.handshake("payer")
    envelope = EnvelopeRequest(agent_id="payer", tool="pay", limit_usd=Decimal(6))
    await governor.approvals.approve_ahead(envelope, by="ada")
    first = await ask(agent, 6, "Pay a", tool="pay")
    second = await ask(agent, "5.5", "Pay b", tool="pay")
    assert (first.status, second.status) == ("GRANTED", "REJECTED")
    await governor.set_budget("agent", "payer", "day", 40)
    second = await ask(agent, "5.5", "Pay b", tool="pay")
    await governor.approvals.decide(second.escalation_id or "", "reject", by="bob")
    await agent.release(first.grant_id or "")
    assert (await ask(agent, "5.5", "Pay b", tool="pay")).code == "refused_before"
    await clock.advance(seconds=1)
    await governor.approvals.approve_ahead(envelope, by="ada")
    assert (await ask(agent, "5.5", "Pay b", tool="pay")).granted


async def test_what_was_approved_in_advance_counts_late_settlements(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    agent = await governor.handshake("payer")
    await governor.approvals.approve_ahead(
        EnvelopeRequest(agent_id="payer", tool="pay", limit_usd=Decimal(100), seconds=86_400), by="ada"
    )
    verdict = await ask(agent, 6, tool="pay")
    await clock.advance(minutes=11)
    assert (await governor.approvals.envelopes())[0].used_usd == Decimal(6)
    receipt = await agent.settle(verdict.grant_id or "", cost_usd=50)
    assert receipt.late
    assert (await governor.approvals.envelopes())[0].used_usd == Decimal(50)


async def test_an_envelope_whose_answer_was_lost_is_made_once(governor: Governor, agent: GovernedAgent) -> None:
    assert isinstance(governor.port, ResourceGovernor)
    questions = ApprovalStore(governor.port._ledger)
    order = ("ev_1", "payer", False, "pay", False, False, False, 7_000_000_000, 0, 0, "ada", 0, 60_000, "")
    for _ in range(2):
        await questions.put_envelope(order, None, "ada")
    assert len(await governor.approvals.envelopes()) == 1
    assert (await kinds(governor)).count("envelope_made") == 1


async def test_who_extends_an_approved_grant_knows_of_it(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    agent = await governor.handshake("payer")
    verdict = await ask(agent, request_id="one")
    await governor.approvals.decide(verdict.escalation_id or "", "approve", by="ada")
    extended = await agent.extend(verdict.grant_id or "", 1_800)
    assert (await ask(agent, request_id="one")).expires_at == extended.expires_at, "hearing of it takes no time away"
    await clock.advance(minutes=31)
    assert (await agent.budget()).budgets[0].spent_usd == Decimal(7), "it was perhaps used"


async def test_a_grant_that_waited_for_days_can_be_extended(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    await rules(governor, {**ASKS, "asking": {"timeout_seconds": 604_800}})
    agent = await governor.handshake("payer")
    verdict = await ask(agent)
    await clock.advance(hours=20)
    await governor.approvals.decide(verdict.escalation_id or "", "approve", by="ada")
    extended = await agent.extend(verdict.grant_id or "", 1_200)
    assert extended.expires_at == clock.now + timedelta(seconds=1_200)


async def test_giving_up_at_the_moment_of_approval_costs_nothing(
    settings: Settings, governor: Governor, agent: GovernedAgent
) -> None:
    """The agent is not trusted to say that it used nothing, but of this grant it never heard."""
    assert isinstance(governor.port, ResourceGovernor)
    await governor.port.operator.set_profile(Profile(match="payer", settlement="estimate"), author="tests")
    quiet, heard = await ask(agent, "5.5", "Pay a"), await ask(agent, "3", "Pay b", confidence=0.1, request_id="b")
    for verdict in (quiet, heard):
        await governor.approvals.decide(verdict.escalation_id or "", "approve", by="ada")
    assert (await agent.release(quiet.grant_id or "")).charged_usd == 0
    assert (await ask(agent, "3", "Pay b", confidence=0.1, request_id="b")).granted
    assert (await agent.release(heard.grant_id or "")).charged_usd == Decimal(3)


@pytest.mark.parametrize("way", ["ask", "wait", "extend"])
async def test_what_was_approved_does_not_begin_once_its_agent_is_blocked(
    governor: Governor, agent: GovernedAgent, way: str
) -> None:
    verdict = await ask(agent, request_id="one")
    grant = verdict.grant_id or ""
    assert isinstance(governor.port, ResourceGovernor)
    await governor.approvals.decide(verdict.escalation_id or "", "approve", by="ada")
    await governor.port.operator.block("payer", author="ada")
    if way == "extend":
        with pytest.raises(ConflictError, match="already released"):
            await agent.extend(grant)
    else:
        again = await (ask(agent, request_id="one") if way == "ask" else governor.port.wait_for(grant, 0))
        assert not again.granted
    assert (await governor.port.budget("payer")).budgets[0].reserved_usd == 0


async def test_a_timeout_that_was_noticed_late_hides_no_page(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    agent = await governor.handshake("payer")
    late = (await ask(agent, 1, confidence=0.1)).escalation_id or ""
    await clock.advance(minutes=9)
    early = (await ask(agent, 2, confidence=0.1)).escalation_id or ""
    await clock.advance(minutes=2)
    await governor.approvals.decide(early, "reject", by="ada")
    assert (await governor.approvals.get(late)).status == "timed_out"
    await clock.advance(minutes=1)
    last = (await ask(agent, 3, confidence=0.1)).escalation_id or ""
    await governor.approvals.decide(last, "reject", by="ada")
    seen: list[str] = []
    while page := await governor.approvals.list("ended", after=seen[-1] if seen else None, limit=1):
        seen += [each.approval_id for each in page]
    assert seen == [last, early, late]


async def test_one_agents_questions_are_found_behind_thousands_of_others(settings: Settings, virtual: Virtual) -> None:
    governor, clock, store = virtual
    roomy = settings.model_copy(update={"max_open_approvals": 5_000, "max_open_grants": 5_000})
    port = await open_governor(store, roomy)
    loud, quiet = await governor.handshake("loud"), await governor.handshake("quiet")
    for _ in range(21):
        await asyncio.gather(*(ask(loud, "0.000001", confidence=0.1) for _ in range(100)))
    await clock.advance(seconds=1)
    asked = (await ask(quiet, 1, confidence=0.1)).escalation_id
    assert [each.approval_id for each in await governor.approvals.list(agent_id="quiet")] == [asked]
    with pytest.raises(InvalidRequestError, match="limit"):
        await governor.approvals.list(limit=0)
    await port.aclose()
