"""What is set can be seen through every door, and every act says what it did."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from serving import OPERATOR, serving
from terminal import run_aegis

from aegis_core import Settings, connect_sync

Aegis = Callable[..., str]


@pytest.fixture
def aegis(here: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Aegis:
    """Runs a command that must succeed; answers what it says, on one line."""

    def run(*arguments: str, raw: bool = False) -> str:
        code, out, err = run_aegis(monkeypatch, capsys, *arguments)
        assert code == 0, out + err
        return out if raw else re.sub(r"\s+", " ", out)

    return run


@pytest.mark.leaves("grants", "questions", "leases")
def test_one_screen_says_how_a_tenant_stands(here: Settings, aegis: Aegis) -> None:
    with connect_sync(settings=here) as governor:
        first, second = governor.handshake("first"), governor.handshake("second")
        governor.set_budget("label", "team=red", "week", 4)
        first.request("Rent", resource_type="api_call", estimated_cost_usd=1)
        first.request("Buy", resource_type="api_call", estimated_cost_usd=7)
        with first.lock("till"):
            calm = aegis("status")
            assert "till (first)" in calm
        second.request("Rent", resource_type="api_call", estimated_cost_usd=1)
    for said in (
        f"tenant {here.tenant}, active", "mode enforce", "policy version 1 with", "keys none", "grants 1 open",
        "approvals 1 wait, the oldest for", "label team=red", "channels none served",
    ):  # fmt: skip
        assert said in calm, said
    assert len(aegis("status", raw=True).splitlines()) < 24, "it is one screen"

    assert aegis("block", "second").startswith("second is blocked")
    assert aegis("mode", "observe").startswith(f"Rules and budgets of tenant {here.tenant} only say")
    assert f"Every agent of {here.tenant} is refused" in aegis("halt")
    for said in ("halted: aegis resume", "observe: nothing is refused", "blocked second", "approvals 0 wait"):
        assert said in aegis("status"), said
    told = aegis("doctor")
    for said in ("the tenant is halted: every request is refused", "refuse nothing", "1 agents are blocked: second"):
        assert said in told, said
    found: dict[str, Any] = json.loads(aegis("status", "--json"))
    assert found["standing"] == {
        "status": "halted", "mode": "observe", "policy_version": 1, "keys": 0, "blocked_agents": 1,
    }  # fmt: skip

    with serving(here) as url, httpx.Client(trust_env=False, timeout=60) as http:
        ready = http.get(f"{url}/api/v1/ready?verbose=1").json()
        assert (ready["standing"], ready["keys_required"]) == (found["standing"], False)
        assert http.get(f"{url}/api/v1/ready").json()["standing"] is None
        figures = http.get(f"{url}/metrics").text
        for said in ("aegis_halted 1.0", "aegis_observing 1.0", "aegis_agents_blocked 1.0", "aegis_keys_in_force 0.0"):
            assert said in figures, said

        assert "goes on, from the next request. 1 agents stay blocked" in aegis("resume")
        assert aegis("unblock", "second").startswith("second may go on")
        assert aegis("mode", "enforce").startswith(f"Rules and budgets of tenant {here.tenant} decide")
        key = json.loads(aegis("keys", "create", "operator", "--name", "ada", "--json"))
        shown = {"Authorization": f"Bearer {OPERATOR}"}
        assert "aegis_keys_in_force 1.0" in http.get(f"{url}/metrics", headers=shown).text
        end = time.monotonic() + 60
        while not (ready := http.get(f"{url}/api/v1/ready?verbose=1", headers=shown).json())["keys_required"]:
            assert time.monotonic() < end, "within a second of the first key's being made they are asked for"
            time.sleep(0.05)
        assert ready["standing"] == found["standing"] | {
            "status": "active",
            "mode": "enforce",
            "keys": 1,
            "blocked_agents": 0,
        }
    assert "keys 1 in force" in aegis("status")
    assert aegis("keys", "revoke", key["key_id"]) == f"{key['key_id']} is revoked. "
    assert (
        "the day budget of agent first begins anew: $0.00 were spent".lower()
        in aegis("budget", "reset", "agent", "first").lower()
    )
