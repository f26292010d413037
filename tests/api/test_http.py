"""HTTP as callers see it: every answer, and every bad input with the words that name it."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest
from serving import OPERATOR, serving, trusting

from aegis_core import Settings

AS_OPERATOR = {"Authorization": f"Bearer {OPERATOR}"}
JSON = {"Content-Type": "application/json"}
Problem = dict[str, Any]


class Agent:
    """An agent that speaks plain HTTP."""

    def __init__(self, http: httpx.Client, name: str | None = None, **fields: Any) -> None:
        self.http, self.name = http, name or f"agent-{uuid4().hex[:8]}"
        answer = http.post("/handshake", json={"agent_id": self.name, **fields})
        assert answer.status_code == 200, answer.text
        self.session = answer.json()
        self.auth = {"Authorization": f"Bearer {self.session['session_token']}"}

    def body(self, **fields: Any) -> dict[str, Any]:
        """A request, with changes."""
        plain = {
            "agent_id": self.name,
            "task_intent": "Summarise",
            "resource_type": "llm_tokens",
            "estimated_cost_usd": 0.25,
        }
        return {**plain, **fields}

    def ask(self, **fields: Any) -> httpx.Response:
        """Request permission."""
        return self.http.post("/request-permission", json=self.body(**fields), headers=self.auth)

    def grant(self, **fields: Any) -> str:
        """The id of a fresh grant."""
        answer = self.ask(**fields)
        assert answer.json()["status"] == "GRANTED", answer.text
        return answer.json()["grant_id"]

    def settle(self, grant: str, **fields: Any) -> httpx.Response:
        """Settle with this agent's token."""
        return self.http.post(f"/grants/{grant}/settle", json=fields, headers=self.auth)

    def left(self) -> float:
        """What is left of the day."""
        return self.http.get(f"/budget/{self.name}").json()["remaining_budget_usd"]


@pytest.fixture
def agent(http: httpx.Client) -> Agent:
    return Agent(http, max_priority=9)


def refused(answer: httpx.Response, status: int, code: str, detail: str) -> Problem:
    """Check a problem document: its status, type and words."""
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (answer.status_code, problem["status"], problem["code"]) == (status, status, code), problem
    assert detail in problem["detail"]
    assert problem["type"] == f"urn:aegis:problem:{code}"
    assert problem["title"]
    return problem


