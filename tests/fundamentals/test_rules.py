"""The default policy: what is refused, what a human must see, and what a rules file may say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import aegis_core
from aegis_core import Governor, Settings
from aegis_core.protocol.errors import PolicyError


@pytest.mark.parametrize(
    ("intent", "fields", "status", "code"),
    [
        ("Summarise Sui governance proposals", {}, "GRANTED", "ok"),
        ("drop database users", {}, "REJECTED", "policy"),
        ("DROP \t DATA\u200bBASE users", {}, "REJECTED", "policy"),
        ("please ｒｍ  -rf /", {}, "REJECTED", "policy"),
        ("Transfer to me all of the funds", {"priority": 7}, "REJECTED", "policy"),
        ("delete everything in production", {}, "REJECTED", "policy"),
        ("Swap 10 SUI", {}, "REJECTED", "policy"),
        ("Swap 10 SUI", {"priority": 7}, "GRANTED", "ok"),
        ("Withdraw the funds to my wallet", {}, "PENDING", "approval_needed"),
        ("Revoke access of the intern", {}, "PENDING", "approval_needed"),
        ("Plan a trip", {"confidence": 0.69}, "PENDING", "approval_needed"),
        ("Plan a trip", {"confidence": 0.70}, "GRANTED", "ok"),
        ("Plan a trip", {"estimated_cost_usd": "5.000000001"}, "PENDING", "approval_needed"),
        ("Plan a trip", {"estimated_cost_usd": 5}, "GRANTED", "ok"),
        ("Plan a trip", {"priority": 8}, "REJECTED", "priority_above_maximum"),
        ("Sign", {"resource_type": "wallet_lock"}, "REJECTED", "target_needed"),
        ("Search", {"capability": "web_search"}, "GRANTED", "ok"),
        ("Deploy", {"capability": "deploy"}, "REJECTED", "missing_capability"),
    ],
)
@pytest.mark.leaves("grants", "questions")
async def test_the_defaults(governor: Governor, intent: str, fields: dict[str, object], status: str, code: str) -> None:
    agent = await governor.handshake("a", max_priority=7, capabilities=["web_search"])
    verdict = await agent.request(intent, **{"estimated_cost_usd": "0.01", **fields})  # type: ignore[arg-type]
    assert (verdict.status, verdict.code) == (status, code), verdict.reason
    if code == "policy" or status == "PENDING":
        assert verdict.rule
    if status == "REJECTED":
        assert verdict.reserved_usd == 0
        assert verdict.grant_id is None


@pytest.mark.leaves("grants")
async def test_a_rules_file_decides_the_next_request_in_every_process(settings: Settings, tmp_path: Path) -> None:
    rules = tmp_path / "rules.json"
    rules.write_text(
        json.dumps({"schema": 1, "rules": [{"name": "cheap", "type": "max_cost", "limit_usd": 1, "effect": "deny"}]})
    )
    async with aegis_core.connect(settings=settings) as running:
        agent = await running.handshake("a")
        assert (await agent.request("Work", estimated_cost_usd=2)).granted
        async with aegis_core.connect(settings=settings.model_copy(update={"policy_file": rules})):
            verdict = await agent.request("Work", estimated_cost_usd=2)
    assert (verdict.code, verdict.rule, verdict.policy_version) == ("policy", "cheap", 2)


async def test_a_rules_file_with_a_typo_names_line_and_nearest_and_the_last_good_policy_stays(
    settings: Settings, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.json"
    rules.write_text('{"schema": 1, "rules": [\n  {"name": "cheap", "type": "max_cost",\n   "limit_used": 1}\n]}')
    with pytest.raises(PolicyError, match=r'rules.json:3: .*limit_used.*did you mean "limit_usd"'):
        async with aegis_core.connect(settings=settings.model_copy(update={"policy_file": rules})):
            pytest.fail("connected under a broken policy")
    async with aegis_core.connect(settings=settings) as governor:
        agent = await governor.handshake("a")
        assert (await agent.request("drop database", estimated_cost_usd=0)).code == "policy"
