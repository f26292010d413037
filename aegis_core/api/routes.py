"""The routes. They read, ask the governor and write; every decision, refusals too, is an HTTP 200."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, cast

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.routing import request_response

from aegis_core.api.auth import Auth, Credential
from aegis_core.api.logs import AGENT
from aegis_core.api.problems import unreadable
from aegis_core.api.schemas import (
    WAIT_PARAMETER,
    AgentId,
    AgentPage,
    EventId,
    EventPage,
    GrantId,
    Health,
    Latest,
    Limit,
    Readiness,
    Wait,
    Waiting,
    body,
    problems,
    security,
)
from aegis_core.errors import AuthError, InvalidRequestError, NotFoundError
from aegis_core.fields import Identifier
from aegis_core.governor import ResourceGovernor
from aegis_core.protocol import (
    BudgetChange,
    BudgetReport,
    BudgetState,
    Event,
    ExtendRequest,
    Handshake,
    PermissionRequest,
    Receipt,
    ReleaseRequest,
    Scope,
    SessionOpened,
    SettleRequest,
    Verdict,
    invalid,
)
from aegis_core.store.ledger import Ledger


class DirectRoute(APIRoute):
    """A route that FastAPI documents and Starlette runs.

    Solving FastAPI's dependencies, and the stacks that close them, would take a fifth of the time of a whole answer.
    """

    def __init__(self, path: str, endpoint: Callable[[Request], Awaitable[Response]], **more: Any) -> None:
        super().__init__(path, endpoint, **more)
        self.app = request_response(endpoint)


router = APIRouter(prefix="/api/v1")
hot = APIRouter(prefix="/api/v1", route_class=DirectRoute)

_Model = TypeVar("_Model", bound=BaseModel)
_Closing = TypeVar("_Closing", SettleRequest, ReleaseRequest, ExtendRequest)


@dataclass(frozen=True, slots=True)
class Service:
    """What the routes work with; the application's `state.service`."""

    governor: ResourceGovernor
    ledger: Ledger
    auth: Auth


_ACTING = problems(400, 401, 403, 404, 409, 413, 415, 422, 503)
_READING = problems(401, 403, 404, 413, 422, 503)


class _Writer:
    """Serializes one kind of answer, once."""

    def __init__(self, kind: Any) -> None:
        self._dump = TypeAdapter[Any](kind).dump_json

    def __call__(self, value: object) -> Response:
        # What agents say may hold terminal controls beyond ASCII; JSON says the same without them.
        return Response(self._dump(value, ensure_ascii=True), media_type="application/json")


_session, _verdict, _receipt, _report, _state, _agents, _events, _health, _ready = map(
    _Writer,
    (SessionOpened, Verdict, Receipt, BudgetReport, BudgetState, AgentPage, EventPage, Health, Readiness),
)


def _service(request: Request) -> Service:
    return cast("Service", request.app.state.service)


async def _read(request: Request, model: type[_Model]) -> _Model:
    """The body as a message. JSON types are taken at their word: ``"5"`` and ``true`` are not priorities."""
    try:
        return model.model_validate_json(await request.body(), strict=True)
    except ValidationError as error:
        raise unreadable(error) from None


def _wait(request: Request) -> float:
    """The query's ``wait``, for a direct route."""
    if not request.scope["query_string"]:
        return 0
    try:
        return Waiting.model_validate(dict(request.query_params)).wait
    except ValidationError as error:
        raise invalid(error) from None


@router.post(
    "/handshake", tags=["Agents"], summary="Register an agent and open a session",
    response_model=SessionOpened, responses=problems(400, 401, 403, 404, 413, 415, 422, 429, 503),
    openapi_extra=body(Handshake),
)  # fmt: skip
async def handshake(request: Request) -> Response:
    """Step 1. The `session_token` is shown once: send it as `Authorization: Bearer …` with everything that follows."""
    service = _service(request)
    service.auth.read(request)
    message = await _read(request, Handshake)
    request.scope[AGENT] = message.agent_id
    return _session(await service.governor.handshake(message))


@hot.post(
    "/request-permission", tags=["Agents"], summary="Ask before spending",
    response_model=Verdict, responses=_ACTING, openapi_extra=body(PermissionRequest) | {"parameters": [WAIT_PARAMETER]},
)  # fmt: skip
async def request_permission(request: Request) -> Response:
    """Step 2. The verdict is GRANTED, PENDING or REJECTED, with a reason, what is left, and the model to use."""
    service = _service(request)
    credential = service.auth.read(request)
    wait = _wait(request)
    message = await _read(request, PermissionRequest)
    request.scope[AGENT] = message.agent_id
    return _verdict(await service.governor.request_permission(message, token=credential.token, wait=wait))


@router.post(
    "/grants/{grant_id}/settle", tags=["Grants"], summary="Report what a grant really cost",
    response_model=Receipt, responses=_ACTING, openapi_extra=body(SettleRequest),
)  # fmt: skip
async def settle(request: Request, grant_id: GrantId) -> Response:
    """Give `cost_usd`, or `usage` to have it priced. The same settlement again is a harmless repeat."""
    message, token = await _closing(request, SettleRequest)
    return _receipt(await _service(request).governor.settle(grant_id, message, token=token))


@router.post(
    "/grants/{grant_id}/release", tags=["Grants"], summary="Give a grant back unused",
    response_model=Receipt, responses=_ACTING, openapi_extra=body(ReleaseRequest),
)  # fmt: skip
async def release(request: Request, grant_id: GrantId) -> Response:
    """Also withdraws a PENDING request."""
    message, token = await _closing(request, ReleaseRequest)
    return _receipt(await _service(request).governor.release(grant_id, message, token=token))