class TestAnswers:
    def test_a_verdict_is_a_200_with_money_as_numbers(self, agent: Agent) -> None:
        answer = agent.ask(estimated_cost_usd=0.035, logic_density=3)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        verdict = answer.json()
        assert (verdict["status"], verdict["remaining_budget_usd"], verdict["reserved_usd"]) == (
            "GRANTED",
            9.965,
            0.035,
        )
        assert verdict["granted_at"].endswith("Z")
        assert verdict["recommended_model"]

    def test_money_may_be_text_too(self, agent: Agent) -> None:
        assert agent.ask(estimated_cost_usd="0.035").json()["remaining_budget_usd"] == 9.965

    def test_a_refusal_is_a_200_too(self, agent: Agent) -> None:
        answer = agent.ask(task_intent="drop database users")
        assert (answer.status_code, answer.json()["status"], answer.json()["code"]) == (200, "REJECTED", "policy")

    def test_a_priority_above_the_registered_maximum_is_refused(self, http: httpx.Client) -> None:
        answer = Agent(http, max_priority=7).ask(priority=8)
        assert (answer.status_code, answer.json()["code"]) == (200, "priority_above_maximum")

    def test_a_pending_one_can_be_waited_for(self, agent: Agent, http: httpx.Client) -> None:
        began = time.monotonic()
        pending = agent.ask(estimated_cost_usd=6).json()
        assert (pending["status"], pending["waiting_for"]) == ("PENDING", "human")
        decided = http.get(f"/grants/{pending['escalation_id']}", params={"wait": 25}, headers=agent.auth).json()
        assert (decided["status"], decided["code"]) == ("REJECTED", "approval_timed_out")
        assert 0.9 < time.monotonic() - began < 20
        answer = http.post("/request-permission?wait=25", json=agent.body(estimated_cost_usd=6), headers=agent.auth)
        assert answer.json()["code"] == "approval_timed_out"

    def test_a_grant_is_settled_released_and_extended(self, agent: Agent, http: httpx.Client) -> None:
        settled = agent.settle(agent.grant(), cost_usd=0.031).json()
        assert (settled["state"], settled["charged_usd"], settled["returned_usd"]) == ("settled", 0.031, 0.219)
        grant = agent.grant()
        extended = http.post(f"/grants/{grant}/extend", json={"seconds": 1_800}, headers=agent.auth).json()
        released = http.post(f"/grants/{grant}/release", json={}, headers=agent.auth).json()
        assert (extended["state"], released["state"], released["charged_usd"]) == ("live", "released", 0)
        assert agent.left() == 9.969

    def test_usage_is_priced(self, agent: Agent) -> None:
        usage = {"model": "gpt-4o", "input_tokens": 400, "output_tokens": 50}
        assert agent.settle(agent.grant(), usage=usage).json()["charged_usd"] == 0.0015

    def test_an_operator_sets_a_limit_while_agents_run(self, agent: Agent, http: httpx.Client) -> None:
        change = {"window": "day", "limit_usd": "0.30"}
        answer = http.put(f"/budgets/agent/{agent.name}", json=change, headers=AS_OPERATOR)
        assert (answer.status_code, answer.json()["limit_usd"]) == (200, 0.3)
        agent.grant()
        assert agent.ask().json()["code"] == "budget_exceeded"

    def test_agents_with_slashes_have_budgets(self, http: httpx.Client) -> None:
        agent = Agent(http, f"team/{uuid4().hex[:6]}/a")
        assert http.get(f"/budget/{agent.name}").json()["agent_id"] == agent.name
        assert http.get(f"/budget/{agent.name.replace('/', '%2F')}").json()["agent_id"] == agent.name

    def test_agents_and_events_come_in_pages(self, http: httpx.Client) -> None:
        names = sorted(Agent(http).name for _ in range(3))
        page = http.get("/agents", params={"limit": 2}).json()
        assert len(page["agents"]) == 2
        assert page["next"] == page["agents"][-1]["agent_id"]
        rest = http.get("/agents", params={"after": names[0], "limit": 500}).json()
        assert names[1] in {agent["agent_id"] for agent in rest["agents"]}
        assert rest["next"] is None
        first = http.get("/events", params={"limit": 1}).json()
        assert first["events"][0]["kind"] == "tenant_opened"
        second = http.get("/events", params={"after": first["next"], "limit": 1}).json()
        assert second["events"][0]["id"] > first["events"][0]["id"]
        newest = http.get("/events", params={"latest": 1}).json()
        assert http.get("/events", params={"after": newest["next"]}).json() == {
            "events": [], "next": newest["next"], "more": False, "trimmed": False,
        }  # fmt: skip

    def test_events_can_be_waited_for(self, http: httpx.Client) -> None:
        now = http.get("/events", params={"after": "$"}).json()["next"]
        began = time.monotonic()
        empty = http.get("/events", params={"after": now, "wait": 0.3}).json()
        assert (empty["events"], empty["next"]) == ([], now)
        assert time.monotonic() - began >= 0.3
        Agent(http)
        assert http.get("/events", params={"after": now, "wait": 30}).json()["events"][0]["kind"] == "handshake"

    def test_the_server_says_that_it_is_alive_and_ready(self, http: httpx.Client, served: Settings) -> None:
        assert http.get("/health").json() == {"status": "ok"}
        ready = http.get("/ready").json()
        assert (ready["status"], ready["tenant"]) == ("ready", served.tenant)

    def test_documents_are_served(self, base: str) -> None:
        assert "swagger" in httpx.get(f"{base}/docs", trust_env=False, timeout=30).text.lower()
        document = httpx.get(f"{base}/openapi.json", trust_env=False, timeout=30).json()
        examples = document["paths"]["/api/v1/request-permission"]["post"]["requestBody"]["content"]["application/json"]
        assert examples["examples"]["typical"]["value"]["task_intent"] == "Summarise Sui governance proposals"
        sizes = document["components"]["schemas"]["PermissionRequest"]["properties"]
        assert sizes["prompt_tokens"]["anyOf"][0] == {"type": "integer", "minimum": 0, "maximum": 500_000_000}
        assert document["components"]["schemas"]["Verdict"]["properties"]["remaining_budget_usd"]["type"] == "number"

    def test_a_request_id_is_accepted_and_emitted(self, http: httpx.Client) -> None:
        assert http.get("/health", headers={"X-Request-Id": "run/7"}).headers["x-request-id"] == "run/7"
        for forged in ("", "two words", "x" * 129):
            given = http.get("/health", headers={"X-Request-Id": forged}).headers["x-request-id"]
            assert given != forged
            assert len(given) == 24


