"""Who hears of an approval over HTTP: its own agent, which then may have used it; nobody else starts a grant's time."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest
from pydantic import SecretStr
from serving import OPERATOR, Clock, moved_by_hand, serving

from aegis_core.testing import private_settings

BOSS = {"Authorization": f"Bearer {OPERATOR}"}


@pytest.fixture(scope="module")
def clock(server_url: str) -> Iterator[Clock]:
    with moved_by_hand(server_url) as clock:
        yield clock


@pytest.fixture(scope="module")
def brief(server_url: str, clock: Clock) -> Iterator[httpx.Client]:
    """Grants live for half a second."""
    settings = private_settings(
        url=server_url, tenant=f"t-{uuid4().hex[:12]}", operator_secret=SecretStr(OPERATOR), grant_seconds=0.5
    )
    with serving(settings) as base, httpx.Client(base_url=f"{base}/api/v1", trust_env=False, timeout=30) as client:
        yield client


def agent(http: httpx.Client) -> tuple[str, dict[str, str]]:
    """A fresh agent and its token."""
    name = f"agent-{uuid4().hex[:8]}"
    opened = http.post("/handshake", json={"agent_id": name, "agent_framework": "custom"}, headers=BOSS).json()
    return name, {"Authorization": f"Bearer {opened['session_token']}"}


def approved(http: httpx.Client, name: str, auth: dict[str, str]) -> str:
    """The bare id of a question that an operator approved and of which its agent has not heard."""
    request = {"agent_id": name, "task_intent": "Pay", "resource_type": "api_call", "estimated_cost_usd": 7}
    verdict = http.post("/request-permission", json=request, headers=auth).json()
    assert verdict["status"] == "PENDING", verdict
    approval = verdict["escalation_id"]
    done = http.post(f"/approvals/{approval}/decision", json={"decision": "approve"}, headers=BOSS)
    assert done.json()["status"] == "approved", done.text
    return approval.removeprefix("ap_")


def spent(http: httpx.Client, name: str, clock: Clock) -> float:
    clock.advance(0.6)
    budgets = http.get(f"/budget/{name}", headers=BOSS).json()["budgets"]
    assert budgets[0]["reserved_usd"] == 0
    return budgets[0]["spent_usd"]


@pytest.mark.parametrize("path", ["/approvals/ap_", "/grants/gr_", "/grants/ap_"])
def test_an_agent_that_reads_of_its_approval_has_heard_of_it(brief: httpx.Client, clock: Clock, path: str) -> None:
    """Else it could read that it may, do it without asking again, and never pay."""
    name, auth = agent(brief)
    question = approved(brief, name, auth)
    assert brief.get(path + question, headers=auth).status_code == 200
    assert spent(brief, name, clock) == 7


@pytest.mark.parametrize("path", ["/approvals/ap_", "/grants/gr_"])
def test_another_agent_and_an_operator_start_no_grant(brief: httpx.Client, clock: Clock, path: str) -> None:
    name, auth = agent(brief)
    question = approved(brief, name, auth)
    assert brief.get(path + question, headers=agent(brief)[1]).status_code == 403
    assert brief.get(path + question, headers=BOSS).status_code == 200
    assert spent(brief, name, clock) == 0
