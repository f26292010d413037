"""The public API as a type checker sees it. Never run: pyright checks it in strict mode."""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from decimal import Decimal
from typing import Literal, assert_type

import aegis_core
from aegis_core import (
    AegisDenied,
    AegisError,
    GovernedAgent,
    Governor,
    Grant,
    InvalidRequestError,
    Receipt,
    RequestFields,
    Settings,
    Step,
    Usage,
    Verdict,
)
from aegis_core.client.leases import Lease
from aegis_core.client.sync import SyncFlow, SyncGovernedAgent, SyncGovernor, SyncGrant, SyncLease
from aegis_core.client.workflows import Flow
from aegis_core.protocol.approvals import Approval, Envelope
from aegis_core.protocol.events import Event
from aegis_core.protocol.locks import LockSummary
from aegis_core.protocol.messages import AgentSummary, BudgetLine, BudgetReport, BudgetState, SessionOpened
from aegis_core.protocol.workflows import StepChange, Workflow, WorkflowChange


async def asynchronous() -> None:
    async with aegis_core.connect() as governor:
        assert_type(governor, Governor)
    settings = Settings(tenant="acme", grant_seconds=60)
    async with aegis_core.connect("redis://localhost", tenant="acme", token="t", settings=settings) as governor:
        assert_type(governor.tenant, str)
        agent = await governor.handshake(
            "crew-researcher-01", framework="crewai", capabilities=["web_search"], max_priority=7,
            session_budget_usd="2.50",
        )  # fmt: skip
        assert_type(agent, GovernedAgent)
        assert_type(agent.agent_id, str)
        assert_type(agent.session, SessionOpened)
        assert_type(agent.session.session_token, str)
        verdict = await agent.request("Summarise", estimated_cost_usd=Decimal("0.035"), logic_density=3, wait=2)
        assert_type(verdict, Verdict)
        assert_type(await agent.request("Swap", resource_type="gas_budget", estimated_cost_usd=1), Verdict)
        wish: RequestFields = {"resource_type": "wallet_lock", "target_resource": "wallet", "estimated_cost_usd": "1"}
        assert_type(await agent.request("Swap", wait=5, **wish | {"request_id": "swap-1"}), Verdict)
        assert_type(await agent.request("Pay", tool="pay", arguments={"to": "acme"}, metadata={"run": 7}), Verdict)

        async with agent.permit("Summarise", estimated_cost_usd=0.035) as grant:
            assert_type(grant, Grant)
            assert_type(grant.grant_id, str)
            assert_type(grant.model, str | None)
            assert_type(grant.verdict, Verdict)
            assert_type(await grant.extend(60), Receipt)
            assert_type(grant.settle(cost_usd="0.031"), None)
            assert_type(grant.settle(usage=Usage(model="gpt-4o", input_tokens=1, output_tokens=1)), None)
            assert_type(grant.settle(response={"usage": None}, provider="openai", outcome=0.5), None)
            assert_type(grant.release(), None)
        assert_type(grant.receipt, Receipt | None)
        async with agent.lock("wallet", wait="5s", priority=9, mode="shared") as lease:
            assert_type(lease, Lease)
        async with agent.lock_all("a", "b", ttl=3, preemption="cooperative") as lease:
            assert_type(lease.fences, dict[str, int])

        assert_type(await agent.settle("gr_1", cost_usd=1), Receipt)
        assert_type(await agent.settle("gr_1", estimated=True), Receipt)
        async with agent.permit("Work", on_error="release", estimated_cost_usd=1) as other:
            assert_type(other, Grant)
        assert_type(await agent.release("gr_1"), Receipt)
        assert_type(await agent.extend("gr_1", seconds=5), Receipt)
        report = await agent.budget()
        assert_type(report, BudgetReport)
        assert_type(report.remaining_budget_usd, Decimal)
        assert_type(await governor.budget("a"), BudgetReport)
        state = await governor.set_budget("label", "team=research", "month", "300")
        assert_type(state, BudgetState)
        assert_type(state.resets_at, datetime | None)
        assert_type(await governor.agents(), tuple[AgentSummary, ...])
        assert_type(await governor.events(after="0", wait=1), tuple[Event, ...])
        assert_type(governor.follow(), AsyncIterator[Event])


