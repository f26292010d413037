"""How many connections a server holds, in all and of one address, and how long one may take for a message.

Whoever can connect can leave it at that. So a server bounds how many it holds, long before the system runs out of
descriptors, and a connection ends on which a message does not go on, whose answers nobody reads, or which is idle.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import ClassVar, Literal, cast

from starlette.types import ASGIApp, Receive, Scope, Send

from aegis_core.api.problems import response_to
from aegis_core.protocol.errors import StoreError
from aegis_core.settings import Settings, read_networks

HEADER_SECONDS = 10.0
"""From the beginning of a connection, or of a message, to the end of its headers."""
BODY_SECONDS = 30.0
"""From there to the end of its body."""
IDLE_SECONDS = 30
"""Between two messages."""
WRITE_SECONDS = 30.0
"""How long what was answered may lie here because nobody reads it, or next to nothing, also once it is closed."""
_LEAST_READ = 64 * 1024
"""Bytes of a large answer that are to be read in this time."""

_OTHER_DESCRIPTORS = 200
"""What a server opens besides: files, its connections to Redis, and connections that are being refused."""
_REFUSALS = 50
"""Connections that may wait at a time to be told that there are too many; others are closed without a word."""
_REFUSAL_SECONDS = 2.0
_MOST_FORWARDED = 16
"""Entries of X-Forwarded-For, from the last, that are looked at: more proxies stand before no server."""

_CODE = "too_many_connections"
_DETAIL = "There are as many connections as this server takes, in all or of one address; try again later."
_BODY = json.dumps(
    {
        "type": f"urn:aegis:problem:{_CODE}", "title": "Service Unavailable", "status": 503, "detail": _DETAIL,
        "code": _CODE,
    }
).encode()  # fmt: skip
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nretry-after: 1\r\n"
    b"connection: close\r\ncontent-length: %d\r\n\r\n%b"
) % (len(_BODY), _BODY)

Networks = Iterable[IPv4Network | IPv6Network]


class ConnectionBounds:
    """Counts what is open. Those of a trusted proxy count in all only: behind it, requests count by who sent them."""

    def __init__(self, most: int, of_one: int, proxies: Networks = ()) -> None:
        self._most, self._of_one, self._proxies = most, of_one, tuple(proxies)
        self._open, self._refusals = 0, 0
        self._by_address: Counter[str] = Counter()

    def admit(self, client: tuple[str, int] | None) -> bool:
        """Count a connection, unless there are too many."""
        address = self._counted(client)
        if self._open >= self._most or (address is not None and self._by_address[address] >= self._of_one):
            return False
        self._open += 1
        if address is not None:
            self._by_address[address] += 1
        return True

    def leave(self, client: tuple[str, int] | None) -> None:
        """An admitted connection is closed."""
        self._open -= 1
        address = self._counted(client)
        if address is not None:
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]

    def begin_refusal(self) -> bool:
        """True when there is room for one more that waits to be told."""
        if self._refusals >= _REFUSALS:
            return False
        self._refusals += 1
        return True

    def end_refusal(self) -> None:
        """It was told, or left."""
        self._refusals -= 1

    def _counted(self, client: tuple[str, int] | None) -> str | None:
        return None if client is None or _is_in(client[0], self._proxies) else site_of(client[0])


class BoundedConnection(asyncio.Protocol):
    """Mixed into one of uvicorn's protocols, which says what part of a message is on its way and what it works on.

    One timer looks from time to time how long the connection has been as it is: to note the time of a change costs a
    request far less than to set and cancel a timer.
    """

    bounds: ClassVar[ConnectionBounds]
    write_seconds: ClassVar[float | None] = None
    """In place of `WRITE_SECONDS`."""
    part: Literal["headers", "body"] | None
    transport: asyncio.Transport
    client: tuple[str, int] | None
    loop: asyncio.AbstractEventLoop

    def __init__(self) -> None:
        self.part, self._timed = "headers", cast("Literal['headers', 'body'] | None", "headers")
        self._timer: asyncio.TimerHandle | None = None
        self._admitted, self._refused = False, False
        self._since, self._unread, self._unread_since = 0.0, 0, cast("float | None", None)

    def works(self) -> bool:
        """Whether an answer is being made, which may take as long as it does."""
        raise NotImplementedError

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it, and begin to wait for its first message."""
        super().connection_made(transport)
        self._admitted = self.bounds.admit(self.client)
        if self._admitted:
            self.changed()
            self._look()
        elif self.bounds.begin_refusal():
            self._refused = True
            self._timer = self.loop.call_later(_REFUSAL_SECONDS, self._end)
        else:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Go on, or refuse once something was asked: who is told before that may only see a connection break."""
        if self._admitted:
            super().data_received(data)
            if self.part != self._timed:  # a message that came whole costs one comparison
                self._timed = self.part
                self.changed()
        elif self._refused and not self.transport.is_closing():
            self.transport.write(_FULL)
            self.transport.close()

    def pause_writing(self) -> None:
        """More lies here than is kept of what the other side does not read."""
        super().pause_writing()
        self._unread, self._unread_since = self.transport.get_write_buffer_size(), self.loop.time()

    def resume_writing(self) -> None:
        """It reads on."""
        super().resume_writing()
        self._unread_since = None

    def connection_lost(self, exc: Exception | None) -> None:
        """It counts no more."""
        super().connection_lost(exc)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._admitted:
            self._admitted = False
            self.bounds.leave(self.client)
        elif self._refused:
            self._refused = False
            self.bounds.end_refusal()

    def changed(self) -> None:
        """What is on its way, or worked on, is another thing from now on."""
        self._since = self.loop.time()

    def _look(self) -> None:
        """End what has lasted too long; else look again when it will have, and before anything shorter could."""
        now, ends = self.loop.time(), self._ends()
        if ends is not None and ends <= now:
            return self._end()
        soon = min(HEADER_SECONDS, BODY_SECONDS, IDLE_SECONDS, self._patience())
        self._timer = self.loop.call_later(soon if ends is None else min(soon, ends - now), self._look)
        return None

    def _ends(self) -> float | None:
        """When the time is over for what the connection is at; None: it has all the time it wants."""
        left = self.transport.get_write_buffer_size()
        begins = self._unread_since is None and self.transport.is_closing()  # unsent, it keeps a closed connection open
        if begins or (self._unread_since is not None and left <= self._unread - _LEAST_READ):
            self._unread, self._unread_since = left, self.loop.time()
        ends: list[float] = []
        if self._unread_since is not None:
            ends.append(self._unread_since + self._patience())
        if self.part is not None:
            ends.append(self._since + (HEADER_SECONDS if self.part == "headers" else BODY_SECONDS))
        elif not self.works():
            ends.append(self._since + IDLE_SECONDS)
        return min(ends, default=None)

    def _patience(self) -> float:
        return WRITE_SECONDS if self.write_seconds is None else self.write_seconds

    def _end(self) -> None:
        self._timer = None
        self.transport.abort()  # to close would wait for a peer that reads nothing, either


class ForwardedBound:
    """Pure ASGI middleware: of one address behind a trusted proxy, only so many requests are answered at a time."""

    def __init__(self, app: ASGIApp, *, of_one: int, proxies: Networks) -> None:
        self._app, self._of_one, self._proxies = app, of_one, tuple(proxies)
        self._by_address: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        address = self._sender(scope) if scope["type"] == "http" else None
        if address is None:
            return await self._app(scope, receive, send)
        if self._by_address[address] >= self._of_one:
            return await response_to(StoreError(_DETAIL, code=_CODE))(scope, receive, send)
        self._by_address[address] += 1
        try:
            return await self._app(scope, receive, send)
        finally:
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]

    def _sender(self, scope: Scope) -> str | None:
        """The last address of X-Forwarded-For that is no proxy: what stands before it, its sender may have made up."""
        client = scope.get("client")
        if not client or not _is_in(client[0], self._proxies):
            return None
        said = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
        for entry in reversed(said.rsplit(b",", _MOST_FORWARDED)[-_MOST_FORWARDED:]):
            address = entry.strip()[:64].decode("latin-1")
            if not _is_in(address, self._proxies):
                return site_of(address)
        return None


def bounds_of(settings: Settings) -> ConnectionBounds:
    """Those of the settings, within what the system lets this process open."""
    most = max(1, min(settings.max_connections, _descriptors() - _OTHER_DESCRIPTORS))
    return ConnectionBounds(most, settings.max_connections_per_address, read_networks(settings.trusted_proxies))


def site_of(address: str) -> str:
    """By what an address is counted: of IPv6 one holds at least the 64 bits below the first half."""
    try:
        found = ip_address(address)
    except ValueError:
        return ""
    if not isinstance(found, IPv6Address):
        return str(found)
    return str(found.ipv4_mapped or IPv6Network((found, 64), strict=False))


def _is_in(address: str, networks: Networks) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False
    found = (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found
    return any(found in network for network in networks)


def _descriptors() -> int:
    """How many this process may open."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return 1 << 20
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 20 if soft == resource.RLIM_INFINITY else soft
