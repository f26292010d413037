"""Everything that the OpenAPI document allows, and much that it does not, against the real server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from unicodedata import category
from urllib.parse import parse_qsl, unquote, urlsplit

import httpx
import pytest
import schemathesis
from pydantic import SecretStr
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    positive_data_acceptance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from serving import OPERATOR, serving

from aegis_core import Settings
from aegis_core.api.app import create_app
from aegis_core.testing import private_settings

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
    negative_data_rejection,
]
KNOWN = "crew-researcher-01"
NARROWER = {
    "/api/v1/activity",
    "/api/v1/agents",
    "/api/v1/approvals",
    "/api/v1/events",
    "/api/v1/locks",
    "/api/v1/policy/versions/{version}",
}
"""They refuse what the document can't exclude."""
AS_OPERATOR = {"Authorization": f"Bearer {OPERATOR}"}

document = create_app(private_settings(operator_secret=SecretStr(OPERATOR))).openapi()
schema = schemathesis.openapi.from_dict(document).exclude(path="/api/v1/events/stream")
"""Without what does not end."""


@pytest.fixture
def base(settings: Settings) -> Iterator[str]:
    """A server and tenant for each operation, so that none spends what another one needs."""
    with serving(settings.model_copy(update={"tenant_day_usd": Decimal(8_000_000)})) as url:
        yield url


@pytest.fixture
def agent(base: str) -> Iterator[httpx.Client]:
    """A client of an agent that exists and has a long purse."""
    with httpx.Client(base_url=f"{base}/api/v1", trust_env=False, timeout=30) as client:
        assert client.post("/handshake", json={"agent_id": KNOWN, "max_priority": 10}).status_code == 200
        change = {"window": "day", "limit_usd": 8_000_000}
        answer = client.put(f"/budgets/agent/{KNOWN}", json=change, headers=AS_OPERATOR)
        assert answer.status_code == 200
        yield client


def made_real(case: Any, agent: httpx.Client) -> None:
    """Let acceptable data name things that exist, else most calls would end at "unknown agent"."""
    path, query, body = case.path_parameters or {}, case.query or {}, case.body
    if re.fullmatch(r"[\d.]+", str(query.get("wait"))):
        query["wait"] = min(float(query["wait"]), 0.01)
    if case.meta.generation.mode.is_negative:
        return
    if isinstance(body, dict) and "agent_id" in body and not case.path.endswith("handshake"):
        body["agent_id"] = KNOWN
    if isinstance(body, dict) and body.get("cost_usd") and float(body["cost_usd"]) > 1:
        body["cost_usd"] = 1  # an overrun of millions would end the day for the cases after it
    for usage in (body.get("usage"), body.get("escalation_usage")) if isinstance(body, dict) else ():
        if isinstance(usage, dict) and float(usage.get("stated_cost_usd") or 0) > 1:
            usage["stated_cost_usd"] = 1
    if "grant_id" in path:
        wish = {"agent_id": KNOWN, "task_intent": "Summarise", "resource_type": "compute", "estimated_cost_usd": 0.1}
        path["grant_id"] = agent.post("/request-permission", json=wish).json()["grant_id"]
        assert path["grant_id"]
    if "agent_id" in path:
        path["agent_id"] = KNOWN
    if "key_id" in path:
        made = agent.post("/keys", json={"role": "agent"}, headers=AS_OPERATOR)
        path["key_id"] = made.json()["key_id"]


def named_after_all(case: Any, url: str) -> bool:
    """Whether a name that was made to be wrong is right as it was sent: a lock's object in a query is sent as text,
    and who made any name takes some letters and numbers (of more than 16 bits, or like ``²``) for none."""
    wrong = {str(place.value) for place, made in case.meta.components.items() if made.mode.is_negative}
    if not wrong or not wrong <= {"query", "path"}:
        return False
    if any(ord(letter) > 0x7F and _may_stand(letter) for letter in unquote(url)) and _names_alone(case, url):
        return True
    sent = urlsplit(url)
    found = re.fullmatch(r"/api/v1/locks(?:/(.+)/acquire)?", sent.path)
    names = [each for name, each in parse_qsl(sent.query, keep_blank_values=True) if name == "resource"]
    names += [unquote(found[1])] if found and found[1] else []
    return bool(found and names) and all(1 <= len(each) <= 128 and all(map(_may_stand, each)) for each in names)


def _names_alone(case: Any, url: str) -> bool:
    """Whether all that the path and the query of an operation say are names as the document has them."""
    said: dict[str, str] = dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))
    template = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>.+)", re.escape(case.operation.full_path))
    if (found := re.fullmatch(template, urlsplit(url).path)) is not None:
        said |= {name: unquote(each) for name, each in found.groupdict().items()}
    return all(1 <= len(each) <= 128 and all(map(_may_stand, each)) for each in said.values())


def _may_stand(letter: str) -> bool:
    return letter in "_.:@/-" or category(letter)[0] in "LN"


def holds(case: schemathesis.Case, base: str, agent: httpx.Client) -> None:
    """Call, and compare with what the document says of the operation."""
    made_real(case, agent)
    operators_only = {} not in case.operation.definition.raw.get("security", [{}])
    if case.meta.generation.mode.is_negative and "Authorization" not in (case.headers or {}):
        operators_only = False  # a credential that was left out on purpose stays out
    response = case.call(base_url=base, headers=AS_OPERATOR if operators_only else {})
    checks = list(CHECKS)
    if response.status_code in {413, 414, 431} or named_after_all(
        case, response.request.url
    ):  # refusals, too, before data are read
        checks.remove(negative_data_rejection)
    # JSON Schema cannot say what a message demands across its fields, that some letters are none once normalised, and
    # which versions there are.
    if case.method == "GET" and case.path not in NARROWER:
        checks.append(positive_data_acceptance)
    case.validate_response(response, checks=checks)
