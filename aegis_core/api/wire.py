"""The server's side of a connection, with a bound on what a caller may send that is not a body."""

from __future__ import annotations

from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from aegis_core.api.connections import BoundedConnection
from aegis_core.api.gate import MAX_HEADERS, MAX_TARGET

MAX_HEAD = 2 * (MAX_TARGET + MAX_HEADERS)
"""Bytes of a request line and headers, or of what follows a body. A little beyond its limits the gate finds words."""

_REFUSAL = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class BoundedProtocol(BoundedConnection, HttpToolsProtocol):
    """uvicorn's own, which gathers headers of any length before an application may object, and waits for ever."""

    def __init__(self, *given: Any, **more: Any) -> None:
        HttpToolsProtocol.__init__(self, *given, **more)
        BoundedConnection.__init__(self)
        self._gathered = 0

    def data_received(self, data: bytes) -> None:
        """Count what was taken in since the parser last had a use for it."""
        self._gathered += len(data)
        super().data_received(data)
        if self._gathered > MAX_HEAD and not self.transport.is_closing():
            cycle = cast("RequestResponseCycle | None", self.cycle)  # before the first request there is none
            if cycle is None or cycle.response_complete:
                self.transport.write(_REFUSAL)
            self.transport.close()

    def on_message_begin(self) -> None:
        """The headers follow."""
        self.part = "headers"
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The headers are whole, and the gate judges them."""
        self._gathered, self.part = 0, "body"
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of a body, which the gate counts."""
        self._gathered = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The next request begins."""
        self._gathered, self.part = 0, None
        super().on_message_complete()
