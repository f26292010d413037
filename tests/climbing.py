"""Somebody with a limit who tries to get more than that, and what shows whether it worked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx
from guarding import AS_OPERATOR, Guarded, bearer

from aegis_core.api import routes_operators
from aegis_core.policy.engine import Policy

API = "/api/v1"
RULES = [
    {"name": "dear", "type": "max_cost", "limit_usd": 5},
    {"name": "two", "type": "max_cost", "limit_usd": 5, "resource_types": ["gas_budget"], "asking": {"quorum": 2}},
    {
        "name": "listed", "type": "max_cost", "limit_usd": 5, "resource_types": ["api_call"],
        "asking": {"approvers": ["bob"]},
    },
]  # fmt: skip
"""`dear` meets a limit, `two` a quorum, `listed` a list."""
PROBES = {"limit": ("compute", 500), "quorum": ("gas_budget", 6), "list": ("api_call", 6)}
ROLES = ("viewer", "approver", "operator")


@dataclass
class Stage:
    """A tenant in which mallory, who has a limit of $10, tries to get more. `secrets`: what mallory holds."""

    server: Guarded
    owner: dict[str, str] = field(default_factory=lambda: dict(AS_OPERATOR))
    secrets: list[str] = field(default_factory=list[str])

    @property
    def owner_key(self) -> str:
        """What the owner shows."""
        return self.owner["Authorization"].removeprefix("Bearer ")

    def as_owner(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.server.http.request(method, API + path, json=body, headers={**self.owner, "If-Match": "*"})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def act(self, method: str, path: str, body: Any, secret: str) -> httpx.Response:
        return self.server.http.request(method, API + path, json=body, headers=bearer(secret) | {"If-Match": "*"})


def staged(server: Guarded, role: str, owner: dict[str, str] | None = None) -> Stage:
    """Mallory with a role and a limit of $10, and bob, who may approve anything."""
    stage = Stage(server, owner or dict(AS_OPERATOR))
    stage.as_owner("POST", "/people", {"name": "bob", "role": "approver"})
    stage.as_owner("POST", "/people", {"name": "mallory", "role": role, "approve_up_to_usd": 10})
    bobs = stage.as_owner("POST", "/people/bob/credentials", {"kind": "key"})
    mine = stage.as_owner("POST", "/people/mallory/credentials", {"kind": "key"})
    stage.secrets.append(mine["key"]["secret"])
    stage.as_owner("PUT", "/policy", {"schema": 1, "rules": RULES})
    stage.as_owner("PUT", f"/budgets/tenant/{server.settings.tenant}", {"window": "day", "limit_usd": 1_000_000})
    server.enter("bot")
    stage.as_owner("PUT", "/budgets/agent/bot", {"window": "day", "limit_usd": 1_000_000})
    assert bobs["key"]["role"] == "approver"
    return stage


def lets_through(stage: Stage, probe: str) -> bool:
    """Whether mallory alone gets what the probe asks, with all that mallory holds."""
    kind, cost = PROBES[probe]
    session = stage.server.enter("bot", key=stage.owner_key)
    wish = {"resource_type": kind, "estimated_cost_usd": cost, "task_intent": f"Pay {uuid4().hex}"}
    verdict = stage.server.ask(session, **wish).json()
    for secret in stage.secrets:
        if verdict["status"] == "PENDING":
            stage.act("POST", f"/approvals/{verdict['escalation_id']}/decision", {"decision": "approve"}, secret)
            look = stage.as_owner("GET", f"/approvals/{verdict['escalation_id']}")
            if look["status"] == "approved":
                return True
    return verdict["status"] == "GRANTED"


async def any_operator(request: Any, key_id: str) -> Any:
    return await routes_operators.auth_of(request).operator(request)


def anything(present: Policy, found: Policy, *, every: bool) -> None:
    """Compares nothing."""


def weaker() -> list[list[dict[str, Any]]]:
    """Policies that ask less than `RULES`, each in another way."""
    dear, two, listed = RULES
    return [
        [],
        [dear, listed],
        [dear, {**two, "asking": {"quorum": 1}}, listed],
        [dear, {**two, "enabled": False}, listed],
        [dear, {**two, "mode": "observe"}, listed],
        [dear, {**two, "limit_usd": 1_000}, listed],
        [dear, {**two, "resource_types": ["compute"]}, listed],
        [dear, {**two, "asking": {"quorum": 2, "on_timeout": "approve", "timeout_seconds": 0.05}}, listed],
        [dear, two, {**listed, "asking": {"approvers": ["bob", "mallory"]}}],
        [dear, two, {**listed, "asking": {}}],
        [two, listed],
        [{**dear, "limit_usd": 10_000}, two, listed],
    ]
