"""A receiver of webhooks on loopback: it keeps what it got, and answers as the test wants."""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Receiver:
    """What arrived: headers (names in lower case) and bodies. `answers` are given in turn, then `otherwise`.

    While `answering` is not set, it takes messages and says nothing.
    """

    url: str = ""
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    answers: deque[tuple[int, dict[str, str]]] = field(default_factory=deque)
    otherwise: int = 200
    answering: threading.Event = field(default_factory=threading.Event)
    stop: Callable[[], None] = lambda: None
    """It dies before the block ends: nobody can connect, and who was connected is cut off."""

    def until(self, told: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + 60
        while not (found := told()):
            assert time.monotonic() < deadline, self.got
            time.sleep(0.01)
        return found


@contextmanager
def receiver(place: Receiver | None = None, port: int = 0) -> Iterator[Receiver]:
    """Serve until the block ends; for one that was there before, at its own port."""
    place = place or Receiver()
    place.answering.set()

    connections: list[socket.socket] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            connections.append(self.connection)

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            body = self.rfile.read(length)
            if len(body) < length:  # it dies in the middle of a message, which it never had then
                self.close_connection = True
                return
            status, headers = place.answers.popleft() if place.answers else (place.otherwise, {})
            place.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
            place.answering.wait(60)
            self.send_response(status)
            for name, value in {"Content-Length": "0", **headers}.items():
                self.send_header(name, value)
            with suppress(OSError):  # who asked is gone, or it died meanwhile
                self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    place.url = f"http://localhost:{server.server_address[1]}/hook"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()

    def stop() -> None:
        server.shutdown()
        server.server_close()
        for one in connections:
            with suppress(OSError):  # it was closed already
                one.shutdown(socket.SHUT_RDWR)
        thread.join(5)

    place.stop = stop
    try:
        yield place
    finally:
        place.answering.set()
        stop()
