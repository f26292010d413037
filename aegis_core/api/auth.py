"""Who calls: a session token speaks for an agent, an API key for agents or a person, the operator secret for an owner.

A tenant follows from the credential alone. Without keys, a missing credential is accepted for agents' calls, because
the gate lets nobody but programs of this machine in.
"""

from __future__ import annotations

import hmac
from typing import Literal, NamedTuple

from starlette.requests import Request

from aegis_core.api.patience import PATIENCE, at_once
from aegis_core.api.secret import SECRET_FILE
from aegis_core.api.tenants import KeyWatch, TenantContext, TenantContexts
from aegis_core.governor.credentials import Entrance
from aegis_core.governor.failed_logins import FailedLogins
from aegis_core.governor.people import may
from aegis_core.protocol.errors import AuthError, NotFoundError, StoreError
from aegis_core.protocol.ids import spelt
from aegis_core.protocol.people import RANKS, PersonRole

_CALLER = "aegis.caller"
"""Where a request's scope keeps who calls."""
_SESSION_PREFIX, _KEY_PREFIX = "aegis_st_", "aegis_key_"
SESSION_HEADER = "X-Aegis-Session"
_TENANT_HEADER, _AUTHORIZATION, _SESSION = b"x-aegis-tenant", b"authorization", SESSION_HEADER.lower().encode()


class Caller(NamedTuple):
    """Who calls, and whose context it is about.

    ``nobody`` showed nothing, which only a server without keys accepts. A ``session`` is not verified yet: its `token`
    is judged by the decision itself. An ``agent`` holds a key and may shake hands. The others are persons' roles, each
    of which may do what those before it may: a ``viewer`` reads, an ``approver`` decides, an ``operator`` governs
    agents, an ``owner`` persons. `name` is the person's, whatever the credential.
    """

    role: Literal["nobody", "session", "agent", "viewer", "approver", "operator", "owner"]
    context: TenantContext
    name: str = "operator"
    token: str | None = None
    agent: str | None = None
    """Whose `token` it is, once that was looked up."""
    credential: str | None = None
    """The id of the key that was shown, or ``operator-secret``."""

    @property
    def proof(self) -> str | None:
        """The credential as persons have it, such as ``key:k0123456789abcdef``."""
        return f"key:{self.credential}" if self.credential not in {None, SECRET_FILE} else self.credential

    @property
    def is_person(self) -> bool:
        """Whether it is a person's credential."""
        return self.role in RANKS

    @property
    def governs(self) -> bool:
        """Whether it is an operator, or an owner."""
        return may(self.role, "operator")


