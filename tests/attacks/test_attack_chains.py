"""No chain of acts widens what somebody may: a search over every operation of the OpenAPI document, in each role.

Chains have up to four acts, an operator's every day up to two. After each, what decides who may do what is compared
with what was seen before, so that only chains that lead somewhere new are gone on with; there a limit, a quorum and a
list are tried. Three planted mutants show that the search finds a way where there is one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from climbing import API, PROBES, RULES, Stage, any_operator, anything, lets_through, staged, weaker
from guarding import Guarded, Serve, bearer, made_keys

from aegis_core.api import routes_operators, routes_policy
from aegis_core.api.app import create_app
from aegis_core.api.auth import Auth
from aegis_core.testing import private_settings

pytestmark = pytest.mark.leaves("anything")  # in tenants without number

NONE, HELD = "0" * 32, "lk_" + "0" * 32
UNTRIED = {("GET", "/events/stream"), ("GET", "/metrics")}
"""What only reads, without end or beside the API."""
PEOPLE = ("mallory", "bob", "root")
ROLES = ("viewer", "approver", "operator")

PLAN = {
    "agent_id": "bot", "name": "Look", "budget_usd": 5, "plan": [{"resource_type": "gas_budget", "upto_usd": 5}]
}  # fmt: skip
"""Which people would have to approve."""

Moves = dict[tuple[str, str], list[tuple[str, Any]]]
Act = tuple[str, str, int, int]
"""Method, path of the document, which of its calls, and with which secret."""


def wish(kind: str = "compute", cost: float = 0.01) -> dict[str, Any]:
    return {"agent_id": "bot", "task_intent": "Look", "resource_type": kind, "estimated_cost_usd": cost}


def looks() -> Moves:
    paths = {
        "/events/{event_id}": "/events/1-1", "/policy/versions/{version}": "/policy/versions/1",
        "/people/{person}": "/people/bob", "/grants/{grant_id}": f"/grants/gr_{NONE}",
        "/approvals/{approval_id}": f"/approvals/ap_{NONE}", "/budget/{agent_id}": "/budget/bot",
        "/kaizen/findings/{finding_id}": "/kaizen/findings/2026-11-30.retries",
        "/kaizen/experiments/{experiment_id}": "/kaizen/experiments/x-00000000",
        "/kaizen/proposals/{proposal_id}": "/kaizen/proposals/p-00000000",
        "/transactions/{grant_id}": f"/transactions/gr_{NONE}?agent_id=bot",
        "/workflows/{workflow_id}": f"/workflows/wf_{NONE}",
    }  # fmt: skip
    plain = (
        "/locks", "/agents", "/events", "/keys", "/policy", "/policy/versions", "/profiles", "/approvals", "/envelopes",
        "/workflows", "/operator-limits", "/activity", "/chains", "/kaizen/report", "/kaizen/experiments",
        "/kaizen/proposals", "/people",
        "/self", "/health", "/ready",
    )  # fmt: skip
    return {("GET", path): [(way, None)] for path, way in (paths | {each: each for each in plain}).items()}


def of_people(keys: list[str]) -> Moves:
    changes = ({"role": "owner"}, {"approve_up_to_usd": None}, {"groups": ["finance"]})
    accounts = ({"kind": "key"}, {"kind": "telegram", "telegram": 7})
    names = ("zed", "zoe", "bob", "mallory")
    return {
        ("POST", "/people"): [("/people", {"name": name, "role": "owner", "telegram": 7}) for name in ("zed", "zoe")],
        ("PATCH", "/people/{person}"): [(f"/people/{name}", change) for name in PEOPLE for change in changes],
        ("DELETE", "/people/{person}"): [(f"/people/{name}", None) for name in PEOPLE],
        ("POST", "/people/{person}/credentials"): [
            (f"/people/{name}/credentials", account) for name in PEOPLE for account in accounts
        ],
        ("DELETE", "/people/{person}/credentials/{credential}"): [
            (f"/people/{name}/credentials/key:{key}", None) for name in PEOPLE for key in keys
        ],
        ("POST", "/keys"): [
            ("/keys", {"role": role, "name": name})
            for role in ("agent", "approver", "operator", "owner")
            for name in names
        ],
        ("POST", "/keys/{key_id}/rotate"): [(f"/keys/{key}/rotate", None) for key in keys],
        ("DELETE", "/keys/{key_id}"): [(f"/keys/{key}", None) for key in keys],
        ("PUT", "/operator-limits/{operator}"): [
            (f"/operator-limits/{name}", {"approve_up_to_usd": None}) for name in (*PEOPLE, "operator")
        ],
    }


def of_rules(stage: Stage) -> Moves:
    grown = [*RULES, {"name": "more", "type": "max_cost", "limit_usd": 1}]
    ahead = [{"agent_id": "bot", "phrase": "Pay", "limit_usd": cost} for cost in (10, 10_000)]  # of every probe
    open_ = [each["approval_id"] for each in stage.as_owner("GET", "/approvals")["approvals"][:3]]
    return {
        ("PUT", "/policy"): [("/policy", {"schema": 1, "rules": rules}) for rules in (*weaker(), grown)],
        ("POST", "/policy/rollback"): [("/policy/rollback", {"version": version}) for version in (1, 2)],
        ("PUT", "/mode"): [("/mode", {"mode": mode}) for mode in ("observe", "enforce")],
        ("PUT", "/profiles"): [("/profiles", {"profiles": [{"match": "*", "settlement": "trusted"}]})],
        ("POST", "/envelopes"): [("/envelopes", each) for each in ahead],
        ("DELETE", "/envelopes/{envelope_id}"): [(f"/envelopes/ev_{NONE[:16]}", None)],
        ("POST", "/approvals/{approval_id}/decision"): [
            (f"/approvals/{each}/decision", {"decision": "approve", **more})
            for each in open_
            for more in ({}, {"edit": {"estimated_cost_usd": 6}})
        ],
        ("PUT", "/budgets/{scope}/{name}"): [
            (f"/budgets/tenant/{stage.server.settings.tenant}", {"window": "day", "limit_usd": 1_000_000}),
            ("/budgets/agent/bot", {"window": "day", "limit_usd": 1_000_000}),
        ],
        ("POST", "/budgets/{scope}/{name}/reset"): [("/budgets/agent/bot/reset", {"window": "day"})],
    }


def of_agents() -> Moves:
    found: Moves = {
        ("POST", "/handshake"): [("/handshake", {"agent_id": "mallory"})],
        ("POST", "/request-permission"): [("/request-permission", wish(*probe)) for probe in PROBES.values()],
        ("POST", "/journal"): [("/journal", {"agent_id": "bot", "act": "look", "key": "k"})],
        ("POST", "/release-lock"): [
            ("/release-lock", {"agent_id": "bot", "lock_token": HELD, "resource": "wallet"}),
        ],
        ("POST", "/locks/{resource}/acquire"): [("/locks/wallet/acquire", {"agent_id": "bot"})],
        ("POST", "/locks/{resource}/renew"): [("/locks/wallet/renew", {"agent_id": "bot", "lock_token": HELD})],
        ("POST", "/locks/{resource}/force-release"): [("/locks/wallet/force-release", {})],
        ("POST", "/transactions"): [
            (
                "/transactions",
                {"agent_id": "bot", "task_intent": "Pay", "chain": "monad", "wallet": "w", "transaction": ""},
            ),
        ],
        ("POST", "/transactions/quote"): [("/transactions/quote", {"chain": "monad", "transaction": "0x00"})],
        ("POST", "/transactions/{grant_id}/send"): [
            (f"/transactions/gr_{NONE}/send", {"agent_id": "bot", "grant_id": f"gr_{NONE}", "transaction": "0x00"}),
        ],
        ("POST", "/kaizen/experiments"): [
            ("/kaizen/experiments", {"task_type": "t", "present": "gpt-4o", "candidate": "gpt-4o-mini"}),
        ],
        ("POST", "/kaizen/proposals/{proposal_id}"): [("/kaizen/proposals/p-00000000", {"act": "approve"})],
        ("POST", "/kaizen/experiments/{experiment_id}"): [("/kaizen/experiments/x-00000000", {"act": "confirm"})],
        ("POST", "/kaizen/pairs"): [
            ("/kaizen/pairs", {"experiment_id": "x-00000000", "request_id": "r", "present": 0, "candidate": 1}),
        ],
        ("POST", "/workflows"): [("/workflows", PLAN)],
        ("POST", "/workflows/{workflow_id}/invite"): [(f"/workflows/wf_{NONE}/invite", {"agent_id": "bot"})],
        ("POST", "/workflows/{workflow_id}/join"): [
            (f"/workflows/wf_{NONE}/join", {"agent_id": "bot", "join_token": f"aegis_join_{NONE}_{'A' * 43}_t"})
        ],
        ("PATCH", "/workflows/{workflow_id}"): [(f"/workflows/wf_{NONE}", {"content": "c", "budget_usd": 1})],
        ("DELETE", "/workflows/{workflow_id}"): [(f"/workflows/wf_{NONE}", None)],
        ("POST", "/halt"): [("/halt", None)],
        ("POST", "/resume"): [("/resume", None)],
    }
    for act in ("forget", "block", "unblock"):
        found["POST", f"/agents/{{agent_id}}/{act}"] = [(f"/agents/bot/{act}", None)]
    for act, body in {"settle": {"cost_usd": 1}, "release": {}, "extend": {}, "refund": {"usd": 1}}.items():
        found["POST", f"/grants/{{grant_id}}/{act}"] = [(f"/grants/gr_{NONE}/{act}", body)]
    return found


def moves(stage: Stage) -> Moves:
    """For each operation, the calls of it that might widen something."""
    keys = [key["key_id"] for key in stage.as_owner("GET", "/keys")["keys"] if not key["revoked_at"]]
    return looks() | of_people(keys) | of_rules(stage) | of_agents()


def asks_somebody(stage: Stage) -> None:
    stage.server.ask(stage.server.enter("bot", key=stage.owner_key), **wish("gas_budget", 6))


def test_the_search_tries_every_operation(serve: Serve) -> None:
    stage = staged(serve(), "viewer")
    asks_somebody(stage)
    paths = create_app(private_settings()).openapi()["paths"]
    operations = {(method.upper(), path.removeprefix(API)) for path, methods in paths.items() for method in methods}
    tried = moves(stage)
    assert all(tried.values())
    assert tried.keys() | UNTRIED == operations


def image(stage: Stage) -> str:
    """What decides who may do what, and whose keys mallory holds."""
    people = stage.as_owner("GET", "/people?removed=true")["people"]
    keys = [key for key in stage.as_owner("GET", "/keys")["keys"] if not key["revoked_at"]]
    envelopes = stage.as_owner("GET", "/envelopes")["envelopes"]
    held = {key["name"] for key in keys for secret in stage.secrets if f"_{key['key_id']}_" in secret}
    parts = [
        sorted([one["name"], one["role"], one["groups"], one["approve_up_to_usd"]] for one in people),
        sorted({(key["role"], key["person"]) for key in keys if key["person"]}),
        sorted({(one["phrase"], one["limit_usd"], one["author"]) for one in envelopes}),
        stage.as_owner("GET", "/policy")["document"],
        stage.as_owner("GET", "/profiles"),
        sorted(held),
    ]
    return json.dumps(parts)


def holds_any(stage: Stage) -> bool:
    """Whether mallory can still do anything."""
    return any(stage.act("GET", "/self", None, secret).status_code == 200 for secret in stage.secrets)


class Search:
    """Tries chains of acts of one role, each on a tenant of its own. `only`: these operations."""

    def __init__(self, server: Guarded, role: str, only: set[tuple[str, str]] | None = None) -> None:
        self._server, self._role, self._only = server, role, only
        self.seen: set[str] = set()

    def way_up(self, most: int = 4) -> tuple[tuple[Act, ...], str] | None:
        """The first chain after which more is let through, and what; None when there is none."""
        chains: list[tuple[Act, ...]] = [()]
        for length in range(most + 1):
            longer: list[tuple[Act, ...]] = []
            for chain in chains:
                stage = self._replayed(chain)
                if (here := image(stage)) in self.seen:
                    continue
                self.seen.add(here)
                for probe in PROBES:
                    if lets_through(stage, probe):
                        return chain, probe
                if length < most and holds_any(stage):
                    longer += [(*chain, act) for act in self._leading_on(chain, here)]
            chains = longer
        return None

    def _leading_on(self, chain: tuple[Act, ...], here: str) -> Iterator[Act]:
        """The acts that change who may do what."""
        stage = self._replayed(chain)
        known, holds = moves(stage), len(stage.secrets)
        for (method, path), calls in list(known.items()):
            if self._only is not None and (method, path) not in self._only:
                continue
            for which, who in ((which, who) for which in range(len(calls)) for who in range(holds)):
                if not self._does(stage, (method, path, which, who), known):
                    continue
                if changed := method != "GET" and image(stage) != here:
                    yield (method, path, which, who)
                if changed or len(stage.secrets) > holds:
                    stage = self._replayed(chain)
                    known = moves(stage)

    def _replayed(self, chain: tuple[Act, ...]) -> Stage:
        there = self._server.settings.model_copy(update={"tenant": f"t-{uuid4().hex[:12]}"})
        made = made_keys(there, agents="agent", root="owner")
        server = Guarded(self._server.url, self._server.http, there, made["agents"].secret, made["root"].secret)
        stage = staged(server, self._role, bearer(server.operator_key))
        asks_somebody(stage)
        for act in chain:
            assert self._does(stage, act, moves(stage)), act
        for path in ("/resume", "/agents/bot/unblock"):  # which only narrow, and would hide the rest
            stage.as_owner("POST", path)
        return stage

    @staticmethod
    def _does(stage: Stage, act: Act, known: Moves) -> bool:
        """One act; whether it was carried out. A person's key that it answers is mallory's from now on."""
        method, path, which, who = act
        if which >= len(known[method, path]):
            return False
        way, body = known[method, path][which]
        answer = stage.act(method, way, body, stage.secrets[who])
        if answer.status_code != 200:
            return False
        made = answer.json()
        key = made["key"] if isinstance(made.get("key"), dict) else made
        if key.get("secret") and key.get("role") != "agent":
            stage.secrets.append(key["secret"])
            if key.get("person") == "root":  # who looks on needs a key, too
                stage.owner = bearer(key["secret"])
        return True


@pytest.mark.parametrize(
    ("role", "most"),
    [("viewer", 4), ("approver", 4), ("operator", 2), pytest.param("operator", 4, marks=pytest.mark.deep)],
)
def test_no_chain_of_acts_lets_anybody_widen_what_they_may(serve: Serve, role: str, most: int) -> None:
    search = Search(serve(), role)
    assert search.way_up(most) is None
    assert len(search.seen) >= {"viewer": 1, "approver": 2, "operator": 4}[role]


@pytest.mark.parametrize(
    ("place", "name", "instead", "only"),
    [
        (Auth, "owner", Auth.operator, {("POST", "/keys")}),
        (routes_operators, "_holder", any_operator, {("POST", "/keys/{key_id}/rotate")}),
        (routes_policy, "_as_strict", anything, {("PUT", "/policy")}),
    ],
    ids=["operators make persons", "operators take keys", "operators weaken rules"],
)
def test_the_search_finds_a_way_where_there_is_one(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, place: Any, name: str, instead: Any, only: set[tuple[str, str]]
) -> None:
    monkeypatch.setattr(place, name, instead)
    found = Search(serve(), "operator", only).way_up()
    assert found is not None
    assert 1 <= len(found[0]) <= 4
