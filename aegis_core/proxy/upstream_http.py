"""A client of HTTP/1.1: a body as bytes goes out, an answer comes in as it arrives, and nothing is added or followed.

A general client spends on one call as much time as the whole decision does, ten times as much as this one. What is not
needed here: redirects, cookies, compression, retries. Its errors say whether anything had been sent, by the names that
`metering.failures` knows.
"""

from __future__ import annotations

import asyncio
import select
import ssl
from collections import deque
from collections.abc import AsyncIterator, Iterable
from functools import lru_cache
from typing import Any, cast
from urllib.parse import urlsplit

import httptools

Headers = list[tuple[bytes, bytes]]

CONNECT_SECONDS = 10.0
"""For a connection, with its TLS."""
_IDLE_SECONDS = {"https": 50.0, "http": 3.0}
"""How long a connection without a request is used again; small servers close theirs after five seconds."""
_MOST_IDLE = 256
_MOST_BUFFERED = 256 * 1024
_MOST_HEAD = 256 * 1024


class ConnectError(Exception):
    """There is no connection, so nothing was sent."""


class ReadError(Exception):
    """The connection broke, or what came is no HTTP. The request had left."""


class ReadTimeout(Exception):  # noqa: N818 - `metering.failures` knows it by this name
    """Nothing came for too long. The request had left."""


class _Connection(asyncio.Protocol):
    """One connection, with the answer that is on its way."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport = cast("Any", None)
        self.loop = asyncio.get_running_loop()
        self.idle_since = 0.0
        self.lost = False
        self._parser: Any = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self.begin()

    def begin(self) -> None:
        """The next answer."""
        self.status = 0
        self.headers: Headers = []
        self.problem: str | None = None
        self.begun = self.complete = self.until_end = self.keeps = False
        self._body: deque[bytes] = deque()
        self._buffered = self._head = 0
        self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        if not self.begun:
            self._head += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.fail("the upstream does not answer in HTTP/1.1")
        if self._head > _MOST_HEAD:
            self.fail("the headers of the answer are too long")

    def on_message_begin(self) -> None:
        """Another answer. After the one that was asked for, that is what nobody asked for: the parser gives up."""
        if self.complete:
            raise httptools.HttpParserError

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, as it was sent."""
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The answer begins, unless this is an interim one."""
        self.status = self._parser.get_status_code()
        if self.status < 200:
            return
        names = {name.lower() for name, _ in self.headers}
        self.until_end = not names & {b"content-length", b"transfer-encoding"} and self.status not in {204, 304}
        self.keeps = bool(self._parser.should_keep_alive())
        self.begun, self._head = True, 0
        self._wake()

    def on_body(self, body: bytes) -> None:
        """Some of the body."""
        self._body.append(body)
        self._buffered += len(body)
        if self._buffered > _MOST_BUFFERED and not self._paused:
            self._paused = True
            self.transport.pause_reading()
        self._wake()

    def on_message_complete(self) -> None:
        """The end of an answer, or of an interim one."""
        if self.begun:
            self.complete = True
            self._wake()
        else:
            self.headers = []

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over: at the end of an answer without a length, or before its end."""
        self.lost = True
        if self.begun and self.until_end and exc is None and self.problem is None:
            self.complete = True
        elif not self.complete and self.problem is None:
            self.problem = "the upstream closed the connection before the end of its answer"
        self._wake()

    def fail(self, problem: str) -> None:
        """Give the connection up."""
        self.problem = self.problem or problem
        self.transport.abort()
        self._wake()

    async def changed(self, seconds: float) -> None:
        """Wait until something comes.

        Raises:
            ReadTimeout: nothing did.
        """
        self._waiter = self.loop.create_future()
        try:
            async with asyncio.timeout(seconds):
                await self._waiter
        except TimeoutError:
            self.fail("the upstream sent nothing for too long")
            raise ReadTimeout(f"the upstream sent nothing for {seconds:g} s") from None
        finally:
            self._waiter = None

    def take(self) -> bytes:
        """All of the body that is there."""
        data = self._body.popleft() if len(self._body) == 1 else b"".join(self._body)
        self._body.clear()
        self._buffered = 0
        if self._paused:
            self._paused = False
            self.transport.resume_reading()
        return data

    @property
    def has_body(self) -> bool:
        """Whether some of the body is there."""
        return bool(self._body)

    @property
    def reusable(self) -> bool:
        """Whether another request may follow."""
        return self.complete and self.keeps and not (self.lost or self.until_end or self.transport.is_closing())

    @property
    def silent(self) -> bool:
        """Whether nothing came since the last answer: what comes unasked is no answer to what is asked next."""
        heard = self.begun or self.status or self._head or self.lost or self.problem or self.transport.is_closing()
        return not (heard or _has_unread(self.transport))

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _has_unread(transport: asyncio.Transport) -> bool:
    """Whether the loop has yet to read something, the end perhaps: a request sent after that end would be lost."""
    poll = select.poll()
    poll.register(transport.get_extra_info("socket"), select.POLLIN)
    return bool(poll.poll(0))


