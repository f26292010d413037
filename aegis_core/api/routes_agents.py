"""What agents do: shake hands, ask, settle, and read what is theirs. Every decision, refusals too, is an HTTP 200."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TypeVar

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from aegis_core.api.auth import Caller
from aegis_core.api.logs import AGENT, GRANT, request_id_of
from aegis_core.api.routing import ACTING, PREFIX, READING, DirectRoute, GuardedRoute, Writer, auth_of, read
from aegis_core.api.schemas import (
    SESSION_PARAMETER,
    WAIT_PARAMETER,
    AgentId,
    GrantId,
    Wait,
    Waiting,
    body,
    problems,
    security,
)
from aegis_core.policy.text import is_heavy, reading
from aegis_core.protocol.errors import AuthError, InvalidRequestError, NotFoundError
from aegis_core.protocol.evidence import traceparent_in
from aegis_core.protocol.journal import JournalEntry, JournalRequest
from aegis_core.protocol.messages import (
    BudgetReport,
    ExtendRequest,
    Handshake,
    PermissionRequest,
    Receipt,
    ReleaseRequest,
    SessionOpened,
    SettleRequest,
    Verdict,
)
from aegis_core.protocol.parsing import invalid

router = APIRouter(prefix=PREFIX, route_class=GuardedRoute)
hot = APIRouter(prefix=PREFIX, route_class=DirectRoute)

_Closing = TypeVar("_Closing", SettleRequest, ReleaseRequest, ExtendRequest)

_session, _verdict, _receipt, _report = map(Writer, (SessionOpened, Verdict, Receipt, BudgetReport))
_entry = Writer(JournalEntry)


def _wait(request: Request) -> float:
    """The query's ``wait``, for a direct route."""
    if not request.scope["query_string"]:
        return 0
    try:
        return Waiting.model_validate(dict(request.query_params)).wait
    except ValidationError as error:
        raise invalid(error) from None


def _traceparent(request: Request) -> str | None:
    """The trace of the caller, for a request that says none itself. Several, or a broken one, are none."""
    found = [value for name, value in request.scope["headers"] if name == b"traceparent"]
    return traceparent_in(found[0].decode("latin-1")) if len(found) == 1 else None


@router.post(
    "/handshake", tags=["Agents"], summary="Register an agent and open a session",
    response_model=SessionOpened, responses=problems(401, 403, 404, 415, 422, 429, 503),
    openapi_extra=body(Handshake) | {"parameters": [SESSION_PARAMETER]},
)  # fmt: skip
async def handshake(request: Request) -> Response:
    """Step 1. The `session_token` is shown once: send it as `Authorization: Bearer …` with everything that follows.

    Where API keys are in use, this call takes one. A live agent is then taken over only with one of its own session
    tokens in the header `X-Aegis-Session`, or by an operator's key.
    """
    caller, entry = await auth_of(request).entrant(request)
    message = await read(request, Handshake)
    request.scope[AGENT] = message.agent_id
    return _session(await caller.context.governor.handshake(message, entry=entry))


@hot.post(
    "/request-permission", tags=["Agents"], summary="Ask before spending",
    response_model=Verdict, responses=ACTING, openapi_extra=body(PermissionRequest) | {"parameters": [WAIT_PARAMETER]},
)  # fmt: skip
async def request_permission(request: Request) -> Response:
    """Step 2. The verdict is GRANTED, PENDING or REJECTED, with a reason, what is left, and the model to use."""
    caller = await auth_of(request).asker(request)
    wait = _wait(request)
    message = await read(request, PermissionRequest)
    request.scope[AGENT] = message.agent_id
    if message.traceparent is None and (trace := _traceparent(request)) is not None:
        message = message.model_copy(update={"traceparent": trace})
    if is_heavy(message.task_intent):
        await asyncio.to_thread(reading, message.task_intent)
    began = None if wait else perf_counter()
    try:
        verdict = await caller.context.governor.request_permission(
            message, token=caller.token, wait=wait, http_request_id=request_id_of(request.scope)
        )
    except NotFoundError as error:
        await auth_of(request).recheck(caller, message.agent_id, error)
        raise
    caller.context.metrics.took(began)
    request.scope[GRANT] = verdict.grant_id
    return _verdict(verdict)