@router.post(
    "/grants/{grant_id}/extend", tags=["Grants"], summary="Keep a long call's grant alive",
    response_model=Receipt, responses=_ACTING, openapi_extra=body(ExtendRequest),
)  # fmt: skip
async def extend(request: Request, grant_id: GrantId) -> Response:
    """The deadline moves to so many seconds from now, never earlier, up to the tenant's cap."""
    message, token = await _closing(request, ExtendRequest)
    return _receipt(await _service(request).governor.extend(grant_id, message, token=token))


async def _closing(request: Request, model: type[_Closing]) -> tuple[_Closing, str | None]:
    credential: Credential = _service(request).auth.read(request)
    message = await _read(request, model)
    if credential.kind == "none" and message.agent_id is None:
        problem = "is required without a session token"
        raise InvalidRequestError(f"agent_id: {problem}", field="agent_id", problem=problem)
    if message.agent_id is not None:
        request.scope[AGENT] = message.agent_id
    return message, credential.token


@router.get(
    "/grants/{grant_id}", tags=["Grants"], summary="A verdict as it stands now",
    response_model=Verdict, responses=_READING, openapi_extra=security(),
)  # fmt: skip
async def look(request: Request, grant_id: GrantId, wait: Wait = 0) -> Response:
    """With `wait`, answers as soon as a PENDING one is decided."""
    service = _service(request)
    caller = await service.auth.reader(request)
    if caller is not None and (await service.governor.wait_for(grant_id, 0)).agent_id != caller:
        raise AuthError("This belongs to another agent.", code="not_yours")
    return _verdict(await service.governor.wait_for(grant_id, wait))


@router.get(
    "/budget/{agent_id:path}", tags=["Budgets"], summary="Every budget that bounds an agent",
    response_model=BudgetReport, responses=_READING, openapi_extra=security(),
)  # fmt: skip
async def budget(request: Request, agent_id: AgentId) -> Response:
    """Limits, what is spent and reserved, and when each window starts anew."""
    service = _service(request)
    request.scope[AGENT] = agent_id
    await service.auth.reader(request, agent_id)
    return _report(await service.governor.budget(agent_id))


@router.put(
    "/budgets/{scope}/{name:path}", tags=["Operators"], summary="Set one limit",
    response_model=BudgetState, responses=problems(400, 401, 403, 404, 413, 415, 422, 503),
    openapi_extra=body(BudgetChange, operator=True),
)  # fmt: skip
async def set_budget(
    request: Request,
    scope: Scope,
    name: Annotated[
        str, Path(description="Whom: an agent, session, tenant, model, resource type, or label `team=research`.")
    ],
) -> Response:
    """What is spent and reserved stays as it is, so a lowered limit may lie below it; then nothing more is granted."""
    service = _service(request)
    service.auth.operator(request)
    message = await _read(request, BudgetChange)
    if scope == "tenant" and name != service.governor.tenant:
        raise NotFoundError(
            f"This server governs the tenant {service.governor.tenant!r} only.", kind="tenant", name=name
        )
    return _state(await service.governor.set_budget(scope, name, message.window, message.limit_usd))


@router.get(
    "/agents", tags=["Operators"], summary="The registered agents",
    response_model=AgentPage, responses=_READING, openapi_extra=security(),
)  # fmt: skip
async def agents(request: Request, after: Annotated[Identifier | None, Query()] = None, limit: Limit = 100) -> Response:
    """By name, in pages."""
    service = _service(request)
    await service.auth.overseer(request)
    page = await service.governor.agents(after=after, limit=limit)
    return _agents(AgentPage(page, page[-1].agent_id if len(page) == limit else None))


@router.get(
    "/events", tags=["Operators"], summary="What happened",
    response_model=EventPage, responses=_READING, openapi_extra=security(),
)  # fmt: skip
async def events(
    request: Request, after: EventId = "0", limit: Limit = 100, wait: Wait = 0, latest: Latest = None
) -> Response:
    """One event for each decision and act, in their order. With `wait`, answers as soon as there is one."""
    service = _service(request)
    await service.auth.overseer(request)
    if latest is not None:
        return _events(_page(await service.governor.latest_events(latest), "0"))
    if after == "$":
        after = await service.ledger.newest_event()
    until = time.monotonic() + wait
    left = wait
    while True:
        # The governor blocks for a moment only, so that a server that stops does not wait for it.
        found = await service.governor.events(after=after, limit=limit, wait=max(0.0, left))
        left = until - time.monotonic()
        if found or left <= 0:
            return _events(_page(found, after))


def _page(found: tuple[Event, ...], after: str) -> EventPage:
    return EventPage(found, found[-1].id if found else after)


@router.get(
    "/health",
    tags=["Server"],
    summary="Is the process alive?",
    response_model=Health,
    responses=problems(403, 404, 413),
)
async def health() -> Response:
    """Says nothing about Redis; see `/ready`."""
    return _health(Health())


@router.get(
    "/ready",
    tags=["Server"],
    summary="Can decisions be made?",
    response_model=Readiness,
    responses=problems(403, 404, 413, 503),
)
async def ready(request: Request) -> Response:
    """Asks Redis."""
    service = _service(request)
    store = service.ledger.store
    await store.command("PING")
    return _ready(Readiness("ready", service.governor.tenant, f"{store.server.product} {store.server.version}"))
