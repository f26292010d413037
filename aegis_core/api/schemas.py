"""What the OpenAPI document says beyond the routes' signatures: bodies, problems, headers, examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import Path, Query
from pydantic import BaseModel, Field, TypeAdapter
from pydantic.json_schema import models_json_schema

from aegis_core.api.messages import BudgetWindow, KeyWish, ModeChange, Rollback
from aegis_core.api.problems import MEDIA_TYPE, Problem
from aegis_core.governor.operators import RefundWish
from aegis_core.governor.standing import Standing
from aegis_core.governor.tenant import ChannelHealth
from aegis_core.protocol.approvals import DecisionRequest, EnvelopeRequest, OperatorLimit
from aegis_core.protocol.chains import QuoteTransaction
from aegis_core.protocol.experiments import ExperimentChange, ExperimentStart, PairPost
from aegis_core.protocol.fields import Identifier
from aegis_core.protocol.journal import JournalRequest
from aegis_core.protocol.locks import AcquireLock, ForceRelease, ReleaseLock, RenewLock
from aegis_core.protocol.messages import (
    AgentSummary,
    BudgetChange,
    ExtendRequest,
    Handshake,
    PermissionRequest,
    ReleaseRequest,
    SettleRequest,
)
from aegis_core.protocol.people import CredentialWish, PersonChange, PersonWish
from aegis_core.protocol.profiles import ProfileSet
from aegis_core.protocol.proposals import ProposalAct
from aegis_core.protocol.transactions import SendTransaction, TransactionOrder
from aegis_core.protocol.workflows import InviteRequest, JoinRequest, WorkflowChange, WorkflowRequest


@dataclass(slots=True)
class AgentPage:
    """Some agents by name. Pass `next` as `after` for those that follow; null: there are no more."""

    agents: tuple[AgentSummary, ...]
    next: str | None


@dataclass(slots=True)
class Health:
    """The process answers."""

    status: Literal["ok"] = "ok"


@dataclass(slots=True)
class Readiness:
    """The store answers, so decisions can be made. What it is, only a server without keys says."""

    status: Literal["ready"]
    tenant: str | None = None
    store: str | None = None
    channels: list[ChannelHealth] | None = None
    connections: Literal["bounded", "unbounded"] | None = None
    standing: Standing | None = None
    keys_required: bool | None = None


GrantId = Annotated[
    str,
    Path(
        description="A `grant_id` or `escalation_id` of a verdict.",
        json_schema_extra={"pattern": "^(gr|ap)_[0-9a-f]{32}$"},
        examples=["gr_0f3c2a9d4b5e6f708192a3b4c5d6e7f8"],
    ),
]
AgentId = Annotated[
    Identifier, Path(description="The agent's name; it may hold slashes.", examples=["crew-researcher-01"])
]
_WAIT: dict[str, Any] = {
    "ge": 0,
    "le": 60,
    "allow_inf_nan": False,
    "description": "Seconds to wait for news before answering as things stand.",
}
KeyId = Annotated[str, Path(description="A key's id, as the list shows it.", pattern="^k[0-9a-f]{16}$")]
Wait = Annotated[float, Query(**_WAIT)]


class Waiting(BaseModel):
    """The query of a direct route that can wait."""

    wait: Annotated[float, Field(**_WAIT)] = 0


WAIT_PARAMETER = {
    "name": "wait",
    "in": "query",
    "required": False,
    "description": _WAIT["description"],
    "schema": {"type": "number", "minimum": _WAIT["ge"], "maximum": _WAIT["le"], "default": 0},
}
SESSION_PARAMETER = {
    "name": "X-Aegis-Session",
    "in": "header",
    "required": False,
    "description": "One of the agent's own session tokens, to shake hands again while it is live.",
    "schema": {"type": "string", "pattern": r"^aegis_st_s[0-9a-f]{24}_[A-Za-z0-9_-]{43}_[A-Za-z0-9_.:@/%-]+$"},
}
Limit = Annotated[int, Query(ge=1, le=500, description="The most entries of a page.")]
Latest = Annotated[
    int | None, Query(ge=1, le=500, description="The newest so many instead, oldest of them first; at once.")
]
Document = dict[str, Any]

_EXAMPLES: dict[type[BaseModel], Document] = {
    Handshake: {
        "agent_id": "crew-researcher-01",
        "agent_framework": "crewai",
        "capabilities": ["web_search", "code_gen"],
        "max_priority": 7,
        "session_budget_usd": 2.50,
    },
    PermissionRequest: {
        "agent_id": "crew-researcher-01",
        "task_intent": "Summarise Sui governance proposals",
        "resource_type": "llm_tokens",
        "estimated_cost_usd": 0.035,
        "priority": 5,
        "logic_density": 3,
    },
    SettleRequest: {"agent_id": "crew-researcher-01", "cost_usd": 0.031},
    ReleaseRequest: {"agent_id": "crew-researcher-01"},
    ExtendRequest: {"agent_id": "crew-researcher-01", "seconds": 600},
    TransactionOrder: {
        "agent_id": "trader",
        "chain": "monad",
        "wallet": "0x1111111111111111111111111111111111111111",
        "transaction": "0x02f8…",
        "task_intent": "Pay the invoice 7113",
    },
    QuoteTransaction: {"chain": "monad", "transaction": "0x02f8…"},
    SendTransaction: {
        "agent_id": "trader",
        "grant_id": "gr_5f0c",
        "transaction": "0x02f8…",
    },
    JournalRequest: {"agent_id": "crew-researcher-01", "act": "start", "key": "call_1", "runner": "worker-7"},
    BudgetChange: {"window": "day", "limit_usd": 25},
    AcquireLock: {"agent_id": "crew-researcher-01", "priority": 7, "ttl_seconds": 30},
    RenewLock: {"agent_id": "crew-researcher-01", "lock_token": "lk_0f3c2a9d4b5e6f708192a3b4c5d6e7f8"},
    ReleaseLock: {
        "agent_id": "crew-researcher-01",
        "resource": "wallet_main",
        "lock_token": "lk_0f3c2a9d4b5e6f708192a3b4c5d6e7f8",
    },
    ForceRelease: {"fence": 41},
    DecisionRequest: {"decision": "approve", "reason": "a known supplier"},
    EnvelopeRequest: {
        "agent_id": "crew-researcher-01",
        "tool": "send_certificate",
        "limit_usd": 50,
        "seconds": 3600,
        "reason": "the quarterly mailing",
    },
    OperatorLimit: {"approve_up_to_usd": 100},
    WorkflowRequest: {
        "agent_id": "bookkeeper",
        "name": "close the books",
        "budget_usd": 9,
        "seconds": 7200,
        "plan": [
            {"tool": "export_ledger", "times": 4, "upto_usd": 0.1},
            {"resource_type": "llm_tokens", "upto_usd": 4},
            {"tool": "pay_invoice", "times": 20, "upto_usd": 5},
        ],
        "may_join": ["planner", "payer-*"],
    },
    InviteRequest: {"uses": 2, "seconds": 600, "agents": "payer-*"},
    JoinRequest: {"join_token": "aegis_join_…", "agent_id": "payer-1", "capabilities": ["pay"]},
    WorkflowChange: {"content": "6f1d…", "budget_usd": 5, "steps": [{"number": 3, "times": 10}]},
    KeyWish: {"role": "agent", "name": "research-cluster"},
    BudgetWindow: {"window": "day"},
    ModeChange: {"mode": "observe"},
    PersonWish: {"name": "ada", "role": "approver", "groups": ["finance"], "telegram": 123, "approve_up_to_usd": 50},
    PersonChange: {"role": "operator", "approve_up_to_usd": None},
    CredentialWish: {"kind": "key"},
    RefundWish: {"usd": 0.5, "reason": "the provider credited it"},
    Rollback: {"version": 1},
    ProfileSet: {
        "profiles": [
            {
                "match": "crew-*",
                "max_priority": 7,
                "capabilities": ["web_search"],
                "budgets": {"day": 5},
                "labels": {"team": "research"},
                "settlement": "estimate",
            }
        ]
    },
    ExperimentStart: {"task_type": "draft", "present": "gpt-4o", "candidate": "gpt-4o-mini", "judge": "verifier"},
    ExperimentChange: {"act": "pause", "reason": "the provider is down"},
    ProposalAct: {"act": "approve", "reason": "checked the backtest"},
    PairPost: {"experiment_id": "x-1a2b3c4d", "request_id": "order-17", "present": 1, "candidate": 1},
}
_WORDS = {
    400: "The body is not JSON, or a header that says who calls is given twice.",
    401: "A credential is wrong, or missing where one is needed.",
    403: "The thing belongs to somebody else, or the request comes from a foreign page or host.",
    404: "Something named does not exist.",
    409: "An id was reused with other content, or the thing is closed or decided otherwise.",
    412: "Another version is in force than the one that `If-Match` names.",
    413: "The body is too large.",
    414: "The path and its query are too long, or there are too many parameters.",
    415: "The body is not declared as JSON.",
    422: "A field cannot be accepted; the answer names it.",
    428: "`If-Match` is missing.",
    429: "There is no room for more of them, or there were too many in this second.",
    431: "The headers are too large together, or too many.",
    503: "Redis does not answer as it must. No decision was made.",
}
_OF_THE_GATE = (400, 413, 414, 431)
_HEADERS = {
    401: {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}}},
    429: {"Retry-After": {"required": True, "schema": {"type": "string"}}},
    503: {"Retry-After": {"required": True, "schema": {"type": "string"}}},
}
_REQUEST_ID = {
    "X-Request-Id": {"required": True, "schema": {"type": "string"}, "description": "As sent, else made up."}
}
_REF = "#/components/schemas/{model}"
_BEARER = {
    "type": "http",
    "scheme": "bearer",
    "description": "An agent's session token, an API key, or the operator secret. Where there are no keys, on "
    "loopback, it may be absent from agents' calls.",
}


def problems(*statuses: int) -> dict[int | str, Document]:
    """The `responses` of a route that may answer with these errors, and with those of the gate before all routes."""
    content = {MEDIA_TYPE: {"schema": {"$ref": _REF.format(model="Problem")}}}
    return {
        status: {"description": _WORDS[status], "content": content, "headers": _HEADERS.get(status, {})}
        for status in sorted({*statuses, *_OF_THE_GATE})
    }


def body(model: type[BaseModel], *, operator: bool = False) -> Document:
    """The `openapi_extra` of a route that reads a message by itself."""
    content = {
        "schema": {"$ref": _REF.format(model=model.__name__)},
        "examples": {"typical": {"value": _EXAMPLES[model]}},
    }
    return {"requestBody": {"required": True, "content": {"application/json": content}}, **security(operator=operator)}


def document_body() -> Document:
    """The `openapi_extra` of the route that reads a policy, whose own loader says what is wrong with it and where."""
    example = {
        "schema": 1,
        "rules": [{"name": "no-more-than-50", "type": "max_cost", "limit_usd": 50, "effect": "deny"}],
    }
    content = {"schema": {"type": "object"}, "examples": {"typical": {"value": example}}}
    return {
        "requestBody": {"required": True, "content": {"application/json": content}},
        **security(operator=True),
    }


def security(*, operator: bool = False) -> Document:
    """Which credential a route takes."""
    return {"security": [{"Bearer": []}] if operator else [{}, {"Bearer": []}]}


def completed(document: Document) -> Document:
    """Add to FastAPI's document what the routes refer to."""
    _, definitions = models_json_schema([(model, "validation") for model in _EXAMPLES], ref_template=_REF)
    refused = TypeAdapter(Problem).json_schema(ref_template=_REF, mode="serialization")
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas |= definitions["$defs"] | refused.pop("$defs") | {"Problem": {**refused, "additionalProperties": True}}
    _require_one(schemas["SettleRequest"])
    components["securitySchemes"] = {"Bearer": _BEARER}
    for path in document["paths"].values():
        for operation in path.values():
            for answer in operation["responses"].values():
                answer["headers"] = {**_REQUEST_ID, **answer.get("headers", {})}
    return document


def _require_one(settlement: Document) -> None:
    """Say in JSON Schema what the message checks by itself: exactly one of dollars and usage, or neither is known."""
    null = {"type": "null"}
    neither = {"cost_usd": null, "usage": null, "escalation_usage": null, "estimated": {"const": True}}
    settlement["oneOf"] = [
        {"required": ["cost_usd"], "properties": {"cost_usd": {"not": null}, "usage": null, "escalation_usage": null}},
        {"required": ["usage"], "properties": {"usage": {"not": null}, "cost_usd": null}},
        {"required": ["estimated"], "properties": neither},
    ]