INVALID = [
    ({"prompt_bytes": 10, "prompt_tokens": 5}, "prompt_tokens: give prompt_bytes or prompt_tokens, not both"),
    ({"estimated_cost_usd": -1}, "estimated_cost_usd: is negative"),
    ({"estimated_cost_usd": "-0.1"}, "estimated_cost_usd: is negative"),
    ({"estimated_cost_usd": float("nan")}, "estimated_cost_usd: is not finite"),
    ({"estimated_cost_usd": float("inf")}, "estimated_cost_usd: is not finite"),
    ({"estimated_cost_usd": "NaN"}, "estimated_cost_usd: is not finite"),
    ({"estimated_cost_usd": 1e300}, "estimated_cost_usd: is beyond the largest amount, 8000000 USD"),
    ({"estimated_cost_usd": 8_000_001}, "estimated_cost_usd: is beyond the largest amount, 8000000 USD"),
    ({"estimated_cost_usd": "1e-10"}, "estimated_cost_usd: is finer than a nano-dollar"),
    ({"estimated_cost_usd": 1e-300}, "estimated_cost_usd: is finer than a nano-dollar"),
    ({"estimated_cost_usd": "ten"}, "estimated_cost_usd: is not an amount of dollars"),
    ({"estimated_cost_usd": True}, "estimated_cost_usd: is not an amount of dollars"),
    ({"priority": 0}, "priority: must be greater than or equal to 1"),
    ({"priority": 11}, "priority: must be less than or equal to 10"),
    ({"priority": "5"}, "priority: input should be a valid integer"),
    ({"priority": True}, "priority: input should be a valid integer"),
    ({"confidence": float("nan")}, "confidence: "),
    ({"logic_density": 5.5}, "logic_density: input should be a valid integer"),
    ({"resource_type": "gold"}, "resource_type: must be one of 'llm_tokens', 'gas_budget', 'api_call'"),
    ({"resource_type": None}, "resource_type: must be one of"),
    ({"task_intent": " "}, "task_intent: is empty"),
    ({"task_intent": "x" * 8_001}, "task_intent: "),
    ({"agent_id": "a b"}, "agent_id: must be 1 to 128 letters, digits"),
    ({"agent_id": "a\x00"}, "agent_id: must be 1 to 128 letters, digits"),
    ({"priorty": 5}, "priorty: is not a field of this message"),
    ({"metadata": {"a": "x" * 5_000}}, "metadata: holds more than 4,096 characters"),
    ({"metadata": {"a": {"b": 1}}}, "metadata.a"),
    ({"requirements": {"ceiling_usd": -1}}, "requirements.ceiling_usd: is negative"),
]


