"""One request of a client and its answer, as ASGI has them: bounded on the way in, and aware of who left."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, cast

from aegis_core.protocol.errors import AegisError, InvalidRequestError
from aegis_core.protocol.evidence import traceparent_in
from aegis_core.proxy.replies import Reply
from aegis_core.proxy.upstream_http import Headers

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

DRAIN_SECONDS = 300.0
"""How long an answer is read on for a client that left, so that what it really cost is charged."""
STALL_SECONDS = 60.0
"""How long a client may read nothing of its answer before it is taken to have left."""
MOST_RECORDED = 1024 * 1024
"""Bytes of an answer that is kept to be repeated, as `taken_by` counts them; a longer one is not."""
MOST_HEARD = 4 * 1024 * 1024
"""Bytes of an answer that is kept to be read; a stream has some 300 for each token."""
_WATCHED_FROM = 0.25
"""Seconds after which it is watched whether the client is still there; most calls need no task for that."""


class ClientGoneError(AegisError):
    """The client left before its request was whole."""

    code = "client_gone"


class Exchange:
    """A request and its answer.

    Attributes:
        method: in capitals.
        path: as it was sent.
        query: likewise.
        headers: names in lower case.
        address: of the client.
        status: of the answer, 0 until it begins.
        sent: bytes of its body that were handed on.
        gone_at: when the client was seen to have left, in the time of the loop; None: it is there.
        limit: what ends the work for a client that left, `DRAIN_SECONDS` after that.
        record: what is answered, where it is to be repeated; None again once that is too much.
        heard: its body, where it is to be read when it has ended; None again once that is too much.
    """

    def __init__(self, scope: Message, receive: Receive, send: Send) -> None:
        self.method: bytes = scope["method"].encode("latin-1")
        self.path: bytes = scope.get("raw_path") or scope["path"].encode()
        self.query: bytes = scope["query_string"]
        self.headers: Headers = list(scope["headers"])
        self.address: str = (scope.get("client") or ("",))[0]
        self.status = self.sent = 0
        self.gone_at: float | None = None
        self.loop = asyncio.get_running_loop()
        self.began = self.loop.time()
        self.limit: asyncio.Timeout | None = None
        self.record: list[Message] | None = None
        self.heard: bytearray | None = None
        self._recorded = 0
        self._receive, self._send = receive, send
        self._gone = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None

    def header(self, name: bytes) -> bytes:
        """The first header of a name; empty: there is none."""
        return next((value for each, value in self.headers if each == name), b"")

    def traceparent(self) -> str | None:
        """The client's place in a trace; None: it says none, several, or what is none."""
        found = [value for each, value in self.headers if each == b"traceparent"]
        return traceparent_in(found[0].decode("latin-1")) if len(found) == 1 else None

    async def body(self, most: int, take: Callable[[int], None]) -> bytes:
        """The whole body. `take` hears of the bytes as they come, and may object.

        Raises:
            InvalidRequestError: it is longer than `most`, or encoded. ClientGoneError: the client left meanwhile.
        """
        if self.header(b"content-encoding").strip().lower() not in {b"", b"identity"}:
            raise InvalidRequestError("Send the body as it is, without a Content-Encoding.", code="encoded")
        length = self.header(b"content-length")
        if length.isdigit() and int(length) > most:
            raise _too_large(most)
        parts: list[bytes] = []
        taken = 0
        while True:
            message = await self._receive()
            if message["type"] != "http.request":
                raise ClientGoneError("The client left before the end of its request.")
            part = cast("bytes", message.get("body", b""))
            taken += len(part)
            if taken > most:
                raise _too_large(most)
            take(len(part))
            parts.append(part)
            if not message.get("more_body", False):
                return parts[0] if len(parts) == 1 else b"".join(parts)

    def listen(self) -> None:
        """Keep the body of the answer, as `heard`."""
        self.heard = bytearray()

    def watch(self) -> None:
        """From a moment on, notice when the client leaves. Its body must have been read."""
        self._timer = self.loop.call_later(_WATCHED_FROM, self._begin_watch)

    async def left(self) -> None:
        """Wait until the client is seen to have left."""
        self._begin_watch()
        await self._gone.wait()

    async def start(self, status: int, headers: Headers) -> None:
        """Begin the answer."""
        self.status = status
        await self._hand_on({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, data: bytes, *, more: bool = True) -> None:
        """Some of its body. To a client that left or reads nothing for too long, nothing is sent any more."""
        self.sent += len(data)
        if self.heard is not None:
            self.heard += data
            if len(self.heard) > MOST_HEARD:
                self.heard = None
        await self._hand_on({"type": "http.response.body", "body": data, "more_body": more})

    async def reply(self, made: Reply) -> None:
        """A whole answer of the proxy's own."""
        await self.start(made.status, made.headers)
        await self.write(made.body, more=False)

    def close(self) -> None:
        """Watch no longer."""
        if self._timer is not None:
            self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()

    async def replay(self, record: list[Message]) -> None:
        """What was answered before."""
        for message in record:
            self.status = message.get("status", self.status)
            await self._hand_on({**message})

    async def _hand_on(self, message: Message) -> None:
        if self.record is not None:
            self.record.append(message)
            self._recorded += taken_by(message)
            if self._recorded > MOST_RECORDED:
                self.record = None
        if self.gone_at is not None:
            return
        try:
            async with asyncio.timeout(STALL_SECONDS):
                await self._send(message)
        except TimeoutError:
            self._leave()

    def _begin_watch(self) -> None:
        if self._watcher is None:
            self._watcher = self.loop.create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._leave()

    def _leave(self) -> None:
        if self.gone_at is None:
            self.gone_at = self.loop.time()
            if self.limit is not None:
                self.limit.reschedule(self.gone_at + DRAIN_SECONDS)
        self._gone.set()


def taken_by(message: Message) -> int:
    """About how many bytes a message takes in memory: one of a single byte takes hundreds."""
    headers: Headers = message.get("headers", [])
    return 512 + len(message.get("body", b"")) + sum(200 + len(name) + len(value) for name, value in headers)


def _too_large(most: int) -> InvalidRequestError:
    return InvalidRequestError(
        f"The body is larger than {most // (1024 * 1024)} MB, which is the most that this proxy takes "
        "(AEGIS_PROXY_MAX_BODY_MB).",
        code="too_large",
    )
