"""Locks over HTTP: agents take, keep and give back; operators look, and take from holders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from aegis_core.api.logs import AGENT
from aegis_core.api.routing import ACTING, PREFIX, READING, WRITING, GuardedRoute, Writer, auth_of, read, while_there
from aegis_core.api.schemas import Wait, body, problems, security
from aegis_core.protocol.fields import Identifier
from aegis_core.protocol.locks import (
    AcquireLock,
    ForceRelease,
    LockState,
    LockSummary,
    LockTaken,
    ReleaseLock,
    RenewLock,
)

router = APIRouter(prefix=PREFIX, route_class=GuardedRoute)


@dataclass(slots=True)
class LockPage:
    """Every lock that is held or waited for."""

    locks: tuple[LockSummary, ...]


@dataclass(slots=True)
class TakenPage:
    """The leases that were ended."""

    taken: tuple[LockTaken, ...]


Resource = Annotated[Identifier, Path(description="The lock's name; it may hold slashes.", examples=["wallet_main"])]

_page, _state, _taken = map(Writer, (LockPage, LockState, TakenPage))


@router.get(
    "/locks", tags=["Locks"], summary="Who holds which lock, and who waits",
    response_model=LockPage, responses=READING, openapi_extra=security(),
)  # fmt: skip
async def locks(request: Request, resource: Annotated[Identifier | None, Query()] = None) -> Response:
    """Holders with their fences, since when, until when; waiters by their places. Never a token."""
    caller = await auth_of(request).overseer(request)
    return _page(LockPage(await caller.context.governor.locks.overview(resource)))


@router.post(
    "/locks/{resource:path}/acquire", tags=["Locks"], summary="Take a lock, or a place in its queue",
    response_model=LockState, responses=ACTING | problems(429), openapi_extra=body(AcquireLock),
)  # fmt: skip
async def acquire(request: Request, resource: Resource, wait: Wait = 0) -> Response:
    """Without `wait` it only tries. With it, an answer `waiting` keeps its place for 15 s: ask again with its token.

    `fence` grows with each lease of the lock: let the resource refuse writes with a lower one.
    """
    caller = await auth_of(request).asker(request)
    message = await read(request, AcquireLock)
    request.scope[AGENT] = message.agent_id
    manager = caller.context.governor.locks
    asking = manager.acquire(resource, message, token=caller.token, wait=wait)
    if not wait:
        return _state(await asking)
    state = await while_there(request, asking)
    if state.state == "held":  # what was handed over while it waited is claimed in the caller's name
        claim = RenewLock(agent_id=message.agent_id, lock_token=state.lock_token)
        state = await manager.renew(resource, claim, token=caller.token)
    return _state(state)


@router.post(
    "/locks/{resource:path}/renew", tags=["Locks"], summary="Keep a lease",
    response_model=LockState, responses=ACTING, openapi_extra=body(RenewLock),
)  # fmt: skip
async def renew(request: Request, resource: Resource, wait: Wait = 0) -> Response:
    """With `wait`, stays for a notice that somebody with a higher priority needs the lock (`evicting`)."""
    caller = await auth_of(request).asker(request)
    message = await read(request, RenewLock)
    request.scope[AGENT] = message.agent_id
    asking = caller.context.governor.locks.renew(resource, message, token=caller.token, wait=wait)
    return _state(await (while_there(request, asking) if wait else asking))


@router.post(
    "/release-lock", tags=["Locks"], summary="Give a lease back",
    response_model=LockState, responses=ACTING, openapi_extra=body(ReleaseLock),
)  # fmt: skip
async def release(request: Request) -> Response:
    """Also leaves the queue. What is free goes to the next in the same step."""
    caller = await auth_of(request).asker(request)
    message = await read(request, ReleaseLock)
    request.scope[AGENT] = message.agent_id
    return _state(await caller.context.governor.locks.release(message, token=caller.token))


@router.post(
    "/locks/{resource:path}/force-release", tags=["Locks"], summary="Take a lock from its holders",
    response_model=TakenPage, responses=WRITING, openapi_extra=body(ForceRelease, operator=True),
)  # fmt: skip
async def force_release(request: Request, resource: Resource) -> Response:
    """From all, or from the one with `fence`. They are refused from then on, everywhere; the next gets it at once."""
    caller = await auth_of(request).operator(request)
    message = await read(request, ForceRelease)
    taken = await caller.context.governor.locks.force_release(resource, fence=message.fence, author=caller.name)
    return _taken(TakenPage(taken))
