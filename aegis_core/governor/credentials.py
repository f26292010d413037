"""Session tokens: random, hashed with a pepper before they are stored, never logged."""

from __future__ import annotations

import hmac
import re
import secrets
from base64 import urlsafe_b64encode
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from aegis_core.protocol.digests import DigestCache
from aegis_core.protocol.errors import AuthError
from aegis_core.protocol.ids import spelt, unspelt
from aegis_core.protocol.kaizen import OWN_AGENT
from aegis_core.store.ledger import ANYONE, SessionProof

_TOKEN = re.compile(
    r"aegis_st_(?P<sid>s[0-9a-f]{24})_(?P<secret>[A-Za-z0-9_-]{43})(?:_(?P<tenant>[\w.:@/%-]{1,1536}))?", re.ASCII
)

_PROOFS_KEPT = 1_024


def new_session() -> tuple[str, str]:
    """A fresh session id and its token."""
    sid = "s" + secrets.token_hex(12)
    return sid, f"aegis_st_{sid}_{secrets.token_urlsafe(32)}"


def named_session(name: str, pepper: bytes) -> tuple[str, str]:
    """The same session id and token for the same name, in every process; nobody without the pepper can make them."""
    made = hmac.digest(pepper, b"aegis session " + name.encode("utf-8", "surrogatepass"), "sha512")
    sid = "s" + made[:12].hex()
    return sid, f"aegis_st_{sid}_{urlsafe_b64encode(made[12:44]).decode().rstrip('=')}"


def of_tenant(token: str, tenant: str) -> str:
    """A token that says whose it is, so that a server of many tenants need not search them."""
    return f"{token}_{spelt(tenant)}"


def tenant_of_token(token: str) -> str | None:
    """The tenant that a session token names, before it is known to be right; None for anything else."""
    match = _TOKEN.fullmatch(token)
    return unspelt(match["tenant"]) if match and match["tenant"] else None


def hash_secret(secret: str, pepper: bytes) -> str:
    """HMAC-SHA256 of a secret: what is stored instead of it."""
    return hmac.digest(pepper, secret.encode(), "sha256").hex()


def caller_of(token: str | None, pepper: bytes) -> SessionProof:
    """Whom a session token speaks for. Without a token: nobody in particular.

    Raises:
        AuthError: not a session token.
    """
    if token is None:
        return ANYONE
    return _proofs(pepper)(token.encode("utf-8", "surrogatepass"))


@lru_cache(maxsize=8)
def _proofs(pepper: bytes) -> DigestCache[SessionProof]:
    """What was found under a pepper, by the digests of tokens."""

    def proof_of(sent: bytes) -> SessionProof:
        token = sent.decode("utf-8", "surrogatepass")
        match = _TOKEN.fullmatch(token)
        if match is None:
            raise AuthError("This is not a session token; shake hands to get one.", code="bad_token")
        return SessionProof(match["sid"], hash_secret(token, pepper))

    return DigestCache(proof_of, most=_PROOFS_KEPT, key=blake2b(pepper, digest_size=32).digest())


def caller_in(session: str | None, token: str | None, pepper: bytes) -> SessionProof:
    """Who asks in a session that the message names, or that its token proves.

    Raises:
        AuthError: not a session token, or that of another session.
    """
    if token is None:
        return SessionProof(session)
    caller = caller_of(token, pepper)
    if session is not None and session != caller.session:
        raise AuthError("session_id: the token belongs to another session.", code="not_yours")
    return caller


class Entrance(NamedTuple):
    """The door of a handshake. `trusted`: a process with Redis credentials, whose word on spending counts. `guarded`: a
    live agent is only taken over with `token`, one of its session tokens. `credential`: by what all whom one key lets
    in are counted together; None for those without. `session`: the id and token of `named_session`, by which the same
    session is found again; None: a new one."""

    trusted: bool
    guarded: bool = False
    token: str | None = None
    credential: str | None = None
    session: tuple[str, str] | None = None

    def check(self, agent: str) -> None:
        """Refuse the name by which Aegis itself spends to those from outside.

        Raises:
            AuthError: it is that name.
        """
        if agent == OWN_AGENT and not self.trusted:
            raise AuthError(f"agent_id: {OWN_AGENT!r} is the name of Aegis's own agent.", code="reserved_name")


OWN_PROCESS = Entrance(trusted=True)