class Answer:
    """An answer that has begun: its status and headers, and its body as it comes."""

    def __init__(self, upstream: UpstreamHttp, connection: _Connection, read_seconds: float) -> None:
        self.status, self.headers = connection.status, connection.headers
        self._upstream, self._connection, self._seconds = upstream, connection, read_seconds

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body, in the pieces in which it arrives.

        Raises:
            ReadError: it broke off. ReadTimeout: nothing came for too long.
        """
        connection = self._connection
        while True:
            if connection.has_body:
                yield connection.take()
            elif connection.complete:
                break
            elif connection.problem is not None:
                raise ReadError(connection.problem)
            else:
                await connection.changed(self._seconds)
        self._upstream.give_back(connection)

    def abort(self) -> None:
        """Read no further."""
        self._connection.transport.abort()


class UpstreamHttp:
    """The connections to one upstream."""

    def __init__(self, url: str, *, read_seconds: float, context: ssl.SSLContext | None = None) -> None:
        """Nothing is connected yet.

        Args:
            url: ``http(s)://HOST[:PORT]``; a path is the caller's to put before its own.
            read_seconds: how long an upstream may be silent, before its answer and within it.
            context: how certificates are judged; default: by the usual authorities.
        """
        parts = urlsplit(url)
        self._scheme, self._host = parts.scheme, parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._authority = parts.netloc.rpartition("@")[2].encode("ascii")
        self._read_seconds, self._context = read_seconds, context
        self._idle: list[_Connection] = []

    async def send(self, method: bytes, target: bytes, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> Answer:
        """Send one request, and wait for the head of its answer.

        Args:
            method: it goes out as it is; likewise `target`, a path with its query.
            headers: all of them but for ``host`` and ``content-length``.
            body: may be empty.

        Raises:
            ConnectError: nothing was sent. ReadError, ReadTimeout: the request had left.
        """
        head = [method, b" ", target, b" HTTP/1.1\r\nhost: ", self._authority, b"\r\n"]
        for name, value in headers:
            head += (name, b": ", value, b"\r\n")
        if body or method not in {b"GET", b"HEAD"}:
            head.append(b"content-length: %d\r\n" % len(body))
        head.append(b"\r\n")
        connection = self._reused() or await self._connected()
        connection.transport.write(b"".join(head) + body if len(body) < _MOST_BUFFERED else b"".join(head))
        if len(body) >= _MOST_BUFFERED:
            connection.transport.write(body)
        try:
            while not connection.begun:
                if connection.problem is not None:
                    raise ReadError(connection.problem)
                await connection.changed(self._read_seconds)
        except BaseException:
            connection.transport.abort()
            raise
        return Answer(self, connection, self._read_seconds)

    def give_back(self, connection: _Connection) -> None:
        """Keep a connection whose answer is whole for the next request, or close it."""
        if not connection.reusable or len(self._idle) >= _MOST_IDLE:
            connection.transport.close()
            return
        connection.begin()
        connection.idle_since = connection.loop.time()
        self._idle.append(connection)

    def close(self) -> None:
        """Close what is idle."""
        for connection in self._idle:
            connection.transport.abort()
        self._idle = []

    def _reused(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            young = connection.loop.time() - connection.idle_since < _IDLE_SECONDS[self._scheme]
            if young and connection.silent:
                return connection
            connection.transport.abort()
        return None

    async def _connected(self) -> _Connection:
        tls = self._context or usual_context() if self._scheme == "https" else None
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, connection = await asyncio.get_running_loop().create_connection(
                    _Connection, self._host, self._port, ssl=tls, server_hostname=self._host if tls else None
                )
        except TimeoutError:
            raise ConnectError(f"{self._host} did not accept a connection within {CONNECT_SECONDS:g} s") from None
        except OSError as error:  # also a name that is not known, and a certificate that does not hold
            raise ConnectError(f"{self._host}:{self._port} cannot be reached: {error}") from None
        return connection


@lru_cache(maxsize=1)
def usual_context() -> ssl.SSLContext:
    """The usual authorities, or those that ``SSL_CERT_FILE`` names."""
    import httpx

    return httpx.create_ssl_context()