async def workflows() -> None:
    plan = [
        Step(tool="export_ledger", times=4, upto_usd="0.10"),
        Step(resource_type="llm_tokens", upto_usd=Decimal(6)),
        Step(tool="pay_invoice", times=20, upto_usd=5),
    ]
    assert_type(plan[0].upto_usd, Decimal)
    async with (
        aegis_core.connect() as governor,
        governor.workflow("close the books", budget_usd="12", until="2h", plan=plan) as flow,
    ):
        assert_type(flow, Flow)
        assert_type(await flow.join("planner", framework="langgraph", capabilities=["pay"]), GovernedAgent)
        found = await flow.report()
        assert_type(found, Workflow)
        change = WorkflowChange(content=found.content, budget_usd="8", steps=[StepChange(number=3, upto_usd="2.50")])
        assert_type(await governor.workflows.change(flow.workflow_id, change, by="ada"), Workflow)
    with (
        aegis_core.connect_sync() as plain_governor,
        plain_governor.workflow("close the books", budget_usd=12, plan=plan, wait=5) as plain_flow,
    ):
        assert_type(plain_flow, SyncFlow)
        assert_type(plain_flow.join("payer"), SyncGovernedAgent)
        assert_type(plain_flow.invite(uses=2), str)
        assert_type(plain_governor.workflows.end(plain_flow.workflow_id, by="ada"), Workflow)


def plain() -> None:
    with aegis_core.connect_sync("http://localhost:8000", tenant="acme") as governor:
        assert_type(governor, SyncGovernor)
        agent = governor.handshake("a", session_budget_usd=2)
        assert_type(agent, SyncGovernedAgent)
        assert_type(agent.request("Summarise", estimated_cost_usd="0.035"), Verdict)
        with agent.permit("Summarise", estimated_cost_usd="0.035") as grant:
            assert_type(grant, SyncGrant)
            assert_type(grant.model, str | None)
            assert_type(grant.settle(cost_usd=Decimal("0.03")), None)
            assert_type(grant.extend(), Receipt)
        assert_type(grant.receipt, Receipt | None)
        wish: RequestFields = {"resource_type": "wallet_lock", "target_resource": "wallet", "estimated_cost_usd": "1"}
        with agent.permit("Swap", wait=5, **wish) as grant:
            assert_type(grant.lease, SyncLease | None)
        with agent.lock("wallet", wait="5s", permits=2, weight=1) as lease:
            assert_type(lease, SyncLease)
            assert_type(lease.renew(), None)
        with agent.lock_all("a", "b", priority=9) as lease:
            assert_type(lease.check(), None)
        assert_type(governor.locks("wallet"), tuple[LockSummary, ...])
        assert_type(governor.approvals.decide("ap_1", "approve", by="ada"), Approval)
        assert_type(governor.approvals.list("ended", limit=5), tuple[Approval, ...])
        assert_type(governor.approvals.revoke("ev_1", by="ada"), Envelope)
        assert_type(agent.settle("gr_1", usage=Usage(model="gpt-4o")), Receipt)
        assert_type(agent.budget(), BudgetReport)
        assert_type(governor.events(), tuple[Event, ...])


def answers(verdict: Verdict, receipt: Receipt) -> None:
    assert_type(verdict.status, Literal["GRANTED", "PENDING", "REJECTED"])
    assert_type(verdict.granted, bool)
    assert_type(verdict.reason, str)
    assert_type(verdict.code, str)
    assert_type(verdict.remaining_budget_usd, Decimal)
    assert_type(verdict.reserved_usd, Decimal)
    assert_type(verdict.budgets, tuple[BudgetLine, ...])
    assert_type(verdict.budgets[0].scope, Literal["agent", "session", "tenant", "model", "resource", "label"])
    assert_type(verdict.budgets[0].tightest, bool)
    assert_type(verdict.recommended_model, str | None)
    assert_type(verdict.granted_at, datetime | None)
    assert_type(verdict.expires_at, datetime | None)
    assert_type(verdict.grant_id, str | None)
    assert_type(verdict.rule, str | None)
    assert_type(verdict.policy_version, int)
    assert_type(verdict.retry_after_seconds, float | None)
    assert_type(verdict.waiting_for, Literal["human", "lock"] | None)
    assert_type(verdict.escalation_id, str | None)
    assert_type(verdict.fence, int | None)
    assert_type(verdict.would_be, Literal["GRANTED", "PENDING", "REJECTED"] | None)
    assert_type(receipt.charged_usd, Decimal)
    assert_type(receipt.repeated, bool)


def errors(agent: SyncGovernedAgent) -> None:
    try:
        with agent.permit("Summarise", estimated_cost_usd="0.035"):
            pass
    except AegisDenied as denied:
        assert_type(denied.verdict, Verdict)
        assert_type(denied.code, str)
    except InvalidRequestError as wrong:
        assert_type(wrong.field, str)
    except AegisError as error:
        assert_type(error.message, str)
    refusal: ValueError = AegisDenied("no", verdict=agent.request("Summarise"))
    assert_type(refusal, AegisDenied)
