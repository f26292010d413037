"""What operators do: budgets, keys and brakes; and what they see: agents and events. Policy and profiles lie beside."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from aegis_core.api.auth import Caller
from aegis_core.api.logs import AGENT
from aegis_core.api.messages import (
    Braked,
    Done,
    Forgotten,
    Keys,
    KeyWish,
    ModeChange,
    ModeNow,
    OpenGrant,
    RefundMade,
)
from aegis_core.api.routing import ACTING, BRAKING, PREFIX, READING, WRITING, GuardedRoute, Writer, auth_of, read
from aegis_core.api.schemas import (
    AgentId,
    AgentPage,
    GrantId,
    KeyId,
    Limit,
    body,
    security,
)
from aegis_core.governor.operators import ApiKey, OpenRecord, RefundWish
from aegis_core.protocol.errors import NotFoundError
from aegis_core.protocol.fields import Identifier
from aegis_core.protocol.messages import BudgetChange, BudgetState, Scope

router = APIRouter(prefix=PREFIX, route_class=GuardedRoute)

_state, _agents, _keys, _key, _done, _braked, _mode, _forgotten, _refund = map(
    Writer, (BudgetState, AgentPage, Keys, ApiKey, Done, Braked, ModeNow, Forgotten, RefundMade)
)


@router.put(
    "/budgets/{scope}/{name:path}", tags=["Operators"], summary="Set one limit",
    response_model=BudgetState, responses=WRITING,
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
    caller = await auth_of(request).operator(request)
    message, context = await read(request, BudgetChange), caller.context
    if scope == "tenant" and name != context.tenant:
        raise NotFoundError(f"You govern the tenant {context.tenant!r} only.", kind="tenant", name=name)
    change = (scope, name, message.window, message.limit_usd)
    return _state(await context.governor.set_budget(*change, author=caller.name))


@router.post(
    "/grants/{grant_id}/refund", tags=["Operators"], summary="Take back some of a charge",
    response_model=RefundMade, responses=ACTING, openapi_extra=body(RefundWish, operator=True),
)  # fmt: skip
async def refund(request: Request, grant_id: GrantId) -> Response:
    """For grants that ended. It counts now: in the bill of today, and in the present windows of its budgets."""
    caller = await auth_of(request).operator(request)
    wish = await read(request, RefundWish)
    made = await caller.context.governor.operator.refund(
        grant_id, wish.usd, author=caller.name, reason=wish.reason, refund_id=wish.refund_id
    )
    return _refund(RefundMade.of(made))


@router.get(
    "/agents", tags=["Operators"], summary="The registered agents",
    response_model=AgentPage, responses=READING, openapi_extra=security(),
)  # fmt: skip
async def agents(request: Request, after: Annotated[Identifier | None, Query()] = None, limit: Limit = 100) -> Response:
    """By name, in pages."""
    caller = await auth_of(request).overseer(request)
    page = await caller.context.governor.agents(after=after, limit=limit)
    return _agents(AgentPage(page, page[-1].agent_id if len(page) == limit else None))


@router.get(
    "/keys", tags=["Operators"], summary="The API keys",
    response_model=Keys, responses=READING, openapi_extra=security(operator=True),
)  # fmt: skip
async def keys(request: Request) -> Response:
    """Never the keys themselves: what is stored are their hashes."""
    caller = await auth_of(request).operator(request)
    return _keys(Keys(tuple(await caller.context.governor.operator.keys())))


@router.post(
    "/keys", tags=["Operators"], summary="Make an API key",
    response_model=ApiKey, responses=WRITING, openapi_extra=body(KeyWish, operator=True),
)  # fmt: skip
async def create_key(request: Request) -> Response:
    """`secret` is the key, shown this once. From a tenant's first key on, its server asks for credentials."""
    caller = await auth_of(request).operator(request)
    wish = await read(request, KeyWish)
    made = await caller.context.governor.operator.create_key(wish.role, name=wish.name, author=caller.name)
    auth_of(request).keys.expire()
    return _key(made)


