"""Who calls: a key of the proxy, wherever a client puts its credential; and the session, which only groups."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import NamedTuple
from urllib.parse import unquote_plus

from aegis_core.governor.credentials import Entrance, named_session
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.governor.proxy_keys import PREFIX, ProxyKey
from aegis_core.protocol.errors import AuthError
from aegis_core.protocol.messages import Handshake, SessionOpened

OUR_HEADER = b"x-aegis-key"
"""Where our key stands when the client's own credential is to reach the provider."""
_PROVIDERS = (b"authorization", b"x-api-key", b"x-goog-api-key", b"api-key")
_IN_QUERY = frozenset({"key", "access_token", "oauth_token"})
_SESSIONS = (b"x-aegis-session", b"x-claude-code-session-id", b"session-id", b"x-session-id")

FRESH_SECONDS = 1.0
"""How long a key that was looked up is taken to be in force."""
_MOST_KEYS = 4_096
_MOST_SESSIONS = 4_096
_NEW_SESSIONS = 60
"""New sessions of one key in a minute from the first one on; further ones are its own."""


class Shown(NamedTuple):
    """What a request shows: our key, whether the client's own credential is passed on, and the query that is."""

    key: str
    own_credential: bool
    query: bytes


def shown_by(headers: Iterable[tuple[bytes, bytes]], query: bytes) -> Shown:
    """Find our key. Of a credential of ours and another one in the places of the provider, neither is passed on.

    Raises:
        AuthError: no key of ours, or two different ones, or a header that is given twice.
    """
    found: dict[bytes, str] = {}
    for name, value in headers:
        if name == OUR_HEADER or name in _PROVIDERS:
            if name in found:
                raise AuthError("A header that says who calls is given more than once.", code="repeated_credential")
            text = value.decode("latin-1").strip()
            found[name] = text[7:].strip() if text[:7].lower() == "bearer " else text
    said = [value for value in _of_query(query) if value]
    ours = {each for each in (*found.values(), *said) if each.startswith(PREFIX)}
    if not ours:
        raise AuthError(
            "This proxy asks for a key of its own (aegis_px_…) in the place of the provider's API key, or in the "
            "header X-Aegis-Key; `aegis proxy keys create` makes one.",
            code="missing_credential",
        )
    if len(ours) > 1:
        raise AuthError("Two different keys of the proxy are shown; send one.", code="repeated_credential")
    theirs = [value for name, value in found.items() if name != OUR_HEADER] + said
    own = OUR_HEADER in found and bool(theirs) and not any(each.startswith(PREFIX) for each in theirs)
    return Shown(ours.pop(), own, query if own or not query else _without_credentials(query))


def session_name(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The client's own name for its session, from the headers of those that send one; empty: none."""
    named = {name: value for name, value in headers if name in _SESSIONS}
    return next((named[name][:256] for name in _SESSIONS if named.get(name)), b"")


class Caller(NamedTuple):
    """A key, and one session of its agent."""

    key: ProxyKey
    session: SessionOpened


class Identity:
    """The keys and sessions of one governor. What was found is believed for a second."""

    def __init__(self, governor: ResourceGovernor) -> None:
        self._governor = governor
        self._pepper = governor.tenant_store.pepper
        self._keys: OrderedDict[bytes, tuple[float, asyncio.Future[ProxyKey]]] = OrderedDict()
        self._sessions: OrderedDict[tuple[str, bytes], SessionOpened] = OrderedDict()
        self._new: dict[str, tuple[float, int]] = {}

    async def key_of(self, secret: str) -> ProxyKey:
        """The key behind a secret.

        Raises:
            AuthError: it is none, or was revoked. StoreError: nobody could be asked.
        """
        name, now = blake2b(secret.encode(), digest_size=16, key=self._pepper[:64]).digest(), time.monotonic()
        held = self._keys.get(name)
        if held is None or held[0] <= now:
            asked = asyncio.ensure_future(self._governor.operator.proxy_keys.key_of(secret))
            asked.add_done_callback(lambda done: done.cancelled() or done.exception())  # whoever waits hears of it
            held = self._keys[name] = (now + FRESH_SECONDS, asked)
            self._keys.move_to_end(name)
            if len(self._keys) > _MOST_KEYS:
                self._keys.popitem(last=False)
        return await asyncio.shield(held[1])

    async def caller(self, key: ProxyKey, session: bytes) -> Caller:
        """A session of a key's agent, which is opened on first sight.

        Raises:
            AuthError: the agent is blocked. StoreError: nobody could be asked.
        """
        found = self._sessions.get((key.key_id, session))
        if found is not None:
            self._sessions.move_to_end((key.key_id, session))
            return Caller(key, found)
        if session and self._too_many(key.key_id):
            return await self.caller(key, b"")
        return await self.opened(key, session)

    async def opened(self, key: ProxyKey, session: bytes) -> Caller:
        """The same, opened anew: its session had ended."""
        named = named_session(f"proxy {key.key_id} {session.hex()}", self._pepper)
        entry = Entrance(trusted=True, credential=key.key_id, session=named)
        opened = await self._governor.handshake(Handshake(agent_id=key.terms.agent_id, max_priority=10), entry=entry)
        self._sessions[key.key_id, session] = opened
        if len(self._sessions) > _MOST_SESSIONS:
            self._sessions.popitem(last=False)
        return Caller(key, opened)

    def _too_many(self, key_id: str) -> bool:
        """Whoever sends another name with each call must not crowd out its own sessions."""
        now = time.monotonic()
        since, count = self._new.get(key_id, (now, 0))
        if now - since >= 60:
            since, count = now, 0
        self._new[key_id] = (since, count + 1)
        return count >= _NEW_SESSIONS


def _of_query(query: bytes) -> list[str]:
    return [value for name, value, _ in _parameters(query) if name in _IN_QUERY]


def _without_credentials(query: bytes) -> bytes:
    return b"&".join(part for name, _, part in _parameters(query) if name not in _IN_QUERY)


def _parameters(query: bytes) -> Sequence[tuple[str, str, bytes]]:
    """Name, value and spelling of each parameter."""
    found: list[tuple[str, str, bytes]] = []
    for part in query.split(b"&") if query else ():
        name, _, value = part.decode("latin-1").partition("=")
        found.append((unquote_plus(name), unquote_plus(value), part))
    return found
