"""Every role against every operation of the OpenAPI document, where keys are asked for.

The table says for each operation whom it lets in. The document is generated from the routes, so an operation that is
missing here fails the test, and so does one that is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple
from uuid import uuid4

import httpx
import pytest
from guarding import AS_OPERATOR, Guarded, bearer, guarded

from aegis_core import Settings
from aegis_core.api.app import create_app
from aegis_core.testing import private_settings
from tests.kaizen.telling import DAY, tell

API = "/api/v1"
ROLES = (
    "nobody", "agent key", "session", "viewer key", "approver key", "operator key", "owner key", "operator secret",
    "wrong key", "revoked key", "key of a removed person", "wrong session",
    "foreign agent key", "foreign operator key", "foreign owner key", "foreign session",
)  # fmt: skip
INTRUDERS = {"wrong key", "revoked key", "key of a removed person", "wrong session"}
FOREIGNERS = {"foreign agent key", "foreign operator key", "foreign owner key", "foreign session"}
"""Their credentials hold, in another tenant: they may do there what they may, and touch nothing here."""

NAMING_ONE = (
    "{event_id}",
    "{finding_id}",
    "{experiment_id}",
    "{proposal_id}",
    "/kaizen/pairs",
    "/kaizen/report",
    "{grant_id}",
    "{key_id}",
    "{name}",
    "{approval_id}",
    "{envelope_id}",
    "{workflow_id}",
    "/force-release",
    "{person}",
)
OWNERS = {"owner key", "operator secret"}
OPERATORS = OWNERS | {"operator key"}
APPROVERS = OPERATORS | {"approver key"}
VIEWERS = APPROVERS | {"viewer key"}
ENTER = OPERATORS | {"agent key"}
AGENTS = OPERATORS | {"session"}
READERS = VIEWERS | {"session"}
ANYBODY = set(ROLES)


class Row(NamedTuple):
    """Whom an operation lets in, and a call of it that succeeds for those."""

    allowed: set[str]
    body: Callable[[dict[str, Any]], Any] | None = None
    done: int = 200
    """What it answers to whom it lets in; another number where the server of this test cannot do it."""


def _plain(body: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda _: body


def _wish(case: dict[str, Any]) -> dict[str, Any]:
    who = case["agent_id"]
    return {"agent_id": who, "task_intent": "Summarise", "resource_type": "compute", "estimated_cost_usd": 0.01}


def _experiment(_: dict[str, Any]) -> dict[str, Any]:
    return {"task_type": "draft", "present": "gpt-4o", "candidate": "gpt-4o-mini"}


def _pair(_: dict[str, Any]) -> dict[str, Any]:
    return {"experiment_id": "x-00000000", "request_id": "r1", "present": 1, "candidate": 1}


def _policy(_: dict[str, Any]) -> Any:
    """One that was never published before, for the same one again is no event."""
    return {"schema": 1, "rules": [{"name": f"r-{uuid4().hex}", "type": "max_cost", "limit_usd": 500_000}]}


def _lock_token(case: dict[str, Any]) -> Any:
    return {"agent_id": case["agent_id"], "lock_token": case["lock_token"]}


def _transaction(case: dict[str, Any]) -> Any:
    where = {"chain": "monad", "wallet": "0x" + "12" * 20, "transaction": "0x00"}
    return {"agent_id": case["agent_id"], "task_intent": "Pay", **where}


def _sending(case: dict[str, Any]) -> Any:
    return {"agent_id": case["agent_id"], "grant_id": case["grant_id"], "transaction": "0x00"}


def _plan(case: dict[str, Any]) -> Any:
    step = {"tool": "look", "times": 1, "upto_usd": 0.1}
    return {"agent_id": case["agent_id"], "name": f"Look {uuid4().hex}", "budget_usd": 1, "plan": [step]}


def _joining(case: dict[str, Any]) -> Any:
    token = f"aegis_join_{case['workflow_id'][3:]}_{'A' * 43}_t"
    return {"join_token": token, "agent_id": f"new-{uuid4().hex}"}


TABLE: dict[tuple[str, str], Row] = {
    ("POST", f"{API}/workflows"): Row(AGENTS, _plan),
    ("GET", f"{API}/workflows"): Row(VIEWERS),
    ("GET", f"{API}/workflows/{{workflow_id}}"): Row(READERS),
    ("POST", f"{API}/workflows/{{workflow_id}}/invite"): Row(AGENTS, _plain({})),
    ("POST", f"{API}/workflows/{{workflow_id}}/join"): Row(ENTER, _joining, 403),  # with a token that is none
    ("PATCH", f"{API}/workflows/{{workflow_id}}"): Row(
        APPROVERS, lambda case: {"content": case["content"], "budget_usd": 0.5}
    ),
    ("DELETE", f"{API}/workflows/{{workflow_id}}"): Row(APPROVERS | {"session"}),
    ("GET", f"{API}/locks"): Row(VIEWERS),
    ("POST", f"{API}/locks/{{resource}}/acquire"): Row(AGENTS, lambda case: {"agent_id": case["agent_id"]}),
    ("POST", f"{API}/locks/{{resource}}/renew"): Row(AGENTS, _lock_token),
    ("POST", f"{API}/release-lock"): Row(AGENTS, lambda case: {**_lock_token(case), "resource": case["resource"]}),
    ("POST", f"{API}/locks/{{resource}}/force-release"): Row(OPERATORS, _plain({})),
    ("POST", f"{API}/transactions"): Row(AGENTS, _transaction, 422),  # no chain is set up there
    ("GET", f"{API}/chains"): Row(READERS),
    ("POST", f"{API}/transactions/quote"): Row(AGENTS, _plain({"chain": "monad", "transaction": "0x00"}), 422),
    ("POST", f"{API}/transactions/{{grant_id}}/send"): Row(AGENTS, _sending, 404),  # that grant is for none
    ("GET", f"{API}/transactions/{{grant_id}}"): Row(READERS, done=404),
    ("POST", f"{API}/handshake"): Row(ENTER, lambda _: {"agent_id": f"new-{uuid4().hex}"}),
    ("POST", f"{API}/request-permission"): Row(AGENTS, _wish),
    ("POST", f"{API}/grants/{{grant_id}}/settle"): Row(AGENTS, _plain({"cost_usd": 0.01})),
    ("POST", f"{API}/grants/{{grant_id}}/refund"): Row(OPERATORS, _plain({"usd": 0.01})),
    ("POST", f"{API}/grants/{{grant_id}}/release"): Row(AGENTS, _plain({})),
    ("POST", f"{API}/grants/{{grant_id}}/extend"): Row(AGENTS, _plain({})),
    ("GET", f"{API}/grants/{{grant_id}}"): Row(READERS),
    ("POST", f"{API}/journal"): Row(AGENTS, lambda case: {"agent_id": case["agent_id"], "act": "look", "key": "k"}),
    ("GET", f"{API}/budget/{{agent_id}}"): Row(READERS),
    ("PUT", f"{API}/budgets/{{scope}}/{{name}}"): Row(OPERATORS, _plain({"window": "day", "limit_usd": 9})),
    ("POST", f"{API}/budgets/{{scope}}/{{name}}/reset"): Row(OPERATORS, _plain({"window": "day"})),
    ("GET", f"{API}/agents"): Row(VIEWERS),
    ("GET", f"{API}/events"): Row(VIEWERS),
    ("GET", f"{API}/events/{{event_id}}"): Row(VIEWERS),
    ("GET", f"{API}/events/stream"): Row(VIEWERS),
    ("GET", f"{API}/activity"): Row(VIEWERS),
    ("GET", f"{API}/kaizen/report"): Row(VIEWERS),
    ("GET", f"{API}/kaizen/findings/{{finding_id}}"): Row(VIEWERS),
    ("GET", f"{API}/kaizen/experiments"): Row(VIEWERS),
    ("GET", f"{API}/kaizen/proposals"): Row(VIEWERS),
    ("GET", f"{API}/kaizen/proposals/{{proposal_id}}"): Row(VIEWERS, done=404),
    ("POST", f"{API}/kaizen/proposals/{{proposal_id}}"): Row(OPERATORS, _plain({"act": "approve"}), 404),
    ("POST", f"{API}/kaizen/experiments"): Row(OPERATORS, _experiment),
    ("GET", f"{API}/kaizen/experiments/{{experiment_id}}"): Row(VIEWERS, done=404),
    ("POST", f"{API}/kaizen/experiments/{{experiment_id}}"): Row(OPERATORS, _plain({"act": "stop"}), 404),
    ("POST", f"{API}/kaizen/pairs"): Row(OPERATORS, _pair, 404),
    ("GET", f"{API}/keys"): Row(VIEWERS),
    ("POST", f"{API}/keys"): Row(OWNERS, _plain({"role": "operator"})),
    ("POST", f"{API}/keys/{{key_id}}/rotate"): Row(OPERATORS),
    ("DELETE", f"{API}/keys/{{key_id}}"): Row(OPERATORS),
    ("POST", f"{API}/agents/{{agent_id}}/block"): Row(OPERATORS),
    ("POST", f"{API}/agents/{{agent_id}}/unblock"): Row(OPERATORS),
    ("POST", f"{API}/agents/{{agent_id}}/forget"): Row(OPERATORS),
    ("POST", f"{API}/halt"): Row(OPERATORS),
    ("POST", f"{API}/resume"): Row(OPERATORS),
    ("PUT", f"{API}/mode"): Row(OWNERS, _plain({"mode": "observe"})),
    ("GET", f"{API}/policy"): Row(VIEWERS),
    ("PUT", f"{API}/policy"): Row(OPERATORS, _policy),
    ("GET", f"{API}/policy/versions"): Row(VIEWERS),
    ("GET", f"{API}/policy/versions/{{version}}"): Row(VIEWERS),
    ("POST", f"{API}/policy/rollback"): Row(OPERATORS, _plain({"version": 1})),
    ("GET", f"{API}/profiles"): Row(VIEWERS),
    ("PUT", f"{API}/profiles"): Row(OPERATORS, _plain({"profiles": []})),
    ("GET", f"{API}/approvals"): Row(VIEWERS),
    ("GET", f"{API}/approvals/{{approval_id}}"): Row(READERS),
    ("POST", f"{API}/approvals/{{approval_id}}/decision"): Row(APPROVERS, _plain({"decision": "approve"})),
    ("GET", f"{API}/envelopes"): Row(VIEWERS),
    ("POST", f"{API}/envelopes"): Row(APPROVERS, _plain({"agent_id": "mine", "tool": "pay", "limit_usd": 1})),
    ("DELETE", f"{API}/envelopes/{{envelope_id}}"): Row(APPROVERS),
    ("GET", f"{API}/operator-limits"): Row(VIEWERS),
    ("PUT", f"{API}/operator-limits/{{operator}}"): Row(OWNERS, _plain({"approve_up_to_usd": 9})),
    ("GET", f"{API}/people"): Row(VIEWERS),
    ("POST", f"{API}/people"): Row(OWNERS, lambda _: {"name": f"p-{uuid4().hex}"}),
    ("GET", f"{API}/self"): Row(VIEWERS),
    ("GET", f"{API}/people/{{person}}"): Row(VIEWERS),
    ("PATCH", f"{API}/people/{{person}}"): Row(OWNERS, _plain({"role": "approver"})),
    ("DELETE", f"{API}/people/{{person}}"): Row(OWNERS),
    ("POST", f"{API}/people/{{person}}/credentials"): Row(OWNERS, _plain({"kind": "key"})),
    ("DELETE", f"{API}/people/{{person}}/credentials/{{credential}}"): Row(OWNERS),
    ("GET", f"{API}/health"): Row(ANYBODY),
    ("GET", f"{API}/ready"): Row(ANYBODY),
    ("GET", "/metrics"): Row(VIEWERS),
}


def operations() -> set[tuple[str, str]]:
    paths = create_app(private_settings()).openapi()["paths"]
    return {(method.upper(), path) for path, methods in paths.items() for method in methods}


def test_the_table_holds_every_operation_and_no_other() -> None:
    assert operations() == set(TABLE)


@pytest.fixture(scope="module")
def home(server_url: str) -> Iterator[Guarded]:
    settings = private_settings(url=server_url, tenant=f"t-{uuid4().hex[:12]}", tenant_day_usd=100_000)
    with guarded(settings) as server:
        asyncio.run(tell(settings, DAY))
        yield server


@pytest.fixture(scope="module")
def credentials(home: Guarded) -> dict[str, dict[str, str]]:
    """What each role shows."""
    from guarding import made_keys

    away = home.settings.model_copy(update={"tenant": home.settings.tenant + "-b"})
    foreign = made_keys(away, agents="agent", ops="operator", boss="owner")
    own = made_keys(home.settings, vera="viewer", apollo="approver", olga="owner", gone="owner")
    assert home.http.delete(f"{API}/people/gone", headers=AS_OPERATOR).status_code == 200
    revoked = home.http.post(f"{API}/keys", json={"role": "operator"}, headers=AS_OPERATOR).json()
    home.http.delete(f"{API}/keys/{revoked['key_id']}", headers=AS_OPERATOR)
    mine, theirs = home.enter("mine"), home.enter("mine", key=foreign["agents"].secret)
    token = mine["session_token"]
    room = {"window": "day", "limit_usd": 100_000}  # each case spends a little
    assert home.http.put(f"{API}/budgets/agent/mine", json=room, headers=AS_OPERATOR).status_code == 200
    return {
        "nobody": {},
        "agent key": bearer(home.agent_key),
        "session": bearer(token),
        "viewer key": bearer(own["vera"].secret),
        "approver key": bearer(own["apollo"].secret),
        "operator key": bearer(home.operator_key),
        "owner key": bearer(own["olga"].secret),
        "key of a removed person": bearer(own["gone"].secret),
        "foreign owner key": bearer(foreign["boss"].secret),
        "operator secret": AS_OPERATOR,
        "wrong key": bearer(home.operator_key[:30] + "A" * 30 + home.operator_key[60:]),
        "revoked key": bearer(revoked["secret"]),
        "wrong session": bearer(token[:35] + "A" * 43 + token[78:]),
        "foreign agent key": bearer(foreign["agents"].secret),
        "foreign operator key": bearer(foreign["ops"].secret),
        "foreign session": bearer(theirs["session_token"]),
    }  # fmt: skip


def about(path: str | None, *words: str) -> bool:
    return path is None or any(word in path for word in words)


@contextmanager
def fresh(home: Guarded, credentials: dict[str, dict[str, str]], path: str | None = None) -> Iterator[dict[str, Any]]:
    """Fresh things of the home tenant: a live grant of the agent `mine`, a key, and names for the path.

    Args:
        home: the server.
        credentials: of the roles.
        path: only what this operation is about, and only what it changes is put back. By default, all but a person:
            a tenant has at most 1,000, who were removed among them.
    """
    session = credentials["session"]

    def made(what: str, body: Any, credential: dict[str, str] = AS_OPERATOR) -> Any:
        answer = home.http.post(f"{API}/{what}", json=body, headers=credential)
        assert answer.status_code == 200, answer.text
        return answer.json()

    wish, opened = _wish({"agent_id": "mine"}), {"workflow_id": f"wf_{'0' * 32}", "content": "c"}
    wallet, name, account = f"wallet-{uuid4().hex}", f"person-{uuid4().hex}", uuid4().int % 10**18 + 1
    case = {
        "agent_id": "mine", "grant_id": made("request-permission", wish, session)["grant_id"], "version": 1,
        "name": home.settings.tenant, "scope": "tenant", "operator": "somebody", "person": name, "resource": wallet,
        "credential": f"telegram:{account}", "finding_id": f"{DAY}.failed-work", "experiment_id": "x-00000000",
        "proposal_id": "p-00000000",
    }  # fmt: skip
    if about(path, "approval"):
        risky = {**wish, "confidence": 0.1, "task_intent": f"Summarise {uuid4().hex}"}
        asked = made("request-permission", risky, session)
        case |= {"approval_id": asked["escalation_id"], "asked_id": asked["grant_id"]}
    if about(path, "envelope"):
        envelope = made("envelopes", {"agent_id": "mine", "tool": "pay", "limit_usd": 1})
        case["envelope_id"] = envelope["envelope_id"]
    if about(path, "/workflows"):
        opened = made("workflows", _plan({"agent_id": "mine"}), session)
    if about(path, "key"):
        case["key_id"] = made("keys", {"role": "agent", "name": "spare"})["key_id"]
    if path and about(path, "/people"):
        made("people", {"name": name, "telegram": account})
    if about(path, "lock"):
        lock = made(f"locks/{wallet}/acquire", {"agent_id": "mine", "ttl_seconds": 600}, session)
        case["lock_token"] = lock["lock_token"]
    case |= {name: opened[name] for name in ("workflow_id", "content")}
    case["event_id"] = home.http.get(f"{API}/events?latest=1", headers=AS_OPERATOR).json()["events"][0]["id"]
    before = dict(case)
    yield case
    put_back(home, credentials, before, path)
    if about(path, "/workflows"):
        for each in home.http.get(f"{API}/workflows?limit=3", headers=AS_OPERATOR).json()["workflows"]:
            home.http.delete(f"{API}/workflows/{each['workflow_id']}", headers=AS_OPERATOR)


def put_back(home: Guarded, credentials: dict[str, dict[str, str]], case: dict[str, Any], path: str | None) -> None:
    """What a call may have changed, and what the next calls would lack room for."""
    session = credentials["session"]
    if about(path, "/halt", "block", "/forget"):
        for act in ("resume", "agents/mine/unblock"):
            for credential in (credentials["foreign operator key"], AS_OPERATOR):
                assert home.http.post(f"{API}/{act}", headers=credential).status_code == 200
    for what, body in (
        ("mode", {"mode": "enforce"}),
        ("profiles", {"profiles": []}),
        (f"budgets/tenant/{home.settings.tenant}", {"window": "day", "limit_usd": 100_000}),
    ):
        if about(path, f"/{what.partition('/')[0]}"):
            assert home.http.put(f"{API}/{what}", json=body, headers=AS_OPERATOR).status_code == 200
    for name, what in (("key_id", "keys"), ("envelope_id", "envelopes")):
        if name in case:
            home.http.delete(f"{API}/{what}/{case[name]}", headers=AS_OPERATOR)
    if "lock_token" in case:  # an agent holds at most 1,000
        held = {name: case[name] for name in ("agent_id", "resource", "lock_token")}
        home.http.post(f"{API}/release-lock", json=held, headers=session)
    for name in ("asked_id", "grant_id"):  # an agent has at most 1,000 open
        if name in case:
            home.http.post(f"{API}/grants/{case[name]}/release", json={}, headers=session)


class Kept:
    """What calls of one operation are about, until one of them changes something: most are refused."""

    def __init__(self, home: Guarded, credentials: dict[str, dict[str, str]]) -> None:
        self._home, self._credentials = home, credentials
        self._kept, self._of, self._case = ExitStack(), ("", ""), dict[str, Any]()

    def of(self, method: str, path: str) -> dict[str, Any]:
        if self._of != (method, path):
            self.forget()
            self._case = self._kept.enter_context(fresh(self._home, self._credentials, path))
            self._of = method, path
        return self._case

    def forget(self) -> None:
        self._kept.close()
        self._of = "", ""


@pytest.fixture(scope="module")
def kept(home: Guarded, credentials: dict[str, dict[str, str]]) -> Iterator[Kept]:
    shared = Kept(home, credentials)
    yield shared
    shared.forget()


@pytest.fixture
def case(home: Guarded, credentials: dict[str, dict[str, str]], kept: Kept) -> Iterator[dict[str, Any]]:
    kept.forget()
    with fresh(home, credentials) as made:
        yield made


def call(
    home: Guarded, method: str, path: str, case: dict[str, Any], credential: dict[str, str], **more: Any
) -> httpx.Response:
    make = TABLE[method, path].body
    body = {} if make is None else {"json": make(case)}
    with home.http.stream(
        method, path.format(**case), headers={**credential, **more, "If-Match": "*"}, **body
    ) as answer:
        if answer.headers["content-type"].startswith("text/event-stream"):  # it does not end
            return httpx.Response(answer.status_code, headers=answer.headers)
        answer.read()
        return answer


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(("method", "path"), sorted(TABLE), ids=lambda value: value.removeprefix(API))
def test_who_may_do_what(
    home: Guarded, credentials: dict[str, dict[str, str]], kept: Kept, method: str, path: str, role: str
) -> None:
    answer = call(home, method, path, kept.of(method, path), credentials[role])
    if answer.is_success and method != "GET":
        kept.forget()
    allowed = TABLE[method, path].allowed
    if role in FOREIGNERS:
        assert answer.status_code == (
            403 if role.removeprefix("foreign ") not in allowed and allowed != ANYBODY
            else 409 if path.endswith(("/release-lock", "/renew"))  # the token holds nothing there
            else 404 if any(named in path for named in NAMING_ONE)
            else TABLE[method, path].done  # of the agent and the policy of the same name in their own tenant
        ), answer.text  # fmt: skip
    elif role in allowed:
        done = 409 if path.endswith("/refund") else TABLE[method, path].done  # what a refund is of is open
        assert answer.status_code == done, answer.text
    elif role == "nobody" or role in INTRUDERS:
        assert answer.status_code == 401, answer.text
        assert answer.headers["www-authenticate"].startswith("Bearer")
    else:
        assert answer.status_code == 403, answer.text
        assert answer.json()["code"] in {
            "operator_only", "not_yours", "session_needed", "key_needed", "role_needed",
        }  # fmt: skip


@pytest.mark.parametrize(("method", "path"), sorted(TABLE), ids=lambda value: value.removeprefix(API))
def test_an_agent_may_do_nothing_that_only_an_operator_may(method: str, path: str) -> None:
    row = TABLE[method, path]
    agents = row.allowed & {"agent key", "session", "nobody"}
    own = path.removeprefix(API).split("/")[1] in {
        "handshake",
        "request-permission",
        "grants",
        "journal",
        "transactions",
        "chains",
        "budget",
        "release-lock",
        "health",
        "ready",
    }
    own = own or (method, path) == ("GET", f"{API}/approvals/{{approval_id}}") or path.endswith(("/acquire", "/renew"))
    own = (
        own or (path.startswith(f"{API}/workflows") and method in {"POST", "DELETE"}) or path.endswith("{workflow_id}")
    )
    assert bool(agents) == (own and not path.endswith("/refund") and method != "PATCH")


def image(home: Guarded) -> list[Any]:
    """What operators see of the home tenant, but for times, and for events of those who were turned away."""
    paths = ("/agents", "/keys", "/policy", "/policy/versions", "/profiles", "/approvals", "/envelopes")
    seen = [home.http.get(f"{API}{path}", headers=AS_OPERATOR).json() for path in paths]
    events = home.http.get(f"{API}/events?latest=500", headers=AS_OPERATOR).json()["events"]
    return [*seen, [event for event in events if event["kind"] != "login_failed"][-100:]]


@pytest.mark.parametrize("role", sorted(FOREIGNERS | INTRUDERS | {"nobody"}))
def test_who_does_not_belong_to_a_tenant_changes_and_sees_nothing_of_it(
    home: Guarded, credentials: dict[str, dict[str, str]], case: dict[str, Any], role: str
) -> None:
    before = image(home)
    for method, path in sorted(TABLE):
        answer = call(home, method, path, case, credentials[role])
        named = {name for name in ("name", "key_id") if f"{{{name}}}" in path}  # what the caller said is no secret
        text = answer.text.replace(home.settings.tenant + "-b", "")
        assert not [case[name] for name in {"name", "key_id"} - named if case[name] in text], (method, path, text)
    assert image(home) == before


@pytest.mark.parametrize("role", ["agent key", "session", "operator key"])
def test_a_header_that_names_another_tenant_opens_nothing(
    home: Guarded, credentials: dict[str, dict[str, str]], case: dict[str, Any], role: str
) -> None:
    header = {"X-Aegis-Tenant": home.settings.tenant + "-b"}
    for method, path in sorted(TABLE):
        if role in TABLE[method, path].allowed and path.removeprefix(API) not in {"/health", "/ready"}:
            answer = call(home, method, path, case, credentials[role], **header)
            assert (answer.status_code, answer.json()["kind"]) == (404, "tenant"), (method, path, answer.text)


BESIDE = {"declined", "login_failed"}
"""A brake declines what waits, and who was turned away is told of a moment later. What a sweep writes is by nobody."""


def test_every_operators_act_is_an_event_with_the_keys_name(
    home: Guarded, credentials: dict[str, dict[str, str]], case: dict[str, Any]
) -> None:
    acts = {
        "workflow_invited": ("POST", f"{API}/workflows/{{workflow_id}}/invite"),
        "policy_published": ("PUT", f"{API}/policy"), "profiles_published": ("PUT", f"{API}/profiles"),
        "key_created": ("POST", f"{API}/keys"), "key_revoked": ("DELETE", f"{API}/keys/{{key_id}}"),
        "agent_blocked": ("POST", f"{API}/agents/{{agent_id}}/block"), "tenant_halted": ("POST", f"{API}/halt"),
        "agent_active": ("POST", f"{API}/agents/{{agent_id}}/unblock"), "tenant_active": ("POST", f"{API}/resume"),
        "tenant_mode": ("PUT", f"{API}/mode"), "budget_set": ("PUT", f"{API}/budgets/{{scope}}/{{name}}"),
        "budget_reset": ("POST", f"{API}/budgets/{{scope}}/{{name}}/reset"),
        "agent_forgotten": ("POST", f"{API}/agents/{{agent_id}}/forget"),
        "envelope_revoked": ("DELETE", f"{API}/envelopes/{{envelope_id}}"),
        "envelope_made": ("POST", f"{API}/envelopes"), "ceiling_set": ("PUT", f"{API}/operator-limits/{{operator}}"),
        "person_added": ("POST", f"{API}/people"), "person_changed": ("PATCH", f"{API}/people/{{person}}"),
        "credential_revoked": ("DELETE", f"{API}/people/{{person}}/credentials/{{credential}}"),
        "person_removed": ("DELETE", f"{API}/people/{{person}}"),
    }  # fmt: skip
    for role, author in (("owner key", "olga"), ("operator secret", "operator")):
        for kind, (method, path) in acts.items():
            if kind == "workflow_invited" and role != "owner key":
                continue  # its opener was blocked meanwhile, which rejected its plan
            answer = call(home, method, path, case, credentials[role])
            assert answer.status_code == 200, (kind, answer.text)
            latest = home.http.get(f"{API}/events?latest=20", headers=AS_OPERATOR).json()["events"]
            event = [each for each in latest if each["kind"] not in BESIDE and "by" in each["facts"]][-1]
            assert (event["kind"], event["facts"]["by"]) == (kind, author)
            if kind == "key_revoked":
                spare = home.http.post(f"{API}/keys", json={"role": "agent"}, headers=AS_OPERATOR).json()
                case["key_id"] = spare["key_id"]
            if kind == "person_added":  # the next acts are about that person
                number = uuid4().int % 10**18 + 1
                case["person"], case["credential"] = event["facts"]["person"], f"telegram:{number}"
                account = {"kind": "telegram", "telegram": number}
                linked = home.http.post(
                    f"{API}/people/{case['person']}/credentials", json=account, headers=credentials[role]
                )
                assert linked.status_code == 200
            if kind == "envelope_made":
                case["envelope_id"] = event["facts"]["envelope_id"]


def test_the_settings_can_ask_for_keys_before_there_are_any(settings: Settings) -> None:
    from serving import serving

    with serving(settings.model_copy(update={"require_keys": True})) as url:
        answer = httpx.post(f"{url}{API}/handshake", json={"agent_id": "a"}, trust_env=False, timeout=30)
        assert (answer.status_code, answer.json()["code"]) == (401, "missing_credential")
        made = httpx.post(
            f"{url}{API}/keys", json={"role": "agent"}, headers=AS_OPERATOR, trust_env=False, timeout=30
        ).json()
        entered = httpx.post(
            f"{url}{API}/handshake", json={"agent_id": "a"}, headers=bearer(made["secret"]), trust_env=False, timeout=30
        )
        assert entered.status_code == 200


def test_the_first_key_ends_keyless_calls_at_once_and_the_last_one_brings_them_back(settings: Settings) -> None:
    from serving import serving

    with serving(settings) as url, httpx.Client(base_url=f"{url}{API}", trust_env=False, timeout=30) as http:
        assert http.post("/handshake", json={"agent_id": "a"}).status_code == 200
        made = http.post("/keys", json={"role": "agent"}, headers=AS_OPERATOR).json()
        for answer in (
            http.post("/handshake", json={"agent_id": "a"}),
            http.post("/request-permission", json=_wish({"agent_id": "a"})),
            http.get("/events"),
            http.get("/budget/a"),
        ):
            assert (answer.status_code, answer.json()["code"]) == (401, "missing_credential")
        http.delete(f"/keys/{made['key_id']}", headers=AS_OPERATOR)
        assert http.get("/events").status_code == 200