@router.post(
    "/grants/{grant_id}/settle", tags=["Grants"], summary="Report what a grant really cost",
    response_model=Receipt, responses=ACTING, openapi_extra=body(SettleRequest),
)  # fmt: skip
async def settle(request: Request, grant_id: GrantId) -> Response:
    """Give `cost_usd`, or `usage` to have it priced. The same settlement again is a harmless repeat."""
    caller, message = await _closing(request, SettleRequest)
    return _receipt(await caller.context.governor.settle(grant_id, message, token=caller.token))


@router.post(
    "/grants/{grant_id}/release", tags=["Grants"], summary="Give a grant back unused",
    response_model=Receipt, responses=ACTING, openapi_extra=body(ReleaseRequest),
)  # fmt: skip
async def release(request: Request, grant_id: GrantId) -> Response:
    """Also withdraws a PENDING request."""
    caller, message = await _closing(request, ReleaseRequest)
    return _receipt(await caller.context.governor.release(grant_id, message, token=caller.token))


@router.post(
    "/grants/{grant_id}/extend", tags=["Grants"], summary="Keep a long call's grant alive",
    response_model=Receipt, responses=ACTING, openapi_extra=body(ExtendRequest),
)  # fmt: skip
async def extend(request: Request, grant_id: GrantId) -> Response:
    """The deadline moves to so many seconds from now, never earlier, up to the tenant's cap."""
    caller, message = await _closing(request, ExtendRequest)
    return _receipt(await caller.context.governor.extend(grant_id, message, token=caller.token))


@router.post(
    "/journal", tags=["Grants"], summary="Start or finish a side effect that must not run twice",
    response_model=JournalEntry, responses=ACTING | problems(429), openapi_extra=body(JournalRequest),
)  # fmt: skip
async def journal(request: Request) -> Response:
    """`start` before it and `finish` after it; what was started and never finished has an unknown outcome."""
    caller = await auth_of(request).asker(request)
    message = await read(request, JournalRequest)
    request.scope[AGENT] = message.agent_id
    return _entry(await caller.context.governor.journal.write(message, token=caller.token))


async def _closing(request: Request, model: type[_Closing]) -> tuple[Caller, _Closing]:
    caller = await auth_of(request).asker(request)
    message = await read(request, model)
    if caller.role == "nobody" and message.agent_id is None:
        problem = "is required without a session token"
        raise InvalidRequestError(f"agent_id: {problem}", field="agent_id", problem=problem)
    if message.agent_id is not None:
        request.scope[AGENT] = message.agent_id
    return caller, message


@router.get(
    "/grants/{grant_id}", tags=["Grants"], summary="A verdict as it stands now",
    response_model=Verdict, responses=READING, openapi_extra=security(),
)  # fmt: skip
async def look(request: Request, grant_id: GrantId, wait: Wait = 0) -> Response:
    """With `wait`, answers as soon as a PENDING one is decided."""
    caller, agent = await auth_of(request).reader(request)
    governor = caller.context.governor
    if agent is not None and (await governor.wait_for(grant_id, 0, claims=False)).agent_id != agent:
        raise AuthError("This belongs to another agent.", code="not_yours")
    return _verdict(await governor.wait_for(grant_id, wait, claims=caller.role != "operator"))


@router.get(
    "/budget/{agent_id:path}", tags=["Budgets"], summary="Every budget that bounds an agent",
    response_model=BudgetReport, responses=READING, openapi_extra=security(),
)  # fmt: skip
async def budget(request: Request, agent_id: AgentId) -> Response:
    """Limits, what is spent and reserved, and when each window starts again."""
    request.scope[AGENT] = agent_id
    caller, _ = await auth_of(request).reader(request, agent_id)
    return _report(await caller.context.governor.budget(agent_id))
