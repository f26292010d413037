"""Workflows: one plan that people approve once, and the sessions of several agents under it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from aegis_core.api.auth import Caller
from aegis_core.api.logs import AGENT
from aegis_core.api.routing import ACTING, PREFIX, READING, GuardedRoute, Writer, auth_of, read
from aegis_core.api.schemas import SESSION_PARAMETER, Limit, Wait, body, problems, security
from aegis_core.protocol.errors import AuthError, InvalidRequestError
from aegis_core.protocol.messages import SessionOpened
from aegis_core.protocol.workflows import (
    InviteRequest,
    JoinRequest,
    JoinToken,
    Workflow,
    WorkflowChange,
    WorkflowRequest,
)

router = APIRouter(prefix=PREFIX, route_class=GuardedRoute)


@dataclass(slots=True)
class WorkflowPage:
    """Some workflows. Pass `next` as `after` for those that follow; null: there are no more."""

    workflows: tuple[Workflow, ...]
    next: str | None


_workflow, _page, _token, _session = map(Writer, (Workflow, WorkflowPage, JoinToken, SessionOpened))
_PATTERN = "^wf_[0-9a-f]{32}$"
WorkflowId = Annotated[
    str,
    Path(
        description="The `workflow_id` of a workflow.",
        json_schema_extra={"pattern": _PATTERN},
        examples=["wf_0f3c2a9d4b5e6f708192a3b4c5d6e7f8"],
    ),
]


@router.post(
    "/workflows", tags=["Workflows"], summary="Ask people about a plan as a whole",
    response_model=Workflow, responses=ACTING | problems(429), openapi_extra=body(WorkflowRequest),
)  # fmt: skip
async def open_workflow(request: Request, wait: Wait = 0) -> Response:
    """An agent opens it. People see the plan as a table, and approve or reject it once; with `wait`, answers as soon as
    they did. The same `request_id` again finds the same workflow."""
    caller = await auth_of(request).asker(request)
    message = await read(request, WorkflowRequest)
    request.scope[AGENT] = message.agent_id
    workflows = caller.context.governor.workflows
    opened = await workflows.open(message, token=caller.token)
    if wait and opened.state == "pending":
        opened = await workflows.get(opened.workflow_id, wait=wait, token=caller.token)
    return _workflow(opened)


@router.get(
    "/workflows", tags=["Workflows"], summary="All workflows",
    response_model=WorkflowPage, responses=READING, openapi_extra=security(operator=True),
)  # fmt: skip
async def workflows(
    request: Request,
    after: Annotated[str | None, Query(pattern=_PATTERN, description="The last of the page before.")] = None,
    limit: Limit = 100,
) -> Response:
    """The newest first, with those that ended within 7 days."""
    caller = await auth_of(request).viewer(request)
    found = await caller.context.governor.workflows.list(after=after, limit=limit)
    return _page(WorkflowPage(found, found[-1].workflow_id if len(found) == limit else None))


@router.get(
    "/workflows/{workflow_id}", tags=["Workflows"], summary="What is planned, and what is used of it",
    response_model=Workflow, responses=READING, openapi_extra=security(),
)  # fmt: skip
async def workflow(request: Request, workflow_id: WorkflowId, wait: Wait = 0) -> Response:
    """With its members. With `wait`, answers as soon as people decided about its plan. A session sees its own."""
    caller, _ = await auth_of(request).reader(request)
    return _workflow(await caller.context.governor.workflows.get(workflow_id, wait=wait, token=caller.token))


@router.post(
    "/workflows/{workflow_id}/invite", tags=["Workflows"], summary="Make a join token",
    response_model=JoinToken, responses=ACTING | problems(429), openapi_extra=body(InviteRequest),
)  # fmt: skip
async def invite(request: Request, workflow_id: WorkflowId) -> Response:
    """Its opener does, or an operator. The `join_token` is shown once: hand it to who shall join."""
    caller = await auth_of(request).asker(request)
    message = await read(request, InviteRequest)
    agent = await _opener(request, caller, message.agent_id)
    workflows = caller.context.governor.workflows
    return _token(await workflows.invite(workflow_id, message, agent_id=agent, token=caller.token, by=caller.name))


@router.post(
    "/workflows/{workflow_id}/join", tags=["Workflows"], summary="Join with a join token",
    response_model=SessionOpened, responses=problems(401, 403, 404, 409, 415, 422, 429, 503),
    openapi_extra=body(JoinRequest) | {"parameters": [SESSION_PARAMETER]},
)  # fmt: skip
async def join(request: Request, workflow_id: WorkflowId) -> Response:
    """A handshake under the workflow's plan: where API keys are in use, it takes one, and a live agent one of its own
    session tokens in the header `X-Aegis-Session`."""
    caller, entry = await auth_of(request).entrant(request)
    message = await read(request, JoinRequest)
    request.scope[AGENT] = message.agent_id
    if workflow_id.removeprefix("wf_") not in message.join_token:
        raise AuthError("This join token is of another workflow.", code="bad_join_token")
    return _session(await caller.context.governor.workflows.join(message, entry=entry))


@router.patch(
    "/workflows/{workflow_id}", tags=["Workflows"], summary="Make a plan smaller",
    response_model=Workflow, responses=ACTING, openapi_extra=body(WorkflowChange, operator=True),
)  # fmt: skip
async def change(request: Request, workflow_id: WorkflowId) -> Response:
    """Before or after it was approved; what is used stays used. Nothing becomes larger by it."""
    caller = await auth_of(request).approver(request)
    message = await read(request, WorkflowChange)
    return _workflow(await caller.context.governor.workflows.change(workflow_id, message, by=caller.name))


@router.delete(
    "/workflows/{workflow_id}", tags=["Workflows"], summary="End a workflow for all its members",
    response_model=Workflow, responses=READING, openapi_extra=security(),
)  # fmt: skip
async def end(request: Request, workflow_id: WorkflowId) -> Response:
    """At once, for the very next request of each: by its opener, with its session token, or by whoever may approve.
    Open grants may still be settled."""
    auth = auth_of(request)
    caller = await auth.caller(request)
    if caller.role == "session":
        _, agent = await auth.reader(request)
        found = await caller.context.governor.workflows.end(workflow_id, agent_id=agent, token=caller.token)
    else:
        caller = await auth.approver(request)
        found = await caller.context.governor.workflows.end(workflow_id, by=caller.name)
    return _workflow(found)


async def _opener(request: Request, caller: Caller, named: str | None) -> str | None:
    """The agent that acts; None for an operator."""
    if caller.is_person:
        return None
    if caller.token is not None:
        return (await auth_of(request).reader(request))[1]
    if named is None:
        problem = "is required without a session token"
        raise InvalidRequestError(f"agent_id: {problem}", field="agent_id", problem=problem)
    return named
