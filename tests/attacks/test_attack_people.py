"""Attacks of persons on their own limits: being two, lifting a limit, weakening a rule, taking another's key."""

from __future__ import annotations

import pytest
from climbing import API, PROBES, RULES, any_operator, anything, lets_through, staged, weaker
from guarding import DEFENDED, Serve, Weaken, bearer

from aegis_core.api import routes_operators, routes_policy
from aegis_core.api.auth import Auth

pytestmark = pytest.mark.leaves("grants", "questions")


@DEFENDED
def test_a_second_self(serve: Serve, monkeypatch: pytest.MonkeyPatch, defended: bool) -> None:
    """Two keys under other names, of one who may only make them for agents."""
    if not defended:
        monkeypatch.setattr(Auth, "owner", Auth.operator)
    stage = staged(serve(), "operator")
    for name in ("zed", "zoe"):
        made = stage.act("POST", "/keys", {"role": "operator", "name": name}, stage.secrets[0])
        assert made.status_code == (403 if defended else 200)
        stage.secrets += [] if defended else [made.json()["secret"]]
    assert stage.act("POST", "/keys", {"role": "agent"}, stage.secrets[0]).status_code == 200
    assert [lets_through(stage, probe) for probe in ("limit", "quorum")] == [not defended] * 2


@DEFENDED
def test_a_quorum_of_ones_own_credentials(serve: Serve, weaken: Weaken, defended: bool) -> None:
    if not defended:
        weaken(
            "local who, P = person_of(operator)\nlocal votes",
            "local who, P = credential or operator, false\nlocal votes",
            "if person_of(votes[i][O_OPERATOR]) == who then",
            "if votes[i][O_OPERATOR] == who then",
            "if not seen[name] and ",
            "if ",
        )
    stage = staged(serve(), "approver")
    second = stage.as_owner("POST", "/people/mallory/credentials", {"kind": "key"})
    stage.secrets.append(second["key"]["secret"])
    assert lets_through(stage, "quorum") is not defended


@DEFENDED
def test_the_key_of_another_by_rotating_it(serve: Serve, monkeypatch: pytest.MonkeyPatch, defended: bool) -> None:
    if not defended:
        monkeypatch.setattr(routes_operators, "_holder", any_operator)
    stage = staged(serve(), "operator")
    theirs = next(key for key in stage.as_owner("GET", "/keys")["keys"] if key["name"] == "bob")
    for method, path in (("POST", f"/keys/{theirs['key_id']}/rotate"), ("DELETE", f"/keys/{theirs['key_id']}")):
        answer = stage.act(method, path, None, stage.secrets[0])
        assert answer.status_code == (403 if defended else 200)
        stage.secrets += [answer.json()["secret"]] if "secret" in answer.json() else []
    assert lets_through(stage, "list") is False or not defended
    mine = next(key for key in stage.as_owner("GET", "/keys")["keys"] if key["name"] == "mallory")
    rotated = stage.act("POST", f"/keys/{mine['key_id']}/rotate", None, stage.secrets[0])
    assert (rotated.json()["role"], rotated.json()["person"]) == ("operator", "mallory")


@DEFENDED
def test_a_rule_that_asks_fewer(serve: Serve, monkeypatch: pytest.MonkeyPatch, defended: bool) -> None:
    if not defended:
        monkeypatch.setattr(routes_policy, "_as_strict", anything)
    stage = staged(serve(), "operator")
    codes = [stage.act("PUT", "/policy", {"schema": 1, "rules": rules}, stage.secrets[0]) for rules in weaker()]
    assert {answer.status_code for answer in codes} == ({403} if defended else {200})
    assert not defended or {answer.json()["code"] for answer in codes} == {"weakens_approvals"}
    stricter = [*RULES, {"name": "more", "type": "max_cost", "limit_usd": 1}]
    assert stage.act("PUT", "/policy", {"schema": 1, "rules": stricter}, stage.secrets[0]).status_code == 200
    assert stage.act("POST", "/policy/rollback", {"version": 1}, stage.secrets[0]).status_code == (
        403 if defended else 200
    )
    assert any(lets_through(stage, probe) for probe in PROBES) is not defended


