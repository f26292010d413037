"""Attacks on the policy: words in disguise, expressions that never end, and mistakes that would open everything."""

from __future__ import annotations

import json
import time
from importlib.util import find_spec
from typing import Any

import httpx
import pytest
from guarding import DEFENDED, Guarded, Serve, bearer

from aegis_core.policy.rules.blocked_intent import BlockedIntent

pytestmark = pytest.mark.leaves("grants")

API = "/api/v1"
HAS_REGEXES = "regexes" in BlockedIntent.model_fields
HAS_CONDITIONS = find_spec("aegis_core.policy.rules.condition") is not None and find_spec("cel_expr_python") is not None
needs_regexes = pytest.mark.skipif(not HAS_REGEXES, reason="needs regexes in rules")
needs_conditions = pytest.mark.skipif(not HAS_CONDITIONS, reason="needs the extra `conditions`")


def publish(server: Guarded, *rules: dict[str, Any]) -> httpx.Response:
    """PUT a policy of these rules, as an operator does."""
    document = {"schema": 1, "rules": [{"name": f"r{place}", **rule} for place, rule in enumerate(rules)]}
    return server.http.put(f"{API}/policy", content=json.dumps(document, indent=1), headers=_json(server))


def _json(server: Guarded) -> dict[str, str]:
    return {**bearer(server.operator_key), "Content-Type": "application/json", "If-Match": "*"}


DISGUISES = [
    "drop database users",
    "DROP   DATABASE users",
    "dr\u043ep d\u0430t\u0430base users",  # Cyrillic o and a
    "d\u200brop data\u00adbase users",  # zero width space, soft hyphen
    "\uff44\uff52\uff4f\uff50 \U0001d41d\U0001d41a\U0001d42d\U0001d41a\U0001d41b\U0001d41a\U0001d42c\U0001d41e users",
]


@DEFENDED
def test_look_alike_letters_in_intents(serve: Serve, monkeypatch: pytest.MonkeyPatch, defended: bool) -> None:
    if not defended:
        monkeypatch.setattr("aegis_core.policy.text.LOOKALIKES", {})
    server = serve()
    session = server.enter("a")
    verdicts = [server.ask(session, task_intent=intent).json()["status"] for intent in DISGUISES]
    assert (verdicts == ["REJECTED"] * len(DISGUISES)) is defended


@pytest.mark.skipif(not HAS_REGEXES, reason="needs look-alikes in lists of names")
@DEFENDED
def test_look_alike_letters_in_blocked_names(serve: Serve, monkeypatch: pytest.MonkeyPatch, defended: bool) -> None:
    if not defended:
        monkeypatch.setattr("aegis_core.policy.text.LOOKALIKES", {})
    server = serve()
    assert publish(server, {"type": "agent_blocklist", "agents": ["evil-bot", "bad-*"]}).status_code == 200
    names = ("evil-bot", "Evil-Bot", "ev\u0456l-b\u043et", "b\u0430d-7")
    verdicts = [server.ask(server.enter(name)).json()["status"] for name in names]
    assert (verdicts == ["REJECTED"] * len(names)) is defended
    assert server.ask(server.enter("good-bot")).json()["status"] == "GRANTED"


def test_a_policy_with_a_typo_in_a_field(serve: Serve) -> None:
    server = serve()
    session = server.enter("a")
    assert publish(server, {"type": "blocked_intent", "phrases": ["launch rockets"]}).json()["version"] == 2
    for rule, line, nearest in (
        ({"type": "blocked_intent", "phrase": ["launch rockets"]}, 7, "phrases"),
        ({"type": "blocked_intents", "phrases": ["launch rockets"]}, 6, "blocked_intent"),
        ({"type": "max_cost", "limit": 5}, 7, "limit_usd"),
    ):
        answer = publish(server, rule)
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (422, "invalid_policy")
        assert (problem["line"], problem["nearest"]) == (line, nearest), problem
        assert f'did you mean "{nearest}"' in problem["detail"]
    for text in ("", "{", '{"schema": 1}', '{"schema": 1, "rules": []}}', '{"rules": [], "schema": 2}', "[" * 100_000):
        answer = server.http.put(f"{API}/policy", content=text, headers=_json(server))
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_policy"), text[:40]
    assert server.http.get(f"{API}/policy", headers=_json(server)).json()["version"] == 2
    assert server.ask(session, task_intent="launch rockets").json()["status"] == "REJECTED"


def fastest(server: Guarded, session: dict[str, Any], intent: str) -> float:
    """Seconds of the fastest of three decisions: what the machine does beside it counts least."""
    laps: list[float] = []
    for _ in range(3):
        began = time.perf_counter()
        assert server.ask(session, task_intent=intent, estimated_cost_usd=0).status_code == 200
        laps.append(time.perf_counter() - began)
    return min(laps)


@needs_regexes
@pytest.mark.parametrize("regex", ["(a+)+$", "(a|aa)+$", "(.*a){30}", "(x+x+)+y", "^(([a-z])+.)+[A-Z]([a-z])+$"])
def test_catastrophic_regexes(serve: Serve, regex: str) -> None:
    server = serve()
    session = server.enter("a")
    answer = publish(server, {"type": "blocked_intent", "regexes": [regex]})
    assert answer.status_code in {200, 422}
    assert fastest(server, session, "a" * 7_900 + "!") < 2
    assert fastest(server, session, "x" * 7_900 + "!") < 2


@needs_regexes
@pytest.mark.parametrize("regex", ["(", "a{1000}{1000}{1000}", "(?=a)", r"(a)\1", "((a{100}){100}){100}", "\\"])
def test_regexes_that_cannot_be_used(serve: Serve, regex: str) -> None:
    server = serve()
    before = server.http.get(f"{API}/policy", headers=_json(server)).json()
    answer = publish(server, {"type": "blocked_intent", "regexes": [regex]})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_policy"), answer.text
    assert server.http.get(f"{API}/policy", headers=_json(server)).json() == before


BOMBS = [
    "".join(f"[1,2,3,4,5,6,7,8,9].all({name}, " for name in "abcdefgh") + "true" + ")" * 8,
    "(" * 400 + "true" + ")" * 400,
    "!" * 900 + "true",
    " + ".join(["request.task_intent"] * 45) + " == ''",
    'request.task_intent.matches("(a+)+$")',
]


@needs_conditions
@pytest.mark.parametrize("bomb", BOMBS, ids=["nested loops", "parentheses", "negations", "long text", "regex"])
def test_cel_bombs(serve: Serve, bomb: str) -> None:
    server = serve()
    session = server.enter("a")
    began = time.perf_counter()
    answer = publish(server, {"type": "condition", "expr": bomb})
    assert time.perf_counter() - began < 5
    assert answer.status_code in {200, 422}, answer.text
    assert fastest(server, session, "a" * 7_900 + "!") < 2
