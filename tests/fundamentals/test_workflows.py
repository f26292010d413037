"""Whole workflows: one plan, several agents, one approval. What falls within is granted, what exceeds it is asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest

import aegis_core
from aegis_core import AegisDenied, Governor, LockLostError, Settings, Verdict
from aegis_core.client.agent import GovernedAgent
from aegis_core.client.workflows import Flow
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.policy.loading import load_policy
from aegis_core.protocol.approvals import Approval, ApprovalEdit
from aegis_core.protocol.errors import AegisError, AuthError, ConflictError, InvalidRequestError, NotFoundError
from aegis_core.protocol.messages import SettleRequest
from aegis_core.protocol.people import PersonWish
from aegis_core.protocol.profiles import Profile
from aegis_core.protocol.workflows import Step, StepChange, Workflow, WorkflowChange
from aegis_core.store.store import Store
from aegis_core.testing import FakeClock

pytestmark = [pytest.mark.concurrent, pytest.mark.leaves("grants", "questions")]

EDIT = ApprovalEdit(estimated_cost_usd=Decimal(1))
SETTLED = SettleRequest(cost_usd=Decimal(1))
PLAN = (
    Step(tool="export_ledger", times=4, upto_usd="0.10"),
    Step(resource_type="llm_tokens", upto_usd="2"),
    Step(tool="pay_invoice", times=3, upto_usd="2"),
)


def resources(governor: Governor) -> ResourceGovernor:
    assert isinstance(governor.port, ResourceGovernor)
    return governor.port


async def rules(governor: Governor, *more: dict[str, Any]) -> None:
    await resources(governor).publish_policy(load_policy(json.dumps({"schema": 1, "rules": more})), author="tests")


async def asked(governor: Governor) -> Approval:
    """The next plan that people are asked about."""
    async for event in governor.follow(after="0"):
        if event.kind == "pending":
            for each in await governor.approvals.list():
                if each.plan is not None:
                    return each
    raise AssertionError("INVARIANT: events go on for ever")


async def approve(governor: Governor, *by: str) -> None:
    """Approve it."""
    found = await asked(governor)
    for who in by:
        await governor.approvals.decide(found.approval_id, "approve", by=who)


@asynccontextmanager
async def flowing(governor: Governor, *by: str, **more: Any) -> AsyncIterator[Flow]:
    """A workflow that somebody approves."""
    wish: dict[str, Any] = {"budget_usd": 7, "plan": PLAN, "until": "2h", **more}
    pressing = asyncio.create_task(approve(governor, *(by or ("ada",))))
    async with governor.workflow("close the books", **wish) as flow:
        await pressing
        yield flow


async def ask(agent: GovernedAgent, tool: str | None = "pay_invoice", cost: Any = 2, **more: Any) -> Verdict:
    fields: dict[str, Any] = {"resource_type": "api_call", "tool": tool, "estimated_cost_usd": cost, **more}
    return await agent.request(f"Do {tool or 'it'}", **fields)


def refused(verdict: Verdict) -> str:
    assert verdict.status == "REJECTED", verdict
    return verdict.code


async def code_of(doing: Any) -> str:
    with pytest.raises(AegisError) as caught:
        await doing
    assert str(caught.value)
    return caught.value.code


async def kinds(governor: Governor) -> list[str]:
    return [event.kind for event in await governor.latest_events(500)]


async def the_end(governor: Governor) -> dict[str, Any]:
    (found,) = [each.facts for each in await governor.latest_events(500) if each.kind == "workflow_ended"]
    return found


async def test_what_falls_within_is_granted_and_what_exceeds_it_asks(governor: Governor) -> None:
    await rules(governor, {"name": "every-payment", "type": "sensitive_intent", "tools": ["pay_*"]})
    await governor.handshake("close-the-books")
    await governor.set_budget("agent", "close-the-books", "day", 50)
    async with flowing(governor, budget_usd="9.5") as flow:
        planner = await flow.join("planner", framework="langgraph")
        payer = await flow.join("payer", framework="crewai")
        held = [await ask(payer) for _ in range(3)]
        assert [(each.status, each.plan_step, each.approval_id) for each in held] == [
            ("GRANTED", 3, flow.workflow.approval_id)
        ] * 3
        assert held[0].reason.endswith("approved with the plan of the workflow close the books.")
        assert (await ask(planner, None, "1.5", resource_type="llm_tokens")).plan_step == 2
        beyond = {
            "a fourth payment": await ask(payer),
            "too dear": await ask(planner, "export_ledger", "0.11"),
            "beyond the sum": await ask(planner, None, "0.6", resource_type="llm_tokens"),
            "in no step": await ask(planner, "delete_ledger", "0.01"),
        }
        stood = {name: (each.status, each.plan_step) for name, each in beyond.items()}
        assert stood == dict.fromkeys(beyond, ("PENDING", None))
        assert "was to be done 3 times" in beyond["a fourth payment"].reason or beyond["a fourth payment"].rule
        approval = await governor.approvals.get(beyond["in no step"].escalation_id or "")
        assert (approval.workflow_id, approval.plan) == (flow.workflow_id, None)
        await governor.approvals.decide(approval.approval_id, "approve", by="eve")
        assert (await ask(planner, "export_ledger", "0.10")).plan_step == 1
        for each, cost in zip(held, ("2", "1.000000001", "2.5"), strict=True):  # the last one overruns
            await payer.settle(each.grant_id or "", cost_usd=cost)
        found = await flow.report()
        assert [(step.uses, step.used_usd) for step in found.plan.steps] == [
            (1, Decimal("0.1")), (1, Decimal("1.5")), (3, Decimal("5.500000001"))
        ]  # fmt: skip
        assert found.used_usd == sum(step.used_usd for step in found.plan.steps)
        assert (found.beside_usd, found.waiting_usd, found.asked) == (Decimal("0.01"), Decimal("2.71"), 4)
        assert {(each.agent_id, each.agent_framework) for each in found.members} == {
            ("planner", "langgraph"), ("payer", "crewai")
        }  # fmt: skip
        # The money of all members is the workflow's, to the nano-dollar, and all of it counts with its opener, too.
        every = found.used_usd + found.beside_usd + found.waiting_usd
        reports = [await governor.budget(name) for name in ("planner", "payer", flow.opener.agent_id)]
        spent = [sum(each.spent_usd + each.reserved_usd for each in report.budgets[:1]) for report in reports]
        assert spent[0] + spent[1] == spent[2] == every
    assert refused(await ask(payer)) == refused(await ask(planner, "export_ledger", "0.01")) == "workflow_ended"
    end = await the_end(governor)
    assert (end["how"], end["planned_usd"], end["used_usd"], end["asked"], end["members"]) == (
        "opener", 9.5, 7.100000001, 4, 2
    )  # fmt: skip
    assert (await governor.approvals.list()) == ()


async def test_budgets_and_rules_that_deny_still_deny(governor: Governor) -> None:
    await governor.set_budget("tenant", "-", "day", 5)
    async with flowing(governor, budget_usd=5) as flow:
        payer = await flow.join("payer")
        first = await ask(payer)
        assert first.granted
        await rules(governor, {"name": "no-more", "type": "blocked_intent", "tools": ["pay_invoice"]})
        assert (await ask(payer)).rule == "no-more"  # a newer deny wins at once
        assert (await ask(payer, "export_ledger", "0.1")).granted
        await rules(governor)
        assert (await ask(payer)).granted
        assert refused(await ask(payer, cost="1.9")) == "budget_exceeded"
        await resources(governor).operator.block("payer", author="ada")
        assert refused(await ask(payer, "export_ledger", "0.1")) == "agent_blocked"


async def test_the_budget_of_the_plan_bounds_all_its_steps(governor: Governor) -> None:
    async with flowing(governor, budget_usd=3) as flow:
        one, two = await flow.join("one"), await flow.join("two")
        first = await ask(one)
        assert (await ask(two, cost="1.000000001")).status == "PENDING"
        assert (await ask(two, cost=1)).granted
        await one.settle(first.grant_id or "", cost_usd="0.4")
        assert (await ask(two, cost="1.6")).granted


async def test_a_member_gets_the_narrowest_of_opener_plan_and_profile(governor: Governor) -> None:
    operator = resources(governor).operator
    opener = await governor.handshake("boss", capabilities=("pay", "read", "mail"), max_priority=6)
    await operator.set_profile(Profile(match="clerk", capabilities=("pay", "read", "root")), author="ada")
    async with flowing(governor, opener=opener, capabilities=("pay", "mail", "root"), max_priority=8) as flow:
        clerk = await flow.join("clerk", capabilities=["pay", "read", "mail", "root"], max_priority=9)
        assert (clerk.session.capabilities, clerk.session.max_priority) == (("pay",), 6)
        assert clerk.session.workflow_id == flow.workflow_id
        for capability in ("read", "mail", "root"):
            verdict = await ask(clerk, "export_ledger", "0.01", capability=capability)
            assert refused(verdict) == "missing_capability"
        assert refused(await ask(clerk, "export_ledger", "0.01", priority=7)) == "priority_above_maximum"
        assert (await ask(clerk, "export_ledger", "0.01", capability="pay", priority=6)).granted
        # The opener's own ceilings hold as they stand now, and so does its budget.
        await operator.set_profile(Profile(match="boss", capabilities=("read",), max_priority=4), author="ada")
        denied = await ask(clerk, "export_ledger", "0.01", capability="pay")
        assert refused(denied) == "missing_capability"
        assert refused(await ask(clerk, "export_ledger", "0.01", priority=5)) == "priority_above_maximum"
        await governor.set_budget("agent", "boss", "day", "0.02")
        assert refused(await ask(clerk, "export_ledger", "0.02", priority=4)) == "budget_exceeded"
        assert (await ask(clerk, "export_ledger", "0.01", priority=4)).granted
        await operator.block("boss", author="ada")
        assert refused(await ask(clerk, "export_ledger", "0", priority=4)) == "opener_blocked"
        await operator.unblock("boss", author="ada")


async def test_a_plan_takes_as_many_persons_as_its_strictest_step(governor: Governor) -> None:
    people = resources(governor).operator.people
    for name in ("ada", "eve", "max"):
        await people.put(PersonWish(name=name, role="approver"), author="operator")
    two = {"name": "two-for-payments", "type": "sensitive_intent", "tools": ["pay_*"], "asking": {"quorum": 2}}
    await rules(governor, two, {"name": "one-for-exports", "type": "sensitive_intent", "tools": ["export_*"]})
    async with flowing(governor, "ada", "eve") as flow:
        assert flow.workflow.approved_by == ("ada", "eve")
        payer = await flow.join("payer")
        assert (await ask(payer)).granted
        await people.remove("eve", author="operator")
        assert (await ask(payer)).status == "PENDING"  # by one person who still belongs here, and two are needed
        assert (await ask(payer, "export_ledger", "0.1")).granted
        await governor.approvals.set_limit("ada", "0.05", by="operator")
        assert (await ask(payer, "export_ledger", "0.1")).status == "PENDING"


async def test_plans_that_are_no_use_are_refused_at_once(governor: Governor) -> None:
    async def opened(**more: Any) -> Workflow:
        wish: dict[str, Any] = {"budget_usd": 7, "plan": PLAN, **more}
        async with governor.workflow("close the books", **wish) as flow:
            return flow.workflow

    with pytest.raises(InvalidRequestError) as above:
        await opened(budget_usd=12)
    assert above.value.message == (
        "budget_usd: is above $10.00, all that the day budget of its opener close-the-books could pay for while the "
        "plan lasts. Nobody was asked. An operator gives it more: "
        "aegis budget set agent close-the-books AMOUNT --window day"
    )
    await governor.set_budget("tenant", "-", "rolling:24h", 4)
    with pytest.raises(InvalidRequestError, match=r"the rolling:1d budget of the tenant .* budget set tenant - AMOUNT"):
        await opened(budget_usd=9)
    await governor.set_budget("tenant", "-", "rolling:24h", 100)
    with pytest.raises(InvalidRequestError, match=r"above \$20\.00"):
        await opened(budget_usd=21, until="24h")
    with pytest.raises(InvalidRequestError, match="give tool or resource_type"):
        await opened(plan=[{"upto_usd": 1}])
    with pytest.raises(InvalidRequestError, match="until: must be a number"):
        await opened(until="tomorrow")
    await rules(governor, {"name": "never-pay", "type": "blocked_intent", "tools": ["pay_*"]})
    with pytest.raises(ConflictError, match="deny step 3 of the plan") as caught:
        await opened()
    assert (caught.value.code, await governor.approvals.list()) == ("plan_denied", ())
    await rules(governor)
    waiting = asyncio.create_task(opened())
    found = await asked(governor)
    assert (found.amount_usd, found.plan and found.plan.name) == (Decimal(7), "close the books")
    assert await code_of(governor.approvals.decide(found.approval_id, "approve", by="a", edit=EDIT)) == "is_a_plan"
    assert await code_of(resources(governor).settle(found.grant_id, SETTLED)) == "is_a_plan"
    await governor.approvals.decide(found.approval_id, "reject", by="ada", reason="not in December")
    with pytest.raises(AegisDenied, match="did not begin: ada rejected its plan"):
        await waiting
    with pytest.raises(ConflictError, match="refused by ada: not in December"):
        await opened()
    with pytest.raises(AegisDenied, match="was not approved in time"):
        await opened(plan=PLAN[:1], wait=0.05)
    assert [each.ended for each in await governor.workflows.list()] == ["withdrawn", "rejected"]
    assert "workflow_ended" not in await kinds(governor)  # none of them began


async def test_who_may_join_and_how_often(governor: Governor, settings: Settings) -> None:
    await governor.handshake("villain")
    await resources(governor).operator.block("villain", author="ada")
    async with flowing(governor, may_join=("payer-*", "planner", "villain"), most_members=4) as flow:
        once = await flow.invite()
        await governor.join(once, "planner")
        assert await code_of(governor.join(once, "planner")) == "join_token_used"
        thrice = await flow.invite(uses=3, agents="payer-*")
        assert await code_of(governor.join(thrice, "planner")) == "may_not_join"
        assert await code_of(governor.join(thrice, "someone")) == "may_not_join"
        assert await code_of(governor.join(await flow.invite(), "villain")) == "agent_blocked"
        assert await code_of(governor.join(thrice[:-5] + "xxxxx", "payer-1")) == "bad_join_token"
        assert await code_of(governor.join("nonsense", "payer-1")) == "bad_join_token"
        joined = await asyncio.gather(*(governor.join(thrice, f"payer-{n}") for n in range(8)), return_exceptions=True)
        assert sorted(getattr(each, "code", "joined") for each in joined) == ["join_token_used"] * 5 + ["joined"] * 3
        assert await code_of(governor.join(await flow.invite(), "payer-9")) == "workflow_full"
        other = settings.model_copy(update={"tenant": settings.tenant + "-b"})
        async with aegis_core.connect(settings=other) as abroad:
            assert await code_of(abroad.join(await flow.invite(), "payer-1")) == "not_found"
            assert await code_of(abroad.workflows.get(flow.workflow_id)) == "not_found"
        member = next(each for each in joined if isinstance(each, GovernedAgent))
        nested = governor.workflow("another one", budget_usd=1, plan=PLAN[:1], opener=member)
        assert await code_of(nested.__aenter__()) == "in_a_workflow"
        stranger = await governor.handshake("stranger")
        spied = governor.workflows.get(flow.workflow_id, token=stranger.session.session_token)
        assert await code_of(spied) == "not_yours"
        theft = governor.workflows.end(flow.workflow_id, agent_id="stranger", token=stranger.session.session_token)
        assert await code_of(theft) == "not_yours"
        late = await flow.invite()
    assert await code_of(governor.join(late, "payer-1")) == "workflow_ended"
    assert await code_of(flow.invite()) == "workflow_ended"
    assert (await flow.end()).ended == "opener"  # again is harmless
    codes = {each.facts["code"] for each in await governor.latest_events(200) if each.kind == "handshake_refused"}
    assert codes >= {"join_token_used", "may_not_join", "agent_blocked", "workflow_full", "workflow_ended"}


async def test_an_operator_ends_it_for_every_member(governor: Governor) -> None:
    async with flowing(governor) as flow:
        one, two = await flow.join("one"), await flow.join("two")
        held, waiting = await ask(one), await ask(two, "beside", "0.5")
        heard = await ask(two, "unheard", "0.5")
        await governor.approvals.decide(heard.escalation_id or "", "approve", by="ada")
        own = await governor.handshake("three")
        async with own.lock("mine"):
            lease = two.lock("ledger")
            taken = await lease.__aenter__()
            queued = asyncio.create_task(one.lock("mine", wait=30).__aenter__())
            wallet = await one.request(
                "Pay", resource_type="wallet_lock", target_resource="purse", estimated_cost_usd=0, tool="pay_invoice"
            )
            assert wallet.lock_token
            done = await governor.workflows.end(flow.workflow_id, by="ada")
            assert (done.ended, done.ended_by, done.open) == ("operator", "ada", 2)
            assert [each.resource for each in await governor.locks()] == ["mine"]
            with pytest.raises(AegisError):
                await queued
        with pytest.raises(LockLostError):
            taken.check()
        with pytest.raises(LockLostError):
            await lease.__aexit__(None, None, None)
        assert refused(await ask(one)) == refused(await ask(two)) == "workflow_ended"
        assert await code_of(two.lock("ledger", wait=0).__aenter__()) == "workflow_ended"
        assert (await governor.approvals.get(waiting.escalation_id or "")).status == "withdrawn"
        assert (await one.settle(held.grant_id or "", cost_usd="1.25")).charged_usd == Decimal("1.25")
        receipt = await one.settle(wallet.grant_id or "", cost_usd=0)
        assert receipt.lock_lost
        found = await governor.workflows.get(flow.workflow_id)
        assert (found.used_usd, found.beside_usd, found.waiting_usd, found.open) == (Decimal("1.25"), 0, 0, 0)
        assert (await the_end(governor))["by"] == "ada"


async def test_it_ends_when_its_plan_is_used_up(governor: Governor) -> None:
    plan = [Step(tool="pay_invoice", times=2, upto_usd=1), Step(tool="look", upto_usd=0)]
    async with flowing(governor, plan=plan, budget_usd=2) as flow:
        payer = await flow.join("payer")
        first, second = await ask(payer, cost=1), await ask(payer, cost=1)
        await payer.settle(first.grant_id or "", cost_usd="0.5")
        assert (await flow.report()).state == "live"  # the second one is open still
        assert (await ask(payer, cost="0.1")).status == "PENDING"
        for each in await governor.approvals.list():
            await governor.approvals.decide(each.approval_id, "reject", by="ada")
        await payer.settle(second.grant_id or "", cost_usd=1)
        assert (await flow.report()).ended == "use"
        assert refused(await ask(payer, cost="0.2")) == "workflow_ended"
    assert (await the_end(governor))["used_usd"] == 1.5


async def test_time_ends_it_though_its_opener_vanished(virtual: tuple[Governor, FakeClock, Store]) -> None:
    governor, clock, _ = virtual
    opener = await governor.handshake("boss")
    pressing = asyncio.create_task(approve(governor, "ada"))
    flow = await governor.workflow(
        "close the books", budget_usd=7, plan=PLAN, until="40h", opener=opener
    ).__aenter__()  # and nobody ever leaves the block
    await pressing
    token = await flow.invite(uses=2, seconds="1h")
    payer = await governor.join(token, "payer")
    await clock.advance(seconds=3601)
    assert await code_of(governor.join(token, "payer")) == "join_token_expired"
    for _ in range(4):
        await clock.advance(seconds=35_000)
        assert (await ask(payer, "export_ledger", "0.01")).granted
    assert await code_of(flow.invite()) == "bad_token"  # the opener's own session ended idle
    await clock.advance(seconds=40 * 3600 - 3601 - 4 * 35_000 - 1)
    waiting = await ask(payer, "beside", "0.01")
    assert waiting.status == "PENDING"
    await clock.advance(seconds=1)
    assert refused(await ask(payer, "export_ledger", "0.01")) == "workflow_ended"
    assert (await governor.approvals.get(waiting.escalation_id or "")).status == "withdrawn"
    found = await governor.workflows.get(flow.workflow_id)
    assert (found.ended, found.plan.steps[0].uses) == ("time", 4)
    assert await code_of(governor.join(token, "payer")) == "workflow_ended"


async def test_a_plan_is_made_smaller_while_it_is_used(governor: Governor) -> None:
    async with flowing(governor) as flow:
        payer = await flow.join("payer")
        held = [await ask(payer), await ask(payer)]
        workflows, seen = governor.workflows, (await flow.report()).content

        async def change(content: str = seen, **more: Any) -> Workflow:
            return await workflows.change(flow.workflow_id, WorkflowChange(content=content, **more), by="ada")

        for wider in ({"budget_usd": 8}, {"seconds": 7201}, {"steps": [StepChange(number=3, times=4)]}):
            assert await code_of(change(**wider)) == "plan_wider"
        assert await code_of(change(steps=[StepChange(number=2, times=1)])) == "plan_wider"
        with pytest.raises(InvalidRequestError, match="there is no step 4"):
            await change(steps=[StepChange(number=4, times=1)])
        smaller = await change(budget_usd="4.5", steps=[StepChange(number=3, times=1), StepChange(number=2, times=0)])
        assert [(each.times, each.upto_usd, each.uses) for each in smaller.plan.steps][1:] == [(None, 0, 0), (1, 2, 2)]
        assert await code_of(change(budget_usd=1)) == "edited_since"
        assert (await ask(payer)).status == "PENDING"  # twice used, once allowed: nothing more
        assert (await ask(payer, None, "0.01", resource_type="llm_tokens")).status == "PENDING"
        assert (await ask(payer, "export_ledger", "0.1")).granted
        for each in held:
            await payer.settle(each.grant_id or "", cost_usd=2)
        assert (await flow.report()).used_usd == Decimal("4.1")
        shorter = await change(smaller.content, seconds=0.001)
        assert shorter.expires_at is not None
        assert refused(await ask(payer, "export_ledger", "0.1")) == "workflow_ended"
        assert (await flow.report()).ended == "time"


async def test_a_plan_is_edited_before_it_is_approved(governor: Governor) -> None:
    two = {"name": "two", "type": "sensitive_intent", "tools": ["pay_*"], "asking": {"quorum": 2}}
    await rules(governor, two)

    async def opened() -> Workflow:
        async with governor.workflow("close the books", budget_usd=7, plan=PLAN) as flow:
            return flow.workflow

    waiting = asyncio.create_task(opened())
    question = await asked(governor)
    await governor.approvals.decide(question.approval_id, "approve", by="ada", content=question.content)
    change = WorkflowChange(content=question.content, budget_usd=3, steps=(StepChange(number=3, times=1),))
    await governor.workflows.change(question.workflow_id or "", change, by="eve")
    stale = governor.approvals.decide(question.approval_id, "approve", by="max", content=question.content)
    assert await code_of(stale) == "edited_since"
    again = await governor.approvals.get(question.approval_id)
    assert (again.edited, again.amount_usd, again.votes, again.missing) == (True, 3, (), 2)
    assert again.plan is not None
    assert again.plan.steps[2].times == 1
    for who in ("ada", "eve"):
        await governor.approvals.decide(question.approval_id, "approve", by=who, content=again.content)
    assert (await waiting).plan.budget_usd == 3


async def test_newer_rules_judge_a_plan_that_waits(governor: Governor) -> None:
    waiting = asyncio.create_task(governor.workflow("books", budget_usd=7, plan=PLAN, request_id="w").__aenter__())
    found = await asked(governor)
    await rules(governor, {"name": "never-pay", "type": "blocked_intent", "tools": ["pay_*"]})
    assert await code_of(governor.approvals.decide(found.approval_id, "approve", by="ada")) == "policy_denies"
    await rules(governor)
    await governor.approvals.decide(found.approval_id, "approve", by="ada")
    flow = await waiting
    again = await governor.workflow(
        "books", budget_usd=7, plan=PLAN, request_id="w", opener=flow.opener
    ).__aenter__()  # a program that was started again finds what was approved
    assert again.workflow_id == flow.workflow_id
    assert len([kind for kind in await kinds(governor) if kind == "pending"]) == 1
    changed = governor.workflow("books", budget_usd=6, plan=PLAN, request_id="w", opener=flow.opener)
    assert (await code_of(changed.__aenter__())) == "conflict"
    await flow.end()


async def test_a_repeat_counts_once_and_what_never_began_counts_nothing(governor: Governor) -> None:
    async with flowing(governor) as flow:
        payer = await flow.join("payer")
        first = await ask(payer, request_id="p1")
        assert (await ask(payer, request_id="p1")).grant_id == first.grant_id
        await payer.release(first.grant_id or "")
        found = await flow.report()
        assert (found.plan.steps[2].uses, found.used_usd) == (1, 0)  # it was granted, so perhaps it was done
        holder = await governor.handshake("holder")
        async with holder.lock("purse"):
            waits = await payer.request(
                "Pay", resource_type="wallet_lock", target_resource="purse", estimated_cost_usd=2, tool="pay_invoice"
            )
            assert (waits.waiting_for, (await flow.report()).plan.steps[2].uses) == ("lock", 2)
            await payer.release(waits.grant_id or "")
        assert (await flow.report()).plan.steps[2].uses == 1


async def test_only_what_is_observed_is_not_enforced(governor: Governor) -> None:
    async with flowing(governor) as flow:
        payer = await flow.join("payer")
        await resources(governor).operator.set_mode("observe", author="ada")
        watched = await ask(payer, "beside", "0.5")
        assert (watched.status, watched.would_be, watched.plan_step) == ("GRANTED", "PENDING", None)
        assert (await flow.report()).beside_usd == Decimal("0.5")
        await governor.workflows.end(flow.workflow_id, by="ada")
        assert refused(await ask(payer)) == "workflow_ended"
        await resources(governor).operator.set_mode("enforce", author="ada")


async def test_a_thousand_members(governor: Governor) -> None:
    with pytest.raises(InvalidRequestError, match="most_members"):
        await governor.workflow("many", budget_usd=1, plan=PLAN, most_members=1_001).__aenter__()
    async with flowing(governor, most_members=1_000) as flow:
        token = await flow.invite(uses=1_000)
        for start in range(0, 1_000, 100):
            await asyncio.gather(*(governor.join(token, f"m-{n}") for n in range(start, start + 100)))
        assert await code_of(governor.join(token, "m-1000")) == "join_token_used"
        assert await code_of(governor.join(await flow.invite(), "m-1000")) == "workflow_full"
        assert len((await flow.report()).members) == 1_000
    assert (await flow.report()).ended == "opener"


async def test_64_tasks_join_ask_and_revoke_at_once(governor: Governor) -> None:
    async with flowing(governor, plan=[Step(tool="pay", times=20, upto_usd="0.3")], budget_usd=5) as flow:
        token, stopped, enough = await flow.invite(uses=16), asyncio.Event(), asyncio.Event()
        granted: list[Verdict] = []

        async def work(n: int) -> None:
            await asyncio.sleep(0)
            try:
                member = await governor.join(token, f"m-{n}")
            except (AuthError, ConflictError) as error:
                assert error.code in {"join_token_used", "workflow_ended"}  # noqa: PT017 - one of many
                return
            while True:
                late = stopped.is_set()
                verdict = await ask(member, "pay", "0.3")
                if verdict.status != "GRANTED":
                    assert verdict.code in {"approval_needed", "workflow_ended"}
                    if verdict.code == "workflow_ended":
                        return
                    await asyncio.sleep(0.001)
                    continue
                assert not late
                granted.append(verdict)
                if len(granted) == 10:
                    enough.set()
                await member.settle(verdict.grant_id or "", cost_usd="0.2")

        async def revoke() -> None:
            await enough.wait()
            ends = [governor.workflows.end(flow.workflow_id, by=name) for name in ("ada", "eve")]
            ended = await asyncio.gather(*ends, flow.end())
            assert len({(each.ended, each.ended_by) for each in ended}) == 1
            stopped.set()

        await asyncio.wait_for(asyncio.gather(revoke(), *(work(n) for n in range(64))), 120)
        found = await flow.report()
        assert (found.joined, found.plan.steps[0].uses) == (16, len(granted))
        assert (await the_end(governor))["uses"] == len(granted)
        assert len(granted) <= 20
        assert (found.used_usd, found.open) == (Decimal("0.2") * len(granted), 0)
        assert (found.beside_usd, found.waiting_usd) == (0, 0)


async def test_there_is_no_such_workflow(governor: Governor) -> None:
    for nothing in ("wf_" + "0" * 32, "nonsense"):
        with pytest.raises(NotFoundError):
            await governor.workflows.get(nothing)
        with pytest.raises(NotFoundError):
            await governor.workflows.end(nothing, by="ada")