class TestBadBodies:
    @pytest.mark.parametrize(("change", "detail"), INVALID, ids=[detail.split(":")[0] for _, detail in INVALID])
    def test_a_bad_field_is_named_and_nothing_is_lost(self, agent: Agent, change: dict[str, Any], detail: str) -> None:
        content = json.dumps(agent.body(**change))  # httpx refuses to write NaN; a careless client does not
        answer = agent.http.post("/request-permission", content=content, headers={**agent.auth, **JSON})
        problem = refused(answer, 422, "invalid_request", detail)
        assert problem["field"] == problem["errors"][0]["field"]
        assert problem["detail"].startswith(problem["field"])
        assert agent.left() == 10

    @pytest.mark.parametrize("missing", ["agent_id", "task_intent", "resource_type"])
    def test_a_missing_field_is_named(self, agent: Agent, missing: str) -> None:
        body = agent.body()
        del body[missing]
        refused(agent.http.post("/request-permission", json=body), 422, "invalid_request", f"{missing}: is required")

    def test_every_bad_field_is_listed(self, agent: Agent) -> None:
        problem = refused(
            agent.ask(priority=0, resource_type="gold"), 422, "invalid_request", "resource_type: must be one of"
        )
        assert [error["field"] for error in problem["errors"]] == ["resource_type", "priority"]

    def test_a_flood_of_bad_fields_gets_a_short_answer(self, agent: Agent) -> None:
        assert len(agent.ask(**{f"f{number}": 1 for number in range(90)}).json()["errors"]) == 20
        many = agent.ask(**{f"f{number}": 1 for number in range(3_000)}).json()
        assert many["detail"] == "there are 3,000 faults in the message"
        assert agent.ask(**{f"f{number}": 1 for number in range(5_000)}).json()["code"] == "too_large"

    @pytest.mark.parametrize("content", [b"", b"{", b"{'a': 1}", b"\xff\xfe", b'{"a": "\\ud800"}', b"[" * 100_000])
    def test_what_is_not_json_is_told_so(self, http: httpx.Client, content: bytes) -> None:
        refused(http.post("/handshake", content=content, headers=JSON), 400, "malformed_json", "The body is not JSON: ")

    @pytest.mark.parametrize("content", [b"[]", b"1", b'"a"', b"null"])
    def test_json_that_is_no_message_is_told_so(self, http: httpx.Client, content: bytes) -> None:
        refused(
            http.post("/handshake", content=content, headers=JSON), 422, "invalid_request", "nput should be an object"
        )

    @pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""])
    def test_what_is_not_declared_as_json_is_refused(self, http: httpx.Client, kind: str) -> None:
        answer = http.post("/handshake", content=b'{"agent_id": "a"}', headers={"Content-Type": kind})
        refused(answer, 415, "not_json", "Content-Type: application/json")

    def test_json_with_a_charset_is_json(self, http: httpx.Client) -> None:
        kind = {"Content-Type": "application/json; charset=utf-8"}
        assert http.post("/handshake", content=b'{"agent_id": "a"}', headers=kind).status_code == 200

    @pytest.mark.parametrize("query", ["limit=1&limit=500", "limit=1&l%69mit=500", "limit=1&&limit=500"])
    def test_a_parameter_is_given_once(self, http: httpx.Client, query: str) -> None:
        problem = refused(http.get(f"/events?{query}"), 422, "invalid_request", "more than once")
        assert problem["field"] in {"limit", ""}

    @pytest.mark.parametrize("size", [2 * 1024 * 1024, 11 * 1024 * 1024])
    def test_a_body_that_is_too_large_is_refused(self, agent: Agent, size: int) -> None:
        problem = refused(agent.ask(task_intent="x" * size), 413, "too_large", "The body is larger than 256 KB")
        assert problem["limit_bytes"] == 262_144
        assert agent.left() == 10

    def test_a_large_body_in_chunks_is_refused(self, http: httpx.Client) -> None:
        chunks = (b"x" * 65_536 for _ in range(16))
        refused(http.post("/handshake", content=chunks, headers=JSON), 413, "too_large", "larger than 256 KB")

    @pytest.mark.parametrize("length", ["5", "99999999999999999999", "-1", "many"])
    def test_a_length_that_lies_harms_nobody(self, base: str, http: httpx.Client, length: str) -> None:
        address = urlsplit(base)
        with socket.create_connection((address.hostname or "", address.port or 0), timeout=30) as raw:
            raw.sendall(
                f"POST /api/v1/handshake HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                f'Content-Length: {length}\r\n\r\n{{"agent_id": "a"}}'.encode()
            )
            status = int(raw.recv(4_096).split(b" ", 2)[1])
        assert status in {400, 413}
        assert http.get("/health").status_code == 200

    def test_a_caller_that_hangs_up_harms_nobody(self, base: str, http: httpx.Client) -> None:
        address = urlsplit(base)
        with socket.create_connection((address.hostname or "", address.port or 0)) as raw:
            raw.sendall(
                b"POST /api/v1/handshake HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b'Content-Length: 500\r\n\r\n{"agent_id"'
            )
        assert http.get("/health").status_code == 200

    @pytest.mark.parametrize(
        ("path", "detail"),
        [
            ("/events?limit=0", "limit: must be greater than or equal to 1"),
            ("/events?limit=many", "limit: input should be a valid integer"),
            ("/events?after=yesterday", "after: string should match pattern"),
            ("/events?after=99999999999999999999", "after: string should match pattern"),
            ("/events?wait=61", "wait: must be less than or equal to 60"),
            ("/events?wait=nan", "wait: "),
            ("/agents?after=a%20b", "after: must be 1 to 128 letters"),
            ("/budget/a%20b", "agent_id: must be 1 to 128 letters"),
            ("/budget/", "agent_id: must be 1 to 128 letters"),
        ],
    )
    def test_a_bad_parameter_is_named(self, http: httpx.Client, path: str, detail: str) -> None:
        refused(http.get(path), 422, "invalid_request", detail)

    def test_the_wait_of_a_request_is_judged_too(self, agent: Agent) -> None:
        answer = agent.http.post("/request-permission?wait=600", json=agent.body())
        refused(answer, 422, "invalid_request", "wait: must be less than or equal to 60")

    @pytest.mark.parametrize(
        ("path", "change", "detail"),
        [
            ("planet/earth", {}, "scope: must be one of"),
            ("label/research", {}, "must be key=value, such as team=research"),
            ("resource/gold", {}, "name: must be one of llm_tokens"),
            ("agent/a", {"window": "fortnight"}, "window: must be hour, day, week, month, total"),
            ("agent/a", {"limit_usd": -1}, "limit_usd: is negative"),
            ("agent/a", {"limit_usd": None}, "limit_usd: is not an amount of dollars"),
            ("agent/a", {"limitusd": 5}, "limitusd: is not a field of this message"),
        ],
    )
    def test_a_budget_typo_is_never_no_cap(
        self, http: httpx.Client, path: str, change: dict[str, Any], detail: str
    ) -> None:
        body = {"window": "day", "limit_usd": 5, **change}
        refused(http.put(f"/budgets/{path}", json=body, headers=AS_OPERATOR), 422, "invalid_request", detail)

    def test_paths_and_methods_that_do_not_exist_are_problems_too(self, http: httpx.Client) -> None:
        refused(http.get("/nothing"), 404, "no_such_path", "There is nothing at /api/v1/nothing; see /docs")
        answer = http.delete("/handshake")
        refused(answer, 405, "wrong_method", "DELETE is not what /api/v1/handshake is for")
        assert answer.headers["allow"] == "POST"

    def test_an_integer_beyond_64_bits_is_refused_by_its_name(self, agent: Agent) -> None:
        for number in (2**64, -(2**63) - 1, 7 * 10**40):
            problem = refused(agent.ask(metadata={"block": number}), 422, "invalid_request", "integer beyond 64 bits")
            assert problem["field"] == "metadata.block"
        for number in (2**64 - 1, -(2**63), 0):
            assert agent.ask(metadata={"block": number}).status_code == 200