class Auth:
    """Reads and judges credentials."""

    def __init__(self, operator_secret: str, contexts: TenantContexts, keys: KeyWatch) -> None:
        self.secret, self.contexts, self.keys = operator_secret, contexts, keys
        self.failed = FailedLogins(contexts.home.governor.tenant_store)
        self._secret = operator_secret.encode()

    async def caller(self, request: Request, *, fresh: bool = False) -> Caller:
        """Who calls. `fresh`: do not trust the last second on whether keys are asked for.

        Raises:
            AuthError: nothing, where there are keys; no bearer token, one of no known kind, or one that does not hold.
            NotFoundError: the caller expects another tenant.
        """
        known: Caller | None = request.scope.get(_CALLER)
        if known is not None and not (fresh and known.role == "nobody"):
            return known
        header = expected = None
        for name, value in request.scope["headers"]:
            if name == _AUTHORIZATION:
                header = value
            elif name == _TENANT_HEADER:
                expected = value
        found = await (self._nobody(fresh) if header is None else self._bearer(header))
        if expected is not None and expected != spelt(found.context.tenant).encode():
            raise NotFoundError(
                f"This credential is for the tenant {found.context.tenant!r} only; set AEGIS_TENANT to it."
                if header is not None
                else f"This server governs the tenant {found.context.tenant!r} only; set AEGIS_TENANT to it.",
                kind="tenant",
            )
        request.scope[_CALLER] = found
        return found

    async def precheck(self, request: Request) -> None:
        """Judge the credential before anything else of the request is read; what was learned is not asked for again.

        Acts are left to find out about session tokens in the script that does them, in the same round trip.

        Raises:
            AuthError: as `caller`; for what only reads, also a session token that does not hold.
        """
        if request.method == "GET":
            return await self.confirm(request)
        await self.caller(request)
        return None

    async def confirm(self, request: Request) -> None:
        """Judge also a session token now, before much is read or worked on for who shows it.

        Raises:
            AuthError: as `caller`, and a session token that does not hold.
        """
        caller = await self.caller(request)
        if caller.role == "session" and caller.agent is None:
            request.scope[_CALLER] = caller._replace(agent=await self._agent_of(caller))

    async def _nobody(self, fresh: bool) -> Caller:
        if await self.keys.on(fresh=fresh):
            raise AuthError(
                "This server asks for credentials: shake hands with Authorization: Bearer API_KEY, and send the "
                "session token with everything that follows.",
                code="missing_credential",
            )
        return Caller("nobody", self.contexts.home)

    async def _bearer(self, header: bytes) -> Caller:
        scheme, _, token = header.decode("latin-1").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise AuthError("The Authorization header must be: Bearer TOKEN.", code="bad_token")
        if token.startswith(_SESSION_PREFIX):
            return Caller("session", await self.contexts.of_session(token), token=token)
        if token.startswith(_KEY_PREFIX):
            context, key = await self.contexts.of_key(token)
            return Caller(key.role, context, key.name, credential=key.key_id)
        if hmac.compare_digest(token.encode(), self._secret):
            return Caller("owner", self.contexts.home, credential=SECRET_FILE)
        raise AuthError("This is neither a session token nor the operator secret nor an API key.", code="bad_token")

    async def asker(self, request: Request) -> Caller:
        """Let pass who may ask and settle: sessions, operators, and nobody in particular where there are no keys.

        Raises:
            AuthError: an agent's key, which opens sessions only; or a person's who may not act for agents.
        """
        caller = await self.caller(request)
        if caller.role == "agent":
            raise AuthError(
                "An API key opens sessions: shake hands with it, and send the session token here.",
                code="session_needed",
            )
        return self._at_least("operator", caller) if caller.is_person else caller

    async def entrant(self, request: Request) -> tuple[Caller, Entrance]:
        """Let pass who may shake hands, and say what that proves. A live agent is taken over with a token of its own.

        Raises:
            AuthError: a session token that does not hold, or one where a key is asked for.
        """
        caller = await self.caller(request, fresh=True)
        if caller.is_person:
            self._at_least("operator", caller)
        if caller.role == "session":
            await self._agent_of(caller)
            if await self.keys.on(fresh=True) or caller.context is not self.contexts.home:
                raise AuthError(
                    f"Sessions are opened with an API key; a session token goes into the header {SESSION_HEADER}.",
                    code="key_needed",
                )
        token = next((value.decode("latin-1") for name, value in request.scope["headers"] if name == _SESSION), None)
        caller.context.governor.tenant_store.check_token(token)  # a wrong token is never taken for none
        guarded = caller.role == "agent"
        return caller, Entrance(trusted=False, guarded=guarded, token=token, credential=caller.credential)

    async def operator(self, request: Request, needed: PersonRole = "operator") -> Caller:
        """Let persons pass who have a role, or one that may do more.

        Raises:
            AuthError: no person's key nor the operator secret, or the person may do less.
        """
        caller = await self.caller(request, fresh=True)
        if caller.role == "nobody":
            raise AuthError(
                "This is for operators: send Authorization: Bearer OPERATOR_SECRET.", code="missing_credential"
            )
        if caller.role == "session":
            await self._agent_of(caller)
        if not caller.is_person:
            whose = "a session token speaks for an agent" if caller.role == "session" else "this key is an agent's"
            raise AuthError(f"This is for operators; {whose}.", code="operator_only")
        return self._at_least(needed, caller)

    async def owner(self, request: Request) -> Caller:
        """Let owners pass. Raises as `operator`."""
        return await self.operator(request, "owner")

    async def approver(self, request: Request) -> Caller:
        """Let pass who may decide. Raises as `operator`."""
        return await self.operator(request, "approver")

    async def viewer(self, request: Request) -> Caller:
        """Let every person pass, to look. Raises as `operator`."""
        return await self.operator(request, "viewer")

    @staticmethod
    def _at_least(needed: PersonRole, caller: Caller) -> Caller:
        if not may(caller.role, needed):
            raise AuthError(
                f"This takes the role {needed}, and {caller.name} is {caller.role}; an owner can change that.",
                code="role_needed", role=caller.role, needed=needed,
            )  # fmt: skip
        return caller

    async def reader(self, request: Request, agent_id: str | None = None) -> tuple[Caller, str | None]:
        """Let pass who may read about an agent, or (without one) about something of its own. Answers whose token it is.

        Raises:
            AuthError: a wrong token, or another agent's.
        """
        caller = await self.caller(request)
        if not caller.is_person:
            caller = await self.asker(request)
        if caller.token is None:
            return caller, None
        agent = await self._agent_of(caller)
        if agent_id is not None and agent != agent_id:
            raise AuthError("This belongs to another agent.", code="not_yours")
        return caller, agent

    async def overseer(self, request: Request, *, again: bool = False) -> Caller:
        """Let pass who may read about all agents: persons, and anybody of this machine where there are no keys. With
        `again` what was found for this request before is asked for once more.

        Raises:
            AuthError: a session token, right or wrong, or an agent's key.
        """
        if again:
            request.scope.pop(_CALLER, None)
        caller = await self.caller(request)
        if caller.role == "session":
            await self._agent_of(caller)
        if caller.role in {"session", "agent"}:
            whose = "a session token speaks for one" if caller.role == "session" else "an agent's key opens sessions"
            raise AuthError(f"This is about all agents; {whose}.", code="not_yours")
        return caller

    async def observer(self, request: Request) -> TenantContext:
        """Let pass who may read figures, and say of which context. A store that is down is one of the figures.

        Raises:
            AuthError: as `overseer`.
        """
        try:
            async with at_once(PATIENCE / 2):
                return (await self.overseer(request)).context
        except StoreError:
            if self.keys.last_known or "authorization" in request.headers:
                raise
            return self.contexts.home

    async def recheck(self, caller: Caller, agent_id: str, error: NotFoundError) -> None:
        """What was not found may be the caller's own session: say so, and nothing about other agents' names.

        Raises:
            AuthError: the session token does not hold, or is another agent's.
        """
        unknown = caller.token is not None and error.facts.get("kind") in {"agent", "session"}
        if unknown and await self._agent_of(caller) != agent_id:
            raise AuthError("This belongs to another agent.", code="not_yours")

    @staticmethod
    async def _agent_of(caller: Caller) -> str:
        return caller.agent or await caller.context.governor.tenant_store.agent_of(caller.token)
