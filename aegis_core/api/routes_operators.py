"""What operators do: budgets, keys and brakes; and what they see: agents and events. Policy and profiles lie beside."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from aegis_core.api.auth import Caller
from aegis_core.api.logs import AGENT
from aegis_core.api.messages import (
    Braked,
    BudgetBegun,
    BudgetWindow,
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
from aegis_core.governor.people import may
from aegis_core.protocol.errors import AuthError, NotFoundError
from aegis_core.protocol.fields import Identifier
from aegis_core.protocol.messages import BudgetChange, BudgetState, Scope

router = APIRouter(prefix=PREFIX, route_class=GuardedRoute)

_state, _begun, _agents, _keys, _key, _done, _braked, _mode, _forgotten, _refund = map(
    Writer, (BudgetState, BudgetBegun, AgentPage, Keys, ApiKey, Done, Braked, ModeNow, Forgotten, RefundMade)
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
    _of_this_tenant(scope, name, context.tenant)
    change = (scope, name, message.window, message.limit_usd)
    return _state(await context.governor.set_budget(*change, author=caller.name))


@router.post(
    "/budgets/{scope}/{name:path}/reset", tags=["Operators"], summary="Begin a budget's window anew",
    response_model=BudgetBegun, responses=WRITING, openapi_extra=body(BudgetWindow, operator=True),
)  # fmt: skip
async def reset_budget(
    request: Request, scope: Scope, name: Annotated[str, Path(description="Whom: as for setting its limit.")]
) -> Response:
    """It mends a budget that counts in a day to come, because the clock of Redis was ahead (the event `budget_ahead`).
    What open grants hold counts as spent, and the bill stays."""
    caller = await auth_of(request).operator(request)
    window, context = (await read(request, BudgetWindow)).window, caller.context
    _of_this_tenant(scope, name, context.tenant)
    whose = context.governor.arbiter.prices.canonical(name) if scope == "model" else name
    done = await context.governor.operator.reset_budget(scope, whose, window, author=caller.name)
    return _begun(BudgetBegun(done.budget, done.spent_usd, done.held_usd))


def _of_this_tenant(scope: str, name: str, tenant: str) -> None:
    if scope == "tenant" and name != tenant:
        raise NotFoundError(f"You govern the tenant {tenant!r} only.", kind="tenant", name=name)


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
    caller = await auth_of(request).viewer(request)
    return _keys(Keys(tuple(await caller.context.governor.operator.keys())))


@router.post(
    "/keys", tags=["Operators"], summary="Make an API key",
    response_model=ApiKey, responses=ACTING, openapi_extra=body(KeyWish, operator=True),
)  # fmt: skip
async def create_key(request: Request) -> Response:
    """`secret` is the key, shown this once. From a tenant's first key on, its server asks for credentials. Operators
    make keys for agents; a person's is an owner's to make, and adds the person where there is none of the name."""
    caller = await auth_of(request).operator(request)
    wish = await read(request, KeyWish)
    if wish.role != "agent":
        caller = await auth_of(request).owner(request)
    made = await caller.context.governor.operator.create_key(wish.role, name=wish.name, author=caller.name)
    auth_of(request).keys.expire()
    return _key(made)


@router.post(
    "/keys/{key_id}/rotate", tags=["Operators"], summary="Replace an API key",
    response_model=ApiKey, responses=BRAKING, openapi_extra=security(operator=True),
)  # fmt: skip
async def rotate_key(request: Request, key_id: KeyId) -> Response:
    """A new key of the same person, or for agents of the same name; the old one ends at once. Persons rotate their own;
    of others', operators those of agents, and owners all."""
    caller = await _holder(request, key_id)
    return _key(await caller.context.governor.operator.rotate_key(key_id, author=caller.name))


@router.delete(
    "/keys/{key_id}", tags=["Operators"], summary="Revoke an API key",
    response_model=Done, responses=READING, openapi_extra=security(operator=True),
)  # fmt: skip
async def revoke_key(request: Request, key_id: KeyId) -> Response:
    """It ends at once. Sessions that it opened go on until they are idle; block their agents to end those, too.
    Who may is as for rotating it."""
    caller = await _holder(request, key_id)
    await caller.context.governor.operator.revoke_key(key_id, author=caller.name)
    auth_of(request).keys.expire()
    return _done(Done())


async def _holder(request: Request, key_id: str) -> Caller:
    """Who may end or replace a key: whose it is, of an agents' key an operator, and every owner."""
    caller = await auth_of(request).viewer(request)
    if may(caller.role, "owner"):
        return caller
    person = (await caller.context.governor.operator.key(key_id)).person
    if person is not None and person != caller.name:
        raise AuthError("This key is another person's; that person or an owner may.", code="not_yours")
    return caller if person is not None else await auth_of(request).operator(request)


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
    """While observing, everything is granted and booked, and verdicts say `would_be`; nobody is asked, so it takes an
    owner."""
    caller = await auth_of(request).operator(request)
    wanted = (await read(request, ModeChange)).mode
    if wanted == "observe":  # nobody is asked then
        await auth_of(request).owner(request)
    await caller.context.governor.operator.set_mode(wanted, author=caller.name)
    return _mode(ModeNow(wanted))


def _open(rows: list[OpenRecord]) -> Response:
    return _braked(Braked(tuple(map(OpenGrant.of, rows))))