class TestWhoIsWho:
    def test_an_agent_that_never_shook_hands_is_unknown(self, http: httpx.Client) -> None:
        body = {"agent_id": "stranger", "task_intent": "Summarise", "resource_type": "compute", "estimated_cost_usd": 1}
        problem = refused(
            http.post("/request-permission", json=body), 404, "not_found", "This agent never shook hands."
        )
        assert problem["kind"] == "agent"
        refused(http.get("/budget/stranger"), 404, "not_found", "This agent never shook hands.")

    def test_the_session_of_another_agent_is_refused(self, agent: Agent, http: httpx.Client) -> None:
        other = Agent(http)
        detail = "This belongs to another agent."
        answer = http.post("/request-permission", json=agent.body(session_id=other.session["session_id"]))
        refused(answer, 403, "not_yours", detail)
        refused(http.post("/request-permission", json=agent.body(), headers=other.auth), 403, "not_yours", detail)
        refused(http.get(f"/budget/{agent.name}", headers=other.auth), 403, "not_yours", detail)
        grant = agent.grant()
        refused(other.settle(grant, cost_usd=1), 403, "not_yours", detail)
        refused(http.get(f"/grants/{grant}", headers=other.auth), 403, "not_yours", detail)
        for act in ("release", "extend"):
            refused(http.post(f"/grants/{grant}/{act}", json={}, headers=other.auth), 403, "not_yours", detail)
        refused(http.post(f"/grants/{grant}/release", json={"agent_id": other.name}), 403, "not_yours", detail)
        assert agent.left() == 9.75

    @pytest.mark.parametrize("act", ["settle", "release", "extend"])
    def test_who_has_no_token_must_say_whose_grant_it_is(self, agent: Agent, http: httpx.Client, act: str) -> None:
        grant, body = agent.grant(), {"cost_usd": 0.1} if act == "settle" else {}
        answer = http.post(f"/grants/{grant}/{act}", json=body)
        problem = refused(answer, 422, "invalid_request", "agent_id: is required without a session token")
        assert problem["field"] == "agent_id"
        assert http.post(f"/grants/{grant}/{act}", json={**body, "agent_id": agent.name}).status_code == 200

    def test_an_operator_may_settle_for_an_agent(self, agent: Agent, http: httpx.Client) -> None:
        answer = http.post(f"/grants/{agent.grant()}/settle", json={"cost_usd": 0.1}, headers=AS_OPERATOR)
        assert answer.json()["agent_id"] == agent.name

    def test_an_operator_takes_back_some_of_a_charge(self, agent: Agent, http: httpx.Client) -> None:
        grant = agent.grant()
        path, wish = f"/grants/{grant}/refund", {"usd": 0.2, "reason": "credited", "refund_id": "once"}
        refused(http.post(path, json=wish, headers=AS_OPERATOR), 409, "grant_open", "still open")
        assert agent.settle(grant, cost_usd=0.25).json()["charged_usd"] == 0.25
        refused(http.post(path, json=wish, headers=agent.auth), 403, "operator_only", "This is for operators")
        made = {
            "grant_id": grant, "agent_id": agent.name, "refund_usd": 0.2, "charged_usd": 0.25, "refunded_usd": 0.2,
        }  # fmt: skip
        for repeated in (False, True):
            answer = http.post(path, json=wish, headers=AS_OPERATOR)
            assert answer.json() == {**made, "repeated": repeated}
        assert agent.left() == 9.95
        event = http.get("/events?latest=1", headers=AS_OPERATOR).json()["events"][0]
        assert (event["kind"], event["facts"]["by"], event["facts"]["reason"]) == ("refunded", "operator", "credited")
        for usd, words in ((0, "usd"), (0.06, "usd: is above $0.05"), ("x", "usd")):
            refused(http.post(path, json={"usd": usd}, headers=AS_OPERATOR), 422, "invalid_request", words)

    def test_an_operator_begins_a_budget_anew(self, agent: Agent, http: httpx.Client) -> None:
        agent.settle(agent.grant(), cost_usd=0.25)
        agent.grant()
        held = agent.left()
        path = f"/budgets/agent/{agent.name}/reset"
        refused(http.post(path, json={}, headers=agent.auth), 403, "operator_only", "This is for operators")
        begun = http.post(path, json={"window": "day"}, headers=AS_OPERATOR).json()
        still = round(9.75 - held, 9)
        assert (begun["spent_usd"], begun["held_usd"], begun["budget"]["spent_usd"]) == (0.25, still, still)
        assert agent.left() == 10 - still
        for place, words in (("agent/nobody", "never shook hands"), ("tenant/other", "You govern the tenant")):
            refused(http.post(f"/budgets/{place}/reset", json={}, headers=AS_OPERATOR), 404, "not_found", words)
        wrong = http.post(path, json={"window": "fortnight"}, headers=AS_OPERATOR)
        refused(wrong, 422, "invalid_request", "window")

    @pytest.mark.parametrize("header", ["Bearer wrong", "Bearer aegis_st_wrong", "Basic YTpi", "Bearer", "\xe9"])
    def test_a_wrong_token_is_never_taken_for_none(self, agent: Agent, http: httpx.Client, header: str) -> None:
        headers = {"Authorization": header.encode("latin-1")}
        for answer in (
            http.post("/request-permission", json=agent.body(), headers=headers),
            http.get(f"/budget/{agent.name}", headers=headers),
            http.get("/events", headers=headers),
        ):
            refused(answer, 401, "bad_token", "")
            assert answer.headers["www-authenticate"].startswith("Bearer")

    def test_a_forged_secret_of_a_real_session_is_wrong(self, agent: Agent, http: httpx.Client) -> None:
        token = agent.session["session_token"]
        forged = {"Authorization": f"Bearer {token[:35]}{'A' * 43}{token[78:]}"}
        for answer in (
            http.post("/request-permission", json=agent.body(), headers=forged),
            http.get(f"/budget/{agent.name}", headers=forged),
        ):
            refused(answer, 401, "bad_token", "The session token is wrong or its session has ended.")

    def test_limits_are_for_operators(self, agent: Agent, http: httpx.Client) -> None:
        change = {"window": "day", "limit_usd": 1_000}
        path = f"/budgets/agent/{agent.name}"
        answer = http.put(path, json=change)
        refused(answer, 401, "missing_credential", "This is for operators: send Authorization: Bearer OPERATOR_SECRET.")
        assert answer.headers["www-authenticate"].startswith("Bearer")
        refused(http.put(path, json=change, headers=agent.auth), 403, "operator_only", "This is for operators")
        wrong = {"Authorization": f"Bearer {OPERATOR[:-1]}x"}
        refused(
            http.put(path, json=change, headers=wrong),
            401,
            "bad_token",
            "neither a session token nor the operator secret nor an API key",
        )
        assert agent.left() == 10

    def test_one_agents_token_does_not_read_about_all(self, agent: Agent, http: httpx.Client) -> None:
        for path in ("/agents", "/events"):
            refused(http.get(path, headers=agent.auth), 403, "not_yours", "This is about all agents")
            assert http.get(path, headers=AS_OPERATOR).status_code == 200

    def test_the_budget_of_another_tenant_is_not_there(self, http: httpx.Client, served: Settings) -> None:
        change = {"window": "day", "limit_usd": 1}
        answer = http.put("/budgets/tenant/other", json=change, headers=AS_OPERATOR)
        refused(answer, 404, "not_found", f"You govern the tenant '{served.tenant}' only")