@DEFENDED
def test_a_rule_that_is_forgotten_in_two_steps(serve: Serve, monkeypatch: pytest.MonkeyPatch, defended: bool) -> None:
    """By an operator who may approve anything: first the rule denies, then nobody says any more who must approve."""
    if not defended:
        monkeypatch.setattr(routes_policy, "_as_strict", anything)
    server = serve()
    owned, ada = staged(server, "operator"), server.operator_key
    denies = [{"name": rule["name"], "type": "max_cost", "limit_usd": 5, "effect": "deny"} for rule in RULES]
    denies = [{**deny, "resource_types": rule.get("resource_types")} for deny, rule in zip(denies, RULES, strict=True)]
    steps = [owned.act("PUT", "/policy", {"schema": 1, "rules": rules}, ada) for rules in (denies, [])]
    assert [answer.status_code for answer in steps] == ([403, 403] if defended else [200, 200])
    beside = [*RULES, {**denies[1], "name": "none"}]
    allowed = owned.act("PUT", "/policy", {"schema": 1, "rules": beside}, ada)
    assert allowed.status_code == 200
    owned.secrets = [ada]
    assert lets_through(owned, "quorum") is False


@DEFENDED
def test_silence_that_approves_sooner(serve: Serve, monkeypatch: pytest.MonkeyPatch, defended: bool) -> None:
    if not defended:
        monkeypatch.setattr(routes_policy, "_as_strict", anything)
    server = serve()
    owned = staged(server, "operator")
    terms = {"quorum": 2, "on_timeout": "approve", "timeout_seconds": 3_600}
    slow = {"name": "slow", "type": "max_cost", "limit_usd": 5, "asking": terms}
    owned.as_owner("PUT", "/policy", {"schema": 1, "rules": [slow]})
    wanted = (
        {**terms, "timeout_seconds": 7_200},
        {**terms, "timeout_seconds": 0.05},
        {"quorum": 2, "on_timeout": "approve"},
        {"quorum": 2, "timeout_seconds": 0.05},
    )
    policies = [{"schema": 1, "rules": [{**slow, "asking": asking}]} for asking in wanted]
    codes = [owned.act("PUT", "/policy", each, server.operator_key).status_code for each in policies]
    assert codes == ([200, 403, 403, 200] if defended else [200] * 4)


@DEFENDED
def test_words_of_somebody_who_was_removed_and_whose_name_comes_back(
    serve: Serve, weaken: Weaken, defended: bool
) -> None:
    """A vote and an envelope of the first bob, under a name that is another one's now."""
    if not defended:
        weaken("P and at < P[PERSON_MADE]", "false")
    stage = staged(serve(), "operator")
    session = stage.server.enter("bot", key=stage.owner_key)
    secret = stage.as_owner("POST", "/people/bob/credentials", {"kind": "key"})["key"]["secret"]
    wish = {"resource_type": "gas_budget", "estimated_cost_usd": 6, "task_intent": "Pay"}
    path = f"/approvals/{stage.server.ask(session, **wish).json()['escalation_id']}/decision"
    assert stage.act("POST", path, {"decision": "approve"}, secret).json()["missing"] == 1
    ahead = {"agent_id": "bot", "resource_type": "compute", "limit_usd": 100}
    assert stage.act("POST", "/envelopes", ahead, secret).status_code == 200
    stage.as_owner("DELETE", "/people/bob")
    stage.as_owner("POST", "/people", {"name": "bob", "role": "approver"})
    verdict = stage.server.ask(session, **{**wish, "resource_type": "compute"}).json()
    assert verdict["status"] == ("PENDING" if defended else "GRANTED")
    voted = stage.act("POST", path, {"decision": "approve"}, stage.secrets[0]).json()
    assert voted["status"] == ("open" if defended else "approved")
    if defended:
        secret = stage.as_owner("POST", "/people/bob/credentials", {"kind": "key"})["key"]["secret"]
        assert stage.act("POST", path, {"decision": "approve"}, secret).json()["status"] == "approved"


def test_the_sessions_of_somebody_who_was_removed(serve: Serve) -> None:
    server = serve()
    stage = staged(server, "operator")
    session = server.enter("mine", key=stage.secrets[0])
    with server.http.stream("GET", f"{API}/events/stream", headers=bearer(stage.secrets[0])) as stream:
        lines = stream.iter_lines()
        assert next(lines) == "retry: 1000"
        assert server.ask(session).json()["status"] == "GRANTED"
        stage.as_owner("DELETE", "/people/mallory")
        assert any("event: error" in line for line in lines)
    assert server.ask(session).status_code == 401
    assert server.http.get(f"{API}/budget/mine", headers=bearer(session["session_token"])).status_code == 401
    assert server.http.get(f"{API}/agents", headers=bearer(stage.secrets[0])).status_code == 401
