"""Attacks by what is no body: line ends, pipelines, crumbs, headers without number, and answers that nobody reads.

Each runs at both doors, the server of the API and the proxy, before an application of its own.
"""

from __future__ import annotations

import re
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvicorn
from guarding import DEFENDED
from serving import running

from aegis_core import Settings
from aegis_core.api import connections, wire
from aegis_core.api.connections import BoundedConnection
from aegis_core.api.server import http_protocol
from aegis_core.api.wire import BoundedProtocol
from aegis_core.proxy import server as proxy_server
from aegis_core.proxy.server import proxy_protocol

DOORS = pytest.mark.parametrize("protocol", [http_protocol, proxy_protocol], ids=["api", "proxy"])
ASKED = b"GET /small HTTP/1.1\r\nHost: localhost\r\n\r\n"
LARGE = 4 * 1024 * 1024
PLENTY = 1 << 40

Protocol = Callable[[Settings], Any]


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answers at once; a body is read where the path says so."""
    while scope["path"] == "/read" and (await receive()).get("more_body"):
        pass
    size = LARGE if scope["path"] == "/large" else 2
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(size).encode())]})
    await send({"type": "http.response.body", "body": b"o" * size})


class Door:
    """A server, and connections to it."""

    def __init__(self, url: str, stack: ExitStack) -> None:
        self._url, self._stack = urlsplit(url), stack

    def line(self, sent: bytes, *, buffer: int = 0) -> socket.socket:
        line = socket.socket()
        self._stack.callback(line.close)
        if buffer:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        line.settimeout(30)
        line.connect((self._url.hostname, self._url.port))
        line.sendall(sent)
        return line

    def status(self) -> bytes:
        with suppress(OSError), self.line(ASKED) as line:
            return line.recv(4_096)[9:12]
        return b""


@contextmanager
def opened(settings: Settings, protocol: Protocol, *, of_one: int = 64, keep_alive: float = 600) -> Iterator[Door]:
    settings = settings.model_copy(update={"max_connections_per_address": of_one})
    plan = uvicorn.Config(
        application, log_config=None, ws="none", lifespan="off", http=protocol(settings), timeout_graceful_shutdown=1,
    )  # fmt: skip
    plan.timeout_keep_alive = keep_alive  # type: ignore[assignment] # uvicorn hands it to the event loop
    with running(plan) as url, ExitStack() as stack:
        yield Door(url, stack)


def ended(line: socket.socket) -> bytes:
    """What came until the other side ended the connection."""
    came = b""
    with suppress(ConnectionError):
        while part := line.recv(65_536):
            came += part
    return came


def goes_on(line: socket.socket) -> bool:
    """Whether the other side still answers."""
    with suppress(OSError):
        line.sendall(ASKED)
        return line.recv(4_096).startswith(b"HTTP/1.1 200")
    return False


def answered(line: socket.socket) -> bytes:
    """One whole answer, which may come in several packets."""
    said = b""
    while (found := re.search(rb"content-length: (\d+)\r\n", said, re.IGNORECASE)) is None or (
        len(said.partition(b"\r\n\r\n")[2]) < int(found[1])
    ):
        more = line.recv(4_096)
        assert more, said
        said += more
    return said


@DOORS
@DEFENDED
@pytest.mark.parametrize("timer", ["ours", "of uvicorn"])
@pytest.mark.parametrize("sent", [b"\n", b"\r\n\r\n\n"])
def test_line_ends_between_two_messages(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, protocol: Protocol, timer: str, sent: bytes, defended: bool
) -> None:
    monkeypatch.setattr(connections, "IDLE_SECONDS", 0.3 if timer == "ours" else 600)
    if not defended:
        monkeypatch.setattr(BoundedProtocol, "data_received", BoundedConnection.data_received)
        monkeypatch.setattr(connections, "IDLE_SECONDS", 600)
    with opened(settings, protocol, keep_alive=600 if timer == "ours" else 0.3) as door:
        line = door.line(ASKED)
        assert answered(line).startswith(b"HTTP/1.1 200")
        line.sendall(sent)
        if defended:
            assert ended(line) == b""
        else:
            time.sleep(0.9)
            assert goes_on(line)


@DOORS
@DEFENDED
@pytest.mark.parametrize("asked", [b"\r\n", b"Connection: close\r\n\r\n"], ids=["kept", "closed"])
def test_answers_that_nobody_reads(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, protocol: Protocol, asked: bytes, defended: bool
) -> None:
    patience = 0.3 if defended else 600
    monkeypatch.setattr(connections, "WRITE_SECONDS", patience)
    monkeypatch.setattr(proxy_server, "STALL_SECONDS", patience / 2)
    with opened(settings, protocol, of_one=1) as door:
        large = b"GET /large HTTP/1.1\r\nHost: localhost\r\n"
        door.line((large + b"\r\n") * 4 + large + asked, buffer=4_096)
        deadline = time.monotonic() + (60 if defended else 1)
        while (status := door.status()) != b"200" and time.monotonic() < deadline:
            time.sleep(0.02)
        assert (status == b"200") is defended, "its place is free again"


@DOORS
def test_an_answer_that_is_read_slowly_is_whole(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, protocol: Protocol
) -> None:
    """So that the bound is one on reading nothing, not on the time that an answer takes."""
    monkeypatch.setattr(connections, "WRITE_SECONDS", 1.0)
    monkeypatch.setattr(proxy_server, "STALL_SECONDS", 0.5)
    with opened(settings, protocol) as door:
        line = door.line(b"GET /large HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", buffer=4_096)
        began, taken = time.monotonic(), 0
        while part := line.recv(64 * 1024):
            taken += len(part)
            time.sleep(2.5 * len(part) / LARGE)
        assert taken > LARGE
        assert time.monotonic() - began > 2 * connections.WRITE_SECONDS


@DOORS
@DEFENDED
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_goes_on_after_its_answer(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, protocol: Protocol, chunked: bool, defended: bool
) -> None:
    monkeypatch.setattr(wire, "MAX_AFTERWARDS", 256 * 1024 if defended else PLENTY)
    monkeypatch.setattr(wire, "FAST_AFTERWARDS", 64 * 1024 if defended else PLENTY)
    part = b"a" * 65_536
    with opened(settings, protocol) as door:
        head = b"POST /refuse HTTP/1.1\r\nHost: localhost\r\n"
        line = door.line(
            head + (b"Transfer-Encoding: chunked\r\n\r\n" if chunked else b"Content-Length: %d\r\n\r\n" % PLENTY)
        )
        assert line.recv(4_096).startswith(b"HTTP/1.1 200")
        taken, most = 0, 64 * 1024 * 1024
        with suppress(OSError):  # the server closes while this still writes
            while taken < most:
                line.sendall(b"10000\r\n" + part + b"\r\n" if chunked else part)
                taken += len(part)
        assert (taken < most) is defended


@DOORS
@DEFENDED
def test_a_body_in_crumbs(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, protocol: Protocol, defended: bool
) -> None:
    if not defended:
        monkeypatch.setattr(wire, "FREE_PIECES", PLENTY)
    with opened(settings, protocol) as door:
        head = b"POST /read HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        answer = door.line(head + b"2\r\nab\r\n" * 9_000 + b"0\r\n\r\n").recv(4_096)
        assert answer[9:12] == (b"200" if defended is False else b"413")
        honest = door.line(head + (b"140\r\n" + b"a" * 320 + b"\r\n") * 3_000 + b"0\r\n\r\n").recv(4_096)
        assert honest[9:12] == b"200", "of pieces of a usual size there may be many"


@DOORS
@DEFENDED
def test_requests_that_queue_on_one_connection(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, protocol: Protocol, defended: bool
) -> None:
    if not defended:
        monkeypatch.setattr(wire, "MAX_QUEUED", PLENTY)
    with opened(settings, protocol) as door:
        last = ASKED[:-2] + b"Connection: close\r\n\r\n"
        assert ended(door.line(ASKED * 7 + last)).count(b"HTTP/1.1 200") == 8, "a few may"
        came = ended(door.line(ASKED * 70 + last)).count(b"HTTP/1.1 200")
        assert came <= 10 if defended else came == 71


@DOORS
@DEFENDED
def test_headers_without_number(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, protocol: Protocol, defended: bool
) -> None:
    if not defended:
        monkeypatch.setattr(wire, "MAX_FIELDS", PLENTY)
    with opened(settings, protocol) as door:
        answer = door.line(ASKED[:-2] + b"c:\r\n" * 6_000 + b"\r\n").recv(4_096)
        assert answer[9:12] == (b"431" if defended else b"200")
        assert door.line(ASKED[:-2] + b"c:\r\n" * 100 + b"\r\n").recv(4_096)[9:12] == b"200"


@pytest.mark.parametrize("at_once", [True, False])
@DOORS
@DEFENDED
def test_a_header_behind_the_body(
    settings: Settings, protocol: Protocol, monkeypatch: pytest.MonkeyPatch, at_once: bool, defended: bool
) -> None:
    """It would pass the gate unjudged, or be taken for what a proxy before the server wrote."""
    if not defended:
        monkeypatch.setattr(BoundedProtocol, "on_header", BoundedProtocol.__mro__[2].on_header)  # type: ignore[attr-defined]
    seen: list[tuple[bytes, bytes]] = []

    async def noting(scope: dict[str, Any], receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        seen.extend(scope["headers"])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    monkeypatch.setattr(sys.modules[__name__], "application", noting)
    head = b"POST /read HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    rest = b"2\r\n{}\r\n0\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n"
    with opened(settings, protocol) as door:
        line = door.line(head + rest if at_once else head)
        if not at_once:
            line.sendall(rest)
        assert line.recv(4_096)[9:12] == b"200"
    assert ((b"x-forwarded-for", b"192.0.2.7") in seen) is not defended