class TestClosedGrants:
    def test_settling_again_is_a_repeat_or_a_conflict(self, agent: Agent) -> None:
        grant = agent.grant()
        first, again = agent.settle(grant, cost_usd=0.2).json(), agent.settle(grant, cost_usd="0.20").json()
        assert (first["repeated"], again["repeated"], again["charged_usd"]) == (False, True, 0.2)
        problem = refused(agent.settle(grant, cost_usd=0.21), 409, "grant_closed", "already settled with other content")
        assert problem["state"] == "S"
        assert agent.left() == 9.8

    def test_an_unknown_grant_is_not_there(self, agent: Agent) -> None:
        for name in ("gr_" + "0" * 32, "gr_nonsense", "%00", "%2E%2E"):
            refused(agent.settle(name, cost_usd=1), 404, "not_found", "There is no such grant")

    def test_exactly_one_of_cost_and_usage(self, agent: Agent) -> None:
        refused(agent.settle(agent.grant()), 422, "invalid_request", "cost_usd: give exactly one of cost_usd and usage")

    def test_a_model_without_a_price_is_not_free(self, agent: Agent) -> None:
        usage = {"model": "gpt-9000-of-nobody", "input_tokens": 1}
        refused(agent.settle(agent.grant(), usage=usage), 404, "unknown_model", "gpt-9000-of-nobody")

    @pytest.mark.concurrent
    def test_a_late_settlement_replaces_the_charge(self, served: Settings) -> None:
        short = served.model_copy(update={"tenant": f"t-{uuid4().hex[:8]}", "grant_seconds": 0.05})
        with serving(short) as url, httpx.Client(base_url=f"{url}/api/v1", trust_env=False, timeout=30) as http:
            trusting(url)
            agent = Agent(http)
            grant = agent.grant()
            time.sleep(0.1)
            assert http.get(f"/grants/{grant}").json()["state"] == "expired"
            receipt = agent.settle(grant, cost_usd=0.1).json()
            assert (receipt["late"], receipt["charged_usd"]) == (True, 0.1)
            assert agent.left() == 9.9

    def test_a_request_id_is_for_one_content(self, agent: Agent) -> None:
        assert agent.ask(request_id="one").json() == agent.ask(request_id="one").json()
        problem = refused(agent.ask(request_id="one", priority=6), 409, "conflict", "request_id: was used before")
        assert problem["field"] == "request_id"
        assert agent.left() == 9.75


