"""Persons: who may do what. Everybody with a person's credential may look; owners change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from aegis_core.api.routing import ACTING, PREFIX, READING, GuardedRoute, Writer, auth_of, read
from aegis_core.api.schemas import body, problems, security
from aegis_core.governor.operators import ApiKey
from aegis_core.protocol.fields import Usd
from aegis_core.protocol.people import (
    Credential,
    CredentialWish,
    Person,
    PersonChange,
    PersonRole,
    PersonWish,
)

router = APIRouter(prefix=PREFIX, route_class=GuardedRoute)


@dataclass(slots=True)
class PeoplePage:
    """The persons of the tenant, by name."""

    people: tuple[Person, ...]


@dataclass(slots=True)
class CredentialMade:
    """A person with one more credential. `key`: of a new key all, with its secret, which is shown this once."""

    person: Person
    credential: str
    key: ApiKey | None = None


@dataclass(slots=True)
class Self:
    """Who calls. `credential`: what was shown. `approve_up_to_usd`: null for any amount."""

    name: str
    role: PersonRole
    tenant: str
    credential: str | None
    groups: tuple[str, ...] = ()
    approve_up_to_usd: Usd | None = None


_people, _person, _made, _self = map(Writer, (PeoplePage, Person, CredentialMade, Self))
PersonPath = Annotated[
    str, Path(description="The person's name.", pattern=r"^[\p{L}\p{N}_.@/-]{1,128}$", examples=["ada"])
]


@router.get(
    "/people", tags=["People"], summary="The persons of the tenant",
    response_model=PeoplePage, responses=READING, openapi_extra=security(operator=True),
)  # fmt: skip
async def people(
    request: Request, removed: Annotated[bool, Query(description="And those who were removed.")] = False
) -> Response:
    """With roles, groups, credentials and up to how much each may approve."""
    caller = await auth_of(request).viewer(request)
    return _people(PeoplePage(await caller.context.governor.operator.people.list(removed=removed)))


@router.post(
    "/people", tags=["People"], summary="Add a person",
    response_model=Person, responses=problems(401, 403, 404, 409, 415, 422, 503),
    openapi_extra=body(PersonWish, operator=True),
)  # fmt: skip
async def add_person(request: Request) -> Response:
    """By an owner. The name is unique in the tenant, in letters of one script, and looks like nobody else's."""
    caller = await auth_of(request).owner(request)
    wish = await read(request, PersonWish)
    return _person(await caller.context.governor.operator.people.put(wish, author=caller.name))


@router.get(
    "/self", tags=["People"], summary="Who calls",
    response_model=Self, responses=READING, openapi_extra=security(operator=True),
)  # fmt: skip
async def self_(request: Request) -> Response:
    """The person behind the credential, and what that person may do."""
    caller = await auth_of(request).viewer(request)
    found = await caller.context.governor.operator.people.find(caller.name)
    role: PersonRole = caller.role  # pyright: ignore[reportAssignmentType] - a person's, as `viewer` saw to
    answer = Self(caller.name, role, caller.context.tenant, caller.proof)
    if found is not None:
        answer.groups, answer.approve_up_to_usd = found.groups, found.approve_up_to_usd
    return _self(answer)


@router.get(
    "/people/{person:path}", tags=["People"], summary="One person",
    response_model=Person, responses=READING, openapi_extra=security(operator=True),
)  # fmt: skip
async def person(request: Request, person: PersonPath) -> Response:
    """Also one who was removed."""
    caller = await auth_of(request).viewer(request)
    return _person(await caller.context.governor.operator.people.get(person))


@router.post(
    "/people/{person:path}/credentials", tags=["People"], summary="Give a person a credential",
    response_model=CredentialMade, responses=ACTING, openapi_extra=body(CredentialWish, operator=True),
)  # fmt: skip
async def add_credential(request: Request, person: PersonPath) -> Response:
    """By an owner: a new key, whose secret is shown this once, or who speaks for the person on Telegram or at a
    terminal with access to Redis."""
    caller = await auth_of(request).owner(request)
    wish = await read(request, CredentialWish)
    desk = caller.context.governor.operator
    if wish.kind == "key":
        key = await desk.create_person_key(person, author=caller.name)
        auth_of(request).keys.expire()
        return _made(CredentialMade(await desk.people.get(person), f"key:{key.key_id}", key))
    return _made(CredentialMade(await desk.people.link(person, wish.name, author=caller.name), wish.name))


@router.delete(
    "/people/{person:path}/credentials/{credential}", tags=["People"], summary="Revoke a credential",
    response_model=Person, responses=READING, openapi_extra=security(operator=True),
)  # fmt: skip
async def revoke_credential(
    request: Request, person: PersonPath, credential: Annotated[Credential, Path(examples=["telegram:123"])]
) -> Response:
    """By an owner. It ends at once; of a key, the key."""
    caller = await auth_of(request).owner(request)
    done = await caller.context.governor.operator.people.unlink(person, credential, author=caller.name)
    auth_of(request).keys.expire()
    return _person(done)


@router.patch(
    "/people/{person:path}", tags=["People"], summary="Change what a person may do",
    response_model=Person, responses=ACTING, openapi_extra=body(PersonChange, operator=True),
)  # fmt: skip
async def change_person(request: Request, person: PersonPath) -> Response:
    """By an owner, and in force for what is open, too. Nobody changes a role, groups or limit of their own."""
    caller = await auth_of(request).owner(request)
    change = await read(request, PersonChange)
    return _person(await caller.context.governor.operator.people.change(person, change, author=caller.name))


@router.delete(
    "/people/{person:path}", tags=["People"], summary="Remove a person",
    response_model=Person, responses=problems(401, 403, 404, 409, 422, 503), openapi_extra=security(operator=True),
)  # fmt: skip
async def remove_person(request: Request, person: PersonPath) -> Response:
    """By an owner. All credentials end at once; approvals of what is still open count no more."""
    caller = await auth_of(request).owner(request)
    done = await caller.context.governor.operator.people.remove(person, author=caller.name)
    auth_of(request).keys.expire()
    return _person(done)
