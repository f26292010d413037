"""Who calls: a session token speaks for an agent, the operator secret for the operator. Keys will join them here."""

from __future__ import annotations

import hmac
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

import platformdirs
from starlette.requests import Request

from aegis_core.api.gate import is_loopback
from aegis_core.errors import AuthError, ConfigurationError
from aegis_core.identity import caller_of
from aegis_core.settings import Settings
from aegis_core.store.ledger import Ledger

_SESSION_PREFIX = "aegis_st_"
SECRET_FILE = "operator-secret"  # noqa: S105 - the name of a file


class Credential(NamedTuple):
    """What the Authorization header holds: nothing, the operator secret, or a session token not yet verified."""

    kind: Literal["none", "operator", "session"]
    token: str | None = None


_NOBODY = Credential("none")
_OPERATOR = Credential("operator")


class Auth:
    """Reads and judges credentials for one tenant."""

    def __init__(self, operator_secret: str, ledger: Ledger) -> None:
        self._secret, self._ledger = operator_secret.encode(), ledger

    def read(self, request: Request) -> Credential:
        """The caller's credential. None at all is accepted, for the server is loopback only.

        Raises:
            AuthError: not a bearer token, or one of no known kind. Session tokens are judged by the decision itself.
        """
        header = request.headers.get("authorization")
        if header is None:
            return _NOBODY
        scheme, _, token = header.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise AuthError("The Authorization header must be: Bearer TOKEN.", code="bad_token")
        if token.startswith(_SESSION_PREFIX):
            return Credential("session", token)
        if hmac.compare_digest(token.encode(errors="replace"), self._secret):
            return _OPERATOR
        raise AuthError("This is neither a session token nor the operator secret.", code="bad_token")

    def operator(self, request: Request) -> None:
        """Let operators pass.

        Raises:
            AuthError: no operator secret.
        """
        kind = self.read(request).kind
        if kind == "session":
            raise AuthError("This is for operators; a session token speaks for an agent.", code="operator_only")
        if kind == "none":
            raise AuthError(
                "This is for operators: send Authorization: Bearer OPERATOR_SECRET.", code="missing_credential"
            )

    async def reader(self, request: Request, agent_id: str | None = None) -> str | None:
        """Let pass who may read about an agent, or (without one) about all. Answers whose token it is.

        Raises:
            AuthError: a wrong token, or another agent's.
        """
        credential = self.read(request)
        if credential.token is None:
            return None
        agent = await self._ledger.agent_of(caller_of(credential.token, self._ledger.store.pepper))
        if agent_id is not None and agent != agent_id:
            raise AuthError("This belongs to another agent.", code="not_yours")
        return agent

    async def overseer(self, request: Request) -> None:
        """Let pass who may read about all agents: anybody of this machine, but not with one agent's token.

        Raises:
            AuthError: a session token, right or wrong.
        """
        if await self.reader(request) is not None:
            raise AuthError("This is about all agents; a session token speaks for one.", code="not_yours")


def check_bind(host: str) -> None:
    """Refuse to serve other machines while there are no keys.

    Raises:
        ConfigurationError: not a loopback address.
    """
    if not is_loopback(host):
        raise ConfigurationError(
            f"Without API keys the server may not listen on {host}: everybody who reaches it could spend. "
            "Use --host 127.0.0.1 (AEGIS_HOST), and a proxy that authenticates in front of it.",
            host=host,
        )


def operator_secret(settings: Settings) -> str:
    """The operator secret of the settings, else the one in the user's data directory, made on first use.

    Raises:
        ConfigurationError: the file cannot be used, or others can read it.
    """
    if settings.operator_secret is not None:
        return settings.operator_secret.get_secret_value()
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
    if len(secret) < 16:
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