FOREIGN = "http://evil.example"
REBOUND = [
    ("Host", "evil.example", "The Host header names another server"),
    ("Host", "127.0.0.1.evil.example", "The Host header names another server"),
    ("Host", "localhost:80x", "The Host header names another server"),
    ("Host", "10.0.0.1", "The Host header names another server"),
    ("Host", "", "The Host header names another server"),
    ("Origin", FOREIGN, "A page of another origin"),
    ("Origin", "null", "A page of another origin"),
    ("Origin", "http://localhost:1", "A page of another origin"),
    ("Sec-Fetch-Site", "cross-site", "A page of another site"),
    ("Sec-Fetch-Site", "same-site", "A page of another site"),
]


class TestBrowsers:
    @pytest.mark.parametrize(("header", "value", "detail"), REBOUND)
    def test_no_page_of_a_browser_drives_the_server(
        self, http: httpx.Client, header: str, value: str, detail: str
    ) -> None:
        code = "foreign_host" if header == "Host" else "foreign_origin"
        for answer in (
            http.get("/events", headers={header: value}),
            http.post("/handshake", json={"agent_id": "a"}, headers={header: value}),
        ):
            refused(answer, 403, code, detail)

    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1:9", "[::1]:8000", "[::1]", "LOCALHOST:1", "127.8.8.8"])
    def test_the_machines_own_names_are_served(self, http: httpx.Client, host: str) -> None:
        assert http.get("/health", headers={"Host": host}).status_code == 200

    def test_the_servers_own_pages_are_served(self, base: str, http: httpx.Client) -> None:
        assert http.get("/health", headers={"Origin": base, "Sec-Fetch-Site": "same-origin"}).status_code == 200

    def test_a_link_to_the_documentation_may_be_followed(self, base: str) -> None:
        headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
        with httpx.Client(trust_env=False, timeout=30, headers=headers) as client:
            assert client.get(f"{base}/docs").status_code == 200
            assert client.get(f"{base}/api/v1/events").status_code == 403

    def test_no_preflight_is_answered(self, http: httpx.Client) -> None:
        answer = http.options("/handshake", headers={"Origin": FOREIGN, "Access-Control-Request-Method": "POST"})
        assert answer.status_code == 403
        assert not [name for name in answer.headers if name.startswith("access-control")]


TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
LATER = "cc" + TRACE[2:]
OTHER_TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
HOSTILE = "\x1b[2J\x1b]0;owned\x07<script>alert(1)</script>\u202e\x9b31m"


