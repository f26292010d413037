"""Workflows in plain code: the same as `test_workflows` has for coroutines."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from planned import plan_asked

from aegis_core import AegisDenied, Settings, Step, connect_sync
from aegis_core.client.sync import SyncGovernor
from aegis_core.protocol.errors import AuthError
from aegis_core.protocol.workflows import WorkflowChange

pytestmark = [pytest.mark.concurrent, pytest.mark.leaves("questions")]

PLAN = [Step(tool="pay", times=2, upto_usd="1"), Step(resource_type="llm_tokens", upto_usd=Decimal(1))]


@pytest.fixture
def governor(settings: Settings) -> Iterator[SyncGovernor]:
    with connect_sync(settings=settings) as governor:
        yield governor


def decide(governor: SyncGovernor, word: str) -> None:
    """What a person says of the plan that waits, who first makes it smaller."""
    asked = plan_asked(governor)
    change = WorkflowChange(content=asked.content, budget_usd="2.5")
    smaller = governor.workflows.change(asked.workflow_id or "", change, by="ada")
    governor.approvals.decide(asked.approval_id, word, by="ada", content=smaller.content)  # type: ignore[arg-type]


def test_members_join_act_and_end_together(governor: SyncGovernor) -> None:
    with ThreadPoolExecutor(1) as pool:
        person = pool.submit(decide, governor, "approve")
        with governor.workflow("books", budget_usd=3, until="1h", plan=PLAN) as flow:
            person.result(60)
            payer, planner = flow.join("payer", framework="crewai"), flow.member("planner", "langgraph")
            assert flow.member("planner", "langgraph") is planner  # parts of a graph share the session
            token = flow.invite(agents="helper")
            helper = governor.join(token, "helper")
            with pytest.raises(AuthError, match="used as often"):
                governor.join(token, "helper")
            with payer.permit("Pay", tool="pay", resource_type="api_call", estimated_cost_usd=1) as grant:
                assert (grant.verdict.plan_step, grant.verdict.workflow_id) == (1, flow.workflow_id)
                grant.settle(cost_usd="0.75")
            with (
                pytest.raises(AegisDenied),
                planner.permit("Delete", tool="delete", resource_type="api_call", estimated_cost_usd=0, wait=0),
            ):
                pass
            found = flow.report()
            assert (found.plan.budget_usd, found.used_usd, found.asked) == (Decimal("2.5"), Decimal("0.75"), 1)
            assert {each.agent_id for each in found.members} == {"payer", "planner", "helper"}
            assert flow.workflow.approved_by == ("ada",)
            assert flow.end().ended == "opener"
        for member in (payer, planner, helper):
            late = member.request("Pay", tool="pay", resource_type="api_call", estimated_cost_usd=1)
            assert late.code == "workflow_ended"


def test_a_block_that_fails_or_never_begins_leaves_nothing_in_force(governor: SyncGovernor) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(decide, governor, "approve")
        with (
            pytest.raises(RuntimeError, match="the ledger is lost"),
            governor.workflow("books", budget_usd=3, plan=PLAN),
        ):
            raise RuntimeError("the ledger is lost")
        pool.submit(decide, governor, "reject")
        with (
            pytest.raises(AegisDenied, match="ada rejected its plan"),
            governor.workflow("other books", budget_usd=3, plan=PLAN),
        ):
            raise AssertionError("it was rejected")
    assert {each.plan.name: each.ended for each in governor.workflows.list()} == {
        "books": "opener", "other books": "rejected"
    }  # fmt: skip
