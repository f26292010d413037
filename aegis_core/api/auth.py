"""Who calls: a session token speaks for an agent, an API key for agents or operators, the operator secret too.

A tenant follows from the credential alone. Without keys, a missing credential is accepted for agents' calls, because
the gate lets nobody but programs of this machine in.
"""

from __future__ import annotations

import hmac
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

import platformdirs
from starlette.requests import Request

from aegis_core.api.tenants import KeyWatch, TenantContext, TenantContexts
from aegis_core.governor.credentials import Entrance
from aegis_core.governor.failed_logins import FailedLogins
from aegis_core.protocol.errors import AuthError, ConfigurationError, NotFoundError, StoreError
from aegis_core.protocol.hosts import is_loopback
from aegis_core.protocol.ids import spelt
from aegis_core.settings import Settings

_CALLER = "aegis.caller"
"""Where a request's scope keeps who calls."""
_SESSION_PREFIX, _KEY_PREFIX = "aegis_st_", "aegis_key_"
SECRET_FILE = "operator-secret"  # noqa: S105 - the name of a file
SHORTEST_SECRET = 16
"""Characters of an operator secret."""
SESSION_HEADER = "X-Aegis-Session"
_TENANT_HEADER, _AUTHORIZATION, _SESSION = b"x-aegis-tenant", b"authorization", SESSION_HEADER.lower().encode()


class Caller(NamedTuple):
    """Who calls, and whose context it is about.

    ``nobody`` showed nothing, which only a server without keys accepts. A ``session`` is not verified yet: its `token`
    is judged by the decision itself. An ``agent`` holds a key and may shake hands; an ``operator`` may do everything.
    """

    role: Literal["nobody", "session", "agent", "operator"]
    context: TenantContext
    name: str = "operator"
    token: str | None = None
    agent: str | None = None
    """Whose `token` it is, once that was looked up."""
    credential: str | None = None
    """The id of the key that was shown, or ``operator-secret``."""


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
            return Caller("operator", self.contexts.home, credential=SECRET_FILE)
        raise AuthError("This is neither a session token nor the operator secret nor an API key.", code="bad_token")

    async def asker(self, request: Request) -> Caller:
        """Let pass who may ask and settle: sessions, operators, and nobody in particular where there are no keys.

        Raises:
            AuthError: an agent's key, which opens sessions only.
        """
        caller = await self.caller(request)
        if caller.role == "agent":
            raise AuthError(
                "An API key opens sessions: shake hands with it, and send the session token here.",
                code="session_needed",
            )
        return caller

    async def entrant(self, request: Request) -> tuple[Caller, Entrance]:
        """Let pass who may shake hands, and say what that proves. A live agent is taken over with a token of its own.

        Raises:
            AuthError: a session token that does not hold, or one where a key is asked for.
        """
        caller = await self.caller(request, fresh=True)
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

    async def operator(self, request: Request) -> Caller:
        """Let operators pass.

        Raises:
            AuthError: neither an operator's key nor the operator secret.
        """
        caller = await self.caller(request, fresh=True)
        if caller.role == "nobody":
            raise AuthError(
                "This is for operators: send Authorization: Bearer OPERATOR_SECRET.", code="missing_credential"
            )
        if caller.role == "session":
            await self._agent_of(caller)
        if caller.role != "operator":
            whose = "a session token speaks for an agent" if caller.role == "session" else "this key is an agent's"
            raise AuthError(f"This is for operators; {whose}.", code="operator_only")
        return caller

    async def reader(self, request: Request, agent_id: str | None = None) -> tuple[Caller, str | None]:
        """Let pass who may read about an agent, or (without one) about something of its own. Answers whose token it is.

        Raises:
            AuthError: a wrong token, or another agent's.
        """
        caller = await self.asker(request)
        if caller.token is None:
            return caller, None
        agent = await self._agent_of(caller)
        if agent_id is not None and agent != agent_id:
            raise AuthError("This belongs to another agent.", code="not_yours")
        return caller, agent

    async def overseer(self, request: Request) -> Caller:
        """Let pass who may read about all agents: operators, and anybody of this machine where there are no keys.

        Raises:
            AuthError: a session token, right or wrong, or an agent's key.
        """
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


def check_bind(host: str, *, keys: bool) -> None:
    """Refuse to serve other machines while there are no keys.

    Raises:
        ConfigurationError: not a loopback address, and no API key is asked for.
    """
    if not keys and not is_loopback(host):
        raise ConfigurationError(
            f"Without API keys the server may not listen on {host}: everybody who reaches it could spend. "
            "Make one (aegis keys create operator), or use --host 127.0.0.1 (AEGIS_HOST).",
            host=host,
        )


def operator_secret(settings: Settings) -> str:
    """The operator secret of the settings, else the one in the user's data directory, made on first use.

    Raises:
        ConfigurationError: it is too short, the file cannot be used, or others can read it.
    """
    if settings.operator_secret is not None:
        secret = settings.operator_secret.get_secret_value()
        if len(secret) < SHORTEST_SECRET:
            raise ConfigurationError(
                f"AEGIS_OPERATOR_SECRET has fewer than {SHORTEST_SECRET} characters, so it could be guessed; where it "
                "is not set, one is made.",
                field="AEGIS_OPERATOR_SECRET",
            )
        return secret
    path = secret_path(settings)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _write_once(path, f"aegis_op_{secrets.token_urlsafe(32)}\n")
        if path.stat().st_mode & 0o077:
            raise ConfigurationError(f"{path} is open to other users: chmod 600 {path}", path=str(path))
        secret = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"The operator secret cannot be kept in {path}: {error}; set AEGIS_OPERATOR_SECRET"
        ) from None
    if len(secret) < SHORTEST_SECRET:
        raise ConfigurationError(f"{path} holds no secret; remove it, and a new one is made", path=str(path))
    return secret


def secret_path(settings: Settings) -> Path:
    """Where the operator secret lies when the settings hold none."""
    return (settings.data_dir or platformdirs.user_data_path("aegis")).expanduser() / SECRET_FILE


def _write_once(path: Path, text: str) -> None:
    """Write a whole file or none: of several servers that start at once, one wins and the others read its secret."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    try:
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