@router.post(
    "/keys/{key_id}/rotate", tags=["Operators"], summary="Replace an API key",
    response_model=ApiKey, responses=BRAKING, openapi_extra=security(operator=True),
)  # fmt: skip
async def rotate_key(request: Request, key_id: KeyId) -> Response:
    """A new key of the same role and name; the old one ends at once."""
    caller = await auth_of(request).operator(request)
    return _key(await caller.context.governor.operator.rotate_key(key_id, author=caller.name))


@router.delete(
    "/keys/{key_id}", tags=["Operators"], summary="Revoke an API key",
    response_model=Done, responses=READING, openapi_extra=security(operator=True),
)  # fmt: skip
async def revoke_key(request: Request, key_id: KeyId) -> Response:
    """It ends at once. Sessions that it opened go on until they are idle; block their agents to end those, too."""
    caller = await auth_of(request).operator(request)
    await caller.context.governor.operator.revoke_key(key_id, author=caller.name)
    auth_of(request).keys.expire()
    return _done(Done())


@router.post(
    "/agents/{agent_id:path}/block", tags=["Operators"], summary="Block an agent",
    response_model=Braked, responses=BRAKING, openapi_extra=security(operator=True),
)  # fmt: skip
async def block(request: Request, agent_id: AgentId) -> Response:
    """From its next request on it is refused. Its questions are declined; its open grants, listed, may still settle."""
    caller = await _about(request, agent_id)
    return _open(await caller.context.governor.operator.block(agent_id, author=caller.name))


@router.post(
    "/agents/{agent_id:path}/unblock", tags=["Operators"], summary="Let a blocked agent go on",
    response_model=Done, responses=BRAKING, openapi_extra=security(operator=True),
)  # fmt: skip
async def unblock(request: Request, agent_id: AgentId) -> Response:
    """From its next request on."""
    caller = await _about(request, agent_id)
    await caller.context.governor.operator.unblock(agent_id, author=caller.name)
    return _done(Done())


@router.post(
    "/agents/{agent_id:path}/forget", tags=["Operators"], summary="Remove an agent's words",
    response_model=Forgotten, responses=BRAKING, openapi_extra=security(operator=True),
)  # fmt: skip
async def forget(request: Request, agent_id: AgentId) -> Response:
    """What it wrote goes, from events, questions and the journal; its events, budgets and the bill stay."""
    caller = await _about(request, agent_id)
    return _forgotten(Forgotten(await caller.context.governor.operator.forget(agent_id, author=caller.name)))


async def _about(request: Request, agent_id: str) -> Caller:
    request.scope[AGENT] = agent_id
    return await auth_of(request).operator(request)


@router.post(
    "/halt", tags=["Operators"], summary="Halt the tenant",
    response_model=Braked, responses=BRAKING, openapi_extra=security(operator=True),
)  # fmt: skip
async def halt(request: Request) -> Response:
    """Every agent is refused from its next request on, everywhere. Open grants, listed, may still settle."""
    caller = await auth_of(request).operator(request)
    return _open(await caller.context.governor.operator.halt(author=caller.name))


@router.post(
    "/resume", tags=["Operators"], summary="Let the tenant go on",
    response_model=Done, responses=BRAKING, openapi_extra=security(operator=True),
)  # fmt: skip
async def resume(request: Request) -> Response:
    """Blocked agents stay blocked."""
    caller = await auth_of(request).operator(request)
    await caller.context.governor.operator.resume(author=caller.name)
    return _done(Done())


@router.put(
    "/mode", tags=["Operators"], summary="Enforce, or only observe",
    response_model=ModeNow, responses=WRITING, openapi_extra=body(ModeChange, operator=True),
)  # fmt: skip
async def set_mode(request: Request) -> Response:
    """While observing, everything is granted and booked, and verdicts say `would_be`."""
    caller = await auth_of(request).operator(request)
    wanted = (await read(request, ModeChange)).mode
    await caller.context.governor.operator.set_mode(wanted, author=caller.name)
    return _mode(ModeNow(wanted))


def _open(rows: list[OpenRecord]) -> Response:
    return _braked(Braked(tuple(map(OpenGrant.of, rows))))
