"""Session tokens and request ids: random, hashed with a pepper before they are stored, never logged."""

from __future__ import annotations

import hmac
import os
import re
import secrets
import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote, unquote

from aegis_core.errors import AuthError
from aegis_core.fields import identifier
from aegis_core.store.ledger import ANYONE, Caller

_TOKEN = re.compile(
    r"aegis_st_(?P<sid>s[0-9a-f]{24})_(?P<secret>[A-Za-z0-9_-]{43})(?:_(?P<tenant>[\w.:@/%-]{1,1536}))?", re.ASCII
)
_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE)


def new_session() -> tuple[str, str]:
    """A fresh session id and its token."""
    sid = "s" + secrets.token_hex(12)
    return sid, f"aegis_st_{sid}_{secrets.token_urlsafe(32)}"


def spelt(tenant: str) -> str:
    """A tenant's name in letters that an HTTP header carries: ASCII as it is, the rest percent-encoded."""
    return quote(tenant, safe="@:/")


def unspelt(text: str) -> str | None:
    """The reverse of `spelt`; None for what no tenant can be called."""
    try:
        tenant = unquote(text, errors="strict")
        return tenant if identifier(tenant) == tenant else None
    except ValueError:
        return None


def of_tenant(token: str, tenant: str) -> str:
    """A token that says whose it is, so that a server of many tenants need not search them."""
    return f"{token}_{spelt(tenant)}"


@lru_cache(maxsize=4_096)
def tenant_of_token(token: str) -> str | None:
    """The tenant that a session token names, before it is known to be right; None for anything else."""
    match = _TOKEN.fullmatch(token)
    return unspelt(match["tenant"]) if match and match["tenant"] else None


def hash_secret(secret: str, pepper: bytes) -> str:
    """HMAC-SHA256 of a secret: what is stored instead of it."""
    return hmac.digest(pepper, secret.encode(), "sha256").hex()


@lru_cache(maxsize=4_096)
def caller_of(token: str | None, pepper: bytes) -> Caller:
    """Whom a session token speaks for. Without a token: nobody in particular.

    Raises:
        AuthError: not a session token.
    """
    if token is None:
        return ANYONE
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise AuthError("This is not a session token; shake hands to get one.", code="bad_token")
    return Caller(match["sid"], hash_secret(token, pepper))


def caller_in(session: str | None, token: str | None, pepper: bytes) -> Caller:
    """Who asks in a session that the message names, or that its token proves.

    Raises:
        AuthError: not a session token, or that of another session.
    """
    if token is None:
        return Caller(session)
    caller = caller_of(token, pepper)
    if session is not None and session != caller.session:
        raise AuthError("session_id: the token belongs to another session.", code="not_yours")
    return caller


_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # Linux's monotonic clock stops in suspend


def _uptime_ms() -> int:
    return time.clock_gettime_ns(_BOOT_CLOCK) // 1_000_000


class RequestIds:
    """Makes UUIDv7 request ids on the server's time, so that a client's clock may jump without harm."""

    def __init__(self, server_ms: int) -> None:
        self._offset = server_ms - _uptime_ms()

    def now(self) -> datetime:
        """The server's time, as far as it was learned."""
        return datetime.fromtimestamp((time.monotonic_ns() // 1_000_000 + self._offset) / 1000, UTC)

    def new(self) -> str:
        """A fresh id."""
        now = _uptime_ms() + self._offset
        noise = os.urandom(10)
        stamp, tail = f"{now:012x}", noise.hex()
        variant = "89ab"[noise[0] & 3]
        return f"{stamp[:8]}-{stamp[8:]}-7{tail[2:5]}-{variant}{tail[5:8]}-{tail[8:]}"


def born_at(request_id: str) -> int:
    """The time in ms inside a UUIDv7, 0 for any other id."""
    if len(request_id) == 36 and _UUID7.fullmatch(request_id):
        return int(request_id[:8] + request_id[9:13], 16)
    return 0


class Entry(NamedTuple):
    """The door of a handshake. `trusted`: a process with Redis credentials, whose word on spending counts. `guarded`: a
    live agent is only taken over with `token`, one of its session tokens."""

    trusted: bool
    guarded: bool = False
    token: str | None = None


OWN_PROCESS = Entry(trusted=True)
