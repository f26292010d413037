"""Requests that wait for a person: operators decide, agents may watch their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from aegis_core.api.logs import AGENT
from aegis_core.api.messages import Done
from aegis_core.api.routing import ACTING, PREFIX, READING, WRITING, GuardedRoute, Writer, auth_of, read
from aegis_core.api.schemas import Limit, Wait, body, problems, security
from aegis_core.protocol.approvals import (
    Approval,
    DecisionRequest,
    Envelope,
    EnvelopeRequest,
    Listing,
    OperatorLimit,
)
from aegis_core.protocol.errors import AuthError
from aegis_core.protocol.fields import Identifier, Usd

router = APIRouter(prefix=PREFIX, route_class=GuardedRoute)


@dataclass(slots=True)
class ApprovalPage:
    """Some approvals. Pass `next` as `after` for those that follow; null: there are no more."""

    approvals: tuple[Approval, ...]
    next: str | None


@dataclass(slots=True)
class Envelopes:
    """What is approved in advance now."""

    envelopes: tuple[Envelope, ...]


@dataclass(slots=True)
class Limits:
    """Up to how much operators may approve, by name; who is not named may approve anything."""

    limits: dict[str, Usd]


_approval, _page, _envelope, _envelopes, _limits, _done = map(
    Writer, (Approval, ApprovalPage, Envelope, Envelopes, Limits, Done)
)
ApprovalId = Annotated[
    str,
    Path(
        description="The `escalation_id` of a verdict.",
        json_schema_extra={"pattern": "^ap_[0-9a-f]{32}$"},
        examples=["ap_0f3c2a9d4b5e6f708192a3b4c5d6e7f8"],
    ),
]
EnvelopeId = Annotated[str, Path(description="The envelope's id.", json_schema_extra={"pattern": "^ev_[0-9a-f]{16}$"})]
Operator = Annotated[Identifier, Path(description="The name that the operator's credential carries.")]


@router.get(
    "/approvals", tags=["Approvals"], summary="What waits for a person, or did",
    response_model=ApprovalPage, responses=READING, openapi_extra=security(operator=True),
)  # fmt: skip
async def approvals(
    request: Request,
    status: Annotated[Listing, Query(description="`open`, `ended`, or how they ended.")] = "open",
    agent_id: Annotated[Identifier | None, Query(description="Only this agent's.")] = None,
    after: Annotated[str | None, Query(pattern="^ap_[0-9a-f]{32}$", description="The last of the page before.")] = None,
    limit: Limit = 100,
) -> Response:
    """Open ones, the longest waiting first; ended ones, the newest first, as long as they are remembered."""
    caller = await auth_of(request).viewer(request)
    found = await caller.context.governor.approvals.list(status, agent_id=agent_id, after=after, limit=limit)
    return _page(ApprovalPage(found, found[-1].approval_id if len(found) == limit else None))


@router.get(
    "/approvals/{approval_id}", tags=["Approvals"], summary="One approval",
    response_model=Approval, responses=READING, openapi_extra=security(),
)  # fmt: skip
async def approval(request: Request, approval_id: ApprovalId, wait: Wait = 0) -> Response:
    """With `wait`, answers as soon as there is a vote or an end. An agent sees its own, and asks again with the same
    `request_id` to use what was approved."""
    caller, agent = await auth_of(request).reader(request)
    approvals = caller.context.governor.approvals
    if agent is not None and (await approvals.get(approval_id)).agent_id != agent:
        raise AuthError("This belongs to another agent.", code="not_yours")
    hears = caller.role in {"session", "agent"}  # and could use what was approved without asking again
    return _approval(await approvals.get(approval_id, wait=wait, claims=hears))


@router.post(
    "/approvals/{approval_id}/decision", tags=["Approvals"], summary="Approve or reject",
    response_model=Approval, responses=ACTING, openapi_extra=body(DecisionRequest, operator=True),
)  # fmt: skip
async def decide(request: Request, approval_id: ApprovalId) -> Response:
    """Exactly one outcome: the first valid decision. The same again is a harmless repeat, another one a 409 that says
    who decided what and when. Who decides is read from the credential. An `edit` is judged by the policy first."""
    auth = auth_of(request)
    try:
        caller = await auth.approver(request)
    except AuthError as error:
        if error.code in {"operator_only", "role_needed"}:  # somebody's credential, who decides nothing: worth a trace
            stranger = await auth.caller(request)
            name = stranger.name if stranger.token is None else (await auth.reader(request))[1] or ""
            approvals = stranger.context.governor.approvals
            whose = stranger.name if error.code == "role_needed" else f"agent:{name}"
            await approvals.trace_refusal(whose, error.code, of="stranger")
        raise
    message = await read(request, DecisionRequest)
    approvals = caller.context.governor.approvals
    done = await approvals.decide(
        approval_id, message.decision, by=caller.name, reason=message.reason, edit=message.edit,
        content=message.content, credential=caller.proof,
    )  # fmt: skip
    request.scope[AGENT] = done.agent_id
    return _approval(done)


@router.get(
    "/envelopes", tags=["Approvals"], summary="What is approved in advance",
    response_model=Envelopes, responses=READING, openapi_extra=security(operator=True),
)  # fmt: skip
async def envelopes(request: Request) -> Response:
    """And how much of it is used."""
    caller = await auth_of(request).viewer(request)
    return _envelopes(Envelopes(await caller.context.governor.approvals.envelopes()))


@router.post(
    "/envelopes", tags=["Approvals"], summary="Approve in advance",
    response_model=Envelope, responses=problems(401, 403, 404, 409, 415, 422, 503),
    openapi_extra=body(EnvelopeRequest, operator=True),
)  # fmt: skip
async def approve_ahead(request: Request) -> Response:
    """What one agent or session asks for, of one kind, is granted without asking, up to an amount and a time. What
    exceeds it asks again."""
    caller = await auth_of(request).approver(request)
    message = await read(request, EnvelopeRequest)
    return _envelope(await caller.context.governor.approvals.approve_ahead(message, by=caller.name))


@router.delete(
    "/envelopes/{envelope_id}", tags=["Approvals"], summary="Revoke what was approved in advance",
    response_model=Envelope, responses=READING, openapi_extra=security(operator=True),
)  # fmt: skip
async def revoke(request: Request, envelope_id: EnvelopeId) -> Response:
    """At once, for the very next request."""
    caller = await auth_of(request).approver(request)
    return _envelope(await caller.context.governor.approvals.revoke(envelope_id, by=caller.name))


@router.get(
    "/operator-limits", tags=["Approvals"], summary="Up to how much operators may approve",
    response_model=Limits, responses=READING, openapi_extra=security(operator=True),
)  # fmt: skip
async def limits(request: Request) -> Response:
    """By the names that their credentials carry."""
    caller = await auth_of(request).viewer(request)
    return _limits(Limits(await caller.context.governor.approvals.limits()))


@router.put(
    "/operator-limits/{operator:path}", tags=["Approvals"], summary="Set up to how much one operator may approve",
    response_model=Done, responses=WRITING, openapi_extra=body(OperatorLimit, operator=True),
)  # fmt: skip
async def set_limit(request: Request, operator: Operator) -> Response:
    """From the next decision on; null lifts the limit. Nobody sets a limit of their own."""
    caller = await auth_of(request).owner(request)
    message = await read(request, OperatorLimit)
    approvals = caller.context.governor.approvals
    await approvals.set_limit(operator, message.approve_up_to_usd, by=caller.name)
    return _done(Done())