class TestHostileText:
    def test_escapes_and_markup_stay_escaped(self, agent: Agent, http: httpx.Client) -> None:
        answer = agent.ask(task_intent=f"Summarise {HOSTILE}", metadata={"note": HOSTILE})
        assert answer.json()["status"] == "GRANTED"
        assert answer.text.isascii()
        page = http.get("/events", params={"latest": 1})
        assert page.json()["events"][0]["facts"]["request"]["intent"] == f"Summarise {HOSTILE}"
        assert page.text.isascii()
        assert page.headers["content-type"] == "application/json"

    def test_a_bad_value_is_not_echoed(self, agent: Agent) -> None:
        for change in ({"agent_id": HOSTILE}, {"resource_type": HOSTILE}, {"estimated_cost_usd": HOSTILE}):
            answer = agent.ask(**change)
            assert answer.status_code == 422
            assert "owned" not in answer.text

    def test_a_hostile_field_name_stays_escaped(self, agent: Agent) -> None:
        answer = agent.ask(**{HOSTILE: 1})
        assert answer.json()["field"] == HOSTILE
        assert answer.text.isascii()
        assert answer.text.isprintable()


def event_of(http: httpx.Client, agent: Agent) -> dict[str, Any]:
    """What the event of an agent's last decision says."""
    query = {"agent": agent.name, "kind": "granted", "order": "desc", "limit": 1}
    found = http.get("/events", params=query, headers={"Authorization": f"Bearer {OPERATOR}"}).json()
    return found["events"][0]["facts"]


@pytest.mark.parametrize("given", ["run-7", ""], ids=["given", "made"])
def test_an_event_names_the_http_request_as_the_answer_does(http: httpx.Client, given: str) -> None:
    agent = Agent(http)
    more = {"X-Request-Id": given} if given else {}
    answer = http.post("/request-permission", json=agent.body(), headers={**agent.auth, **more})
    assert answer.headers["x-request-id"] == (given or answer.headers["x-request-id"])
    assert event_of(http, agent)["http_request_id"] == answer.headers["x-request-id"]


def test_a_credential_in_the_name_of_a_request_reaches_no_event(http: httpx.Client) -> None:
    agent = Agent(http)
    http.post("/request-permission", json=agent.body(), headers={**agent.auth, "X-Request-Id": f"x/{OPERATOR}"})
    assert OPERATOR not in json.dumps(event_of(http, agent))


@pytest.mark.parametrize(
    ("sent", "said", "expected"),
    [
        ([TRACE], None, TRACE), ([TRACE], OTHER_TRACE, OTHER_TRACE), ([LATER + "-more"], None, LATER),
        ([""], None, None), ([TRACE + "-more"], None, None), (["00-abc"], None, None),
        ([TRACE, OTHER_TRACE], None, None),
        ([TRACE.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32)], None, None),
    ],
    ids=["header", "body", "later", "empty", "long", "short", "two", "zeros"],
)  # fmt: skip
def test_the_trace_of_the_caller_is_in_the_event(
    http: httpx.Client, sent: list[str], said: str | None, expected: str | None
) -> None:
    agent = Agent(http)
    body = agent.body(**({"traceparent": said} if said else {}))
    headers = [*agent.auth.items(), *(("traceparent", each) for each in sent)]
    answer = http.post("/request-permission", json=body, headers=headers)
    assert (answer.status_code, answer.json()["status"]) == (200, "GRANTED")
    assert event_of(http, agent).get("traceparent") == expected


def test_a_broken_trace_in_the_message_is_a_clear_answer(http: httpx.Client) -> None:
    agent = Agent(http)
    answer = agent.ask(traceparent="00-abc")
    assert (answer.status_code, answer.json()["field"]) == (422, "traceparent")


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[dict[str, Any]]]:
    def read() -> list[dict[str, Any]]:
        return [json.loads(line) for line in capsys.readouterr().err.splitlines()]

    return read


def test_one_line_of_json_for_each_request(served: Settings, lines: Callable[[], list[dict[str, Any]]]) -> None:
    with (
        serving(served, log_level="info") as url,
        httpx.Client(base_url=f"{url}/api/v1", trust_env=False, timeout=30) as http,
    ):
        agent = Agent(http)
        headers = {**agent.auth, "X-Request-Id": "run-7", "traceparent": TRACE}
        granted = http.post("/request-permission", json=agent.body(), headers=headers).json()
        http.get("/%1b%5b2J<b>?secret=1")
    logged = [line for line in lines() if line["message"] == "request"]
    assert [(line["method"], line["path"], line["status"], line.get("agent_id")) for line in logged] == [
        ("POST", "/api/v1/handshake", 200, agent.name),
        ("POST", "/api/v1/request-permission", 200, agent.name),
        ("GET", "/api/v1/\x1b[2J<b>", 404, None),
    ]
    assert (logged[1]["request_id"], logged[1]["grant_id"]) == ("run-7", granted["grant_id"])
    assert logged[1]["level"] == "info"
    assert logged[1]["ms"] > 0
    assert logged[1]["time"].endswith("+00:00")
    assert agent.session["session_token"] not in json.dumps(logged)
