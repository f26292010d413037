"""The policy and its versions, and the profiles of agents."""

from __future__ import annotations

import asyncio
import json
import re
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header, Path, Request, Response

from aegis_core.api.auth import Caller
from aegis_core.api.messages import PolicyHistory, PolicyNow, Rollback, StoredPolicy, VersionNow
from aegis_core.api.routing import PREFIX, READING, WRITING, GuardedRoute, Writer, auth_of, read
from aegis_core.api.schemas import body, document_body, problems, security
from aegis_core.governor.people import may
from aegis_core.policy.engine import Policy
from aegis_core.policy.loading import load_policy
from aegis_core.policy.weakening import weakened
from aegis_core.protocol.errors import AuthError, InvalidRequestError
from aegis_core.protocol.profiles import ProfileSet

router = APIRouter(prefix=PREFIX, route_class=GuardedRoute)

_now, _stored, _history, _profiles, _version = map(
    Writer, (PolicyNow, StoredPolicy, PolicyHistory, ProfileSet, VersionNow)
)

_PUBLISHING = {**WRITING, **problems(412, 428)}
_TAG = re.compile(r'"([0-9]{1,16})"')
IfMatch = Annotated[str | None, Header(max_length=100, description='The version it was made from, such as "7"; or *.')]


@router.get(
    "/policy", tags=["Policy"], summary="The policy in force",
    response_model=StoredPolicy, responses=READING, openapi_extra=security(operator=True),
)  # fmt: skip
async def policy(request: Request) -> Response:
    """Its document, version and digest. The `ETag` is the version, for `If-Match`."""
    return await _stored_version(request, None)


@router.put(
    "/policy", tags=["Policy"], summary="Put a policy in force",
    response_model=PolicyNow, responses=_PUBLISHING, openapi_extra=document_body(),
)  # fmt: skip
async def apply_policy(request: Request, if_match: IfMatch = None) -> Response:
    """The body is the document. It decides the very next request of every process. One that cannot be loaded is refused
    with its line, its field and the nearest name that is known, and the last good one stays. One that asks less of
    those who approve (a quorum, approvers, a role), takes an owner.

    `If-Match` says which version it was made from (the `ETag` of `GET /policy`), so that nobody's newer one is lost:
    412 where another one is in force, 428 without it. `*` replaces whatever is."""
    caller = await auth_of(request).operator(request)
    expected = _made_from(if_match, needed=True)
    text = await request.body()
    # Compiling takes time that grows with the document; agents are answered meanwhile.
    return await _publish(caller, await asyncio.to_thread(load_policy, text), expected)


@router.get(
    "/policy/versions", tags=["Policy"], summary="The history of the policy",
    response_model=PolicyHistory, responses=READING, openapi_extra=security(operator=True),
)  # fmt: skip
async def policy_versions(request: Request) -> Response:
    """Who put which version in force, when, and which one it replaced."""
    caller = await auth_of(request).viewer(request)
    return _history(PolicyHistory(tuple(await caller.context.governor.operator.policy_history())))


@router.get(
    "/policy/versions/{version}", tags=["Policy"], summary="One version of the policy",
    response_model=StoredPolicy, responses=READING, openapi_extra=security(operator=True),
)  # fmt: skip
async def policy_version(request: Request, version: Annotated[int, Path(ge=1, le=2**53)]) -> Response:
    """The last hundred are kept."""
    return await _stored_version(request, version)


@router.post(
    "/policy/rollback", tags=["Policy"], summary="Put a stored version in force again",
    response_model=PolicyNow, responses=_PUBLISHING, openapi_extra=body(Rollback, operator=True),
)  # fmt: skip
async def rollback(request: Request, if_match: IfMatch = None) -> Response:
    """It becomes a new version with the same digest; history is never rewritten. With `If-Match` only in place of that
    version."""
    caller = await auth_of(request).operator(request)
    expected = _made_from(if_match, needed=False)
    wanted = (await read(request, Rollback)).version
    _, found = await caller.context.governor.operator.policy_version(wanted)
    return await _publish(caller, found, expected)


def _made_from(tag: str | None, *, needed: bool) -> int | None:
    """The version that a policy was made from; None: whichever is in force."""
    if tag is None and needed:
        raise InvalidRequestError(
            'If-Match: say which version this was made from, such as "7" (the ETag of GET /policy), or * for any.',
            code="version_needed", field="If-Match", problem="is required",
        )  # fmt: skip
    if tag is None or tag.strip() == "*":
        return None
    found = _TAG.fullmatch(tag.strip())
    if found is None:
        problem = 'must be one version, such as "7", or *'
        raise InvalidRequestError(f"If-Match: {problem}", field="If-Match", problem=problem)
    return int(found[1])


async def _publish(caller: Caller, found: Policy, expected: int | None) -> Response:
    governor, over = caller.context.governor, None
    if not may(caller.role, "owner"):
        person = await governor.operator.people.find(caller.name)
        limited = person is not None and person.approve_up_to_usd is not None
        over = partial(_as_strict, every=limited)
    version = await governor.publish_policy(found, author=caller.name, over=over, expected=expected)
    return _tagged(_now(PolicyNow(version, found.digest, len(found.rules))), version)


def _as_strict(present: Policy, found: Policy, *, every: bool) -> None:
    """Whoever is no owner asks no less of persons; who may approve only up to a limit, takes no rule away either."""
    if lost := weakened(present, found, every=every):
        rules = "; ".join(f"{name}: {less}" for name, less in lost.items())
        raise AuthError(
            f"This would ask less of those who approve, which takes an owner. {rules}.", code="weakens_approvals",
            rules=list(lost),
        )  # fmt: skip


async def _stored_version(request: Request, wanted: int | None) -> Response:
    caller = await auth_of(request).viewer(request)
    version, found = await caller.context.governor.operator.policy_version(wanted)
    return _tagged(_stored(StoredPolicy(version, found.digest, len(found.rules), json.loads(found.document))), version)


def _tagged(answer: Response, version: int) -> Response:
    answer.headers["ETag"] = f'"{version}"'
    return answer


@router.get(
    "/profiles", tags=["Policy"], summary="The profiles of agents",
    response_model=ProfileSet, responses=READING, openapi_extra=security(operator=True),
)  # fmt: skip
async def profiles(request: Request) -> Response:
    """What bounds every handshake, by name or pattern."""
    caller = await auth_of(request).viewer(request)
    return _profiles(await caller.context.governor.operator.profiles())


@router.put(
    "/profiles", tags=["Policy"], summary="Replace the profiles of agents",
    response_model=VersionNow, responses=WRITING, openapi_extra=body(ProfileSet, operator=True),
)  # fmt: skip
async def set_profiles(request: Request) -> Response:
    """The whole set. It bounds each agent from its very next request on."""
    caller = await auth_of(request).operator(request)
    wanted = await read(request, ProfileSet)
    return _version(VersionNow(await caller.context.governor.operator.set_profiles(wanted, author=caller.name)))
