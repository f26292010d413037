"""Attacks by connections that are opened and then left, so that nobody else gets one."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from urllib.parse import urlsplit

import pytest
from guarding import DEFENDED, Guarded, Serve, bearer

from aegis_core.api import connections
from aegis_core.api.connections import ConnectionBounds, bounds_of, site_of
from aegis_core.testing import private_settings

HEALTH = "/api/v1/health"
WHOLE = b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n"
HALF = {
    "nothing": b"",
    "half a header": WHOLE[:20],
    "half a body": b"POST /api/v1/handshake HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: 100\r\n%b\r\n{",
}


def until(holds: Callable[[], bool], what: str) -> None:
    """Ask again until it holds."""
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


class Lines:
    """Connections to a server from an address of one's own."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def open(self, server: Guarded, sent: bytes, address: str = "127.0.0.2") -> socket.socket:
        where = urlsplit(server.url)
        line = socket.create_connection((where.hostname, where.port), timeout=30, source_address=(address, 0))
        self._stack.callback(line.close)
        line.sendall(sent)
        return line


def ended(line: socket.socket) -> bytes:
    """What came until the other side ended the connection."""
    came = b""
    with suppress(ConnectionResetError):
        while part := line.recv(4_096):
            came += part
    return came


@pytest.fixture
def lines() -> Iterator[Lines]:
    with ExitStack() as stack:
        yield Lines(stack)


@DEFENDED
def test_connections_that_are_opened_and_left(
    serve: Serve, lines: Lines, monkeypatch: pytest.MonkeyPatch, defended: bool
) -> None:
    if not defended:
        monkeypatch.setattr(ConnectionBounds, "admit", lambda bounds, client: True)
        monkeypatch.setattr(ConnectionBounds, "leave", lambda bounds, client: None)
    server = serve(max_connections=9, max_connections_per_address=4)
    idle = [lines.open(server, WHOLE) for _ in range(8)]
    answers = [line.recv(4_096) for line in idle]
    refused = [answer for answer in answers if answer.startswith(b"HTTP/1.1 503")]
    assert len(refused) == (4 if defended else 0)
    assert all(b'"code": "too_many_connections"' in answer for answer in refused)
    assert server.http.get(HEALTH).status_code == 200, "another address has room of its own"
    others = [lines.open(server, WHOLE, f"127.0.0.{at}") for at in range(3, 9)]
    answers = [line.recv(4_096) for line in others]
    assert any(answer.startswith(b"HTTP/1.1 503") for answer in answers) is defended, "and all together have a bound"
    for line in (*idle, *others):
        line.close()
    until(lambda: lines.open(server, WHOLE).recv(4_096).startswith(b"HTTP/1.1 200"), "closed ones make room")


@pytest.mark.parametrize("sent", HALF)
def test_messages_that_do_not_go_on(serve: Serve, lines: Lines, monkeypatch: pytest.MonkeyPatch, sent: str) -> None:
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.2)
    monkeypatch.setattr(connections, "BODY_SECONDS", 0.2)
    server = serve()
    line = lines.open(
        server, HALF[sent].replace(b"%b", b"Authorization: Bearer " + server.agent_key.encode() + b"\r\n")
    )
    assert ended(line) == b"", "it is closed without a word"
    again = lines.open(server, WHOLE + WHOLE[:20])
    assert ended(again).startswith(b"HTTP/1.1 200"), "so is one after an answer"
    assert server.enter("a")["agent_id"] == "a"


@DEFENDED
def test_many_requests_of_one_address_behind_a_proxy(serve: Serve, lines: Lines, defended: bool) -> None:
    server = serve(max_connections_per_address=3, trusted_proxies="127.0.0.2, 10.0.0.0/8" if defended else "")
    key = b"Authorization: Bearer " + server.agent_key.encode() + b"\r\n"
    for _ in range(3):
        sender = b"X-Forwarded-For: 203.0.113.9\r\n"
        lines.open(server, HALF["half a body"].replace(b"%b", key + sender))

    def status(sender: str) -> str:
        asked = WHOLE[:-2] + f"X-Forwarded-For: {sender}\r\n\r\n".encode()
        return lines.open(server, asked).recv(4_096).split()[1].decode()

    until(lambda: status("203.0.113.9") == "503", "requests that are open count")
    assert status("1.2.3.4, 203.0.113.9, 10.1.1.1") == "503", "what stands before it, its sender may have made up"
    assert (status("203.0.113.10") == "200") is defended
    assert server.http.get(HEALTH, headers={"X-Forwarded-For": "203.0.113.9"}).status_code == 200, "this is no proxy"


def test_bounds_stay_below_what_the_system_lets_a_process_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_descriptors", lambda: 256)
    bounds = bounds_of(private_settings())
    assert sum(bounds.admit(None) for _ in range(1_100)) == 56
    sites = {
        site_of(each) for each in ("2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:1::1", "::ffff:10.0.0.1", "10.0.0.1")
    }
    assert sites == {"2001:db8::/64", "2001:db8:0:1::/64", "10.0.0.1"}


def test_a_server_without_bounds_says_so(serve: Serve) -> None:
    server = serve()
    said = server.http.get("/api/v1/ready?verbose=true", headers=bearer(server.operator_key)).json()
    assert said["connections"] == "unbounded", "the application does not know better than who runs it"
