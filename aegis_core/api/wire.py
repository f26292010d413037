"""The server's side of a connection, with a bound on what a caller may send, whatever becomes of it."""

from __future__ import annotations

import re
from binascii import a2b_qp
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from aegis_core.api.connections import BoundedConnection
from aegis_core.api.gate import MAX_FIELDS, MAX_HEADERS, MAX_TARGET

MAX_HEAD = 2 * (MAX_TARGET + MAX_HEADERS)
"""Bytes of a request line and headers, or of what follows a body. A little beyond its limits the gate finds words."""
MAX_QUEUED = 8
"""Requests that may wait on a connection for the answer to an earlier one."""
MAX_AFTERWARDS, FAST_AFTERWARDS = 16 * 1024 * 1024, 64 * 1024
"""Bytes of a body that may come once it is answered, so that its sender reads why, and how many of them at once."""
PACE_SECONDS = 0.005
"""How long nothing is read after each part of the rest."""
GIVEN_UP_SECONDS = 0.25
"""From a refusal of more that comes to the end of the connection."""
FREE_PIECES, LEAST_PIECE = 1_024, 256
"""Pieces of a body that may be of any size, and bytes that those beyond must have on average: each takes a call."""

FEW_ESCAPES = 64
"""Of a path, which uvicorn may decode: it takes the time of an honest request for a thousand of them."""
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_LONG_TARGET = b"/?" + b"-" * MAX_TARGET
"""What stands for a longer path, which uvicorn would decode before the gate refuses it."""
_ENDING = b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_LONG_HEADERS = b"HTTP/1.1 431 Request Header Fields Too Large" + _ENDING
_LONG_BODY = b"HTTP/1.1 413 Content Too Large" + _ENDING


def _unescaped(path: bytes) -> str:
    """A path without its escapes, decoded by the one function in C that can: what quoted-printable calls ``=41`` is
    ``%41`` here. With a broken one it stays as it is, and names nothing."""
    text = path.decode("ascii")  # as uvicorn does: what is none is answered with 400
    if _BROKEN_ESCAPE.search(path):
        return text
    return a2b_qp(path.replace(b"=", b"%3D").replace(b"%", b"=")).decode(errors="replace")


class _Excess(Exception):  # noqa: N818 - it stops the parser, which else would go through all of what came
    """More came than is taken."""


class BoundedProtocol(BoundedConnection, HttpToolsProtocol):
    """uvicorn's own, which takes headers, requests and bodies without end before an application may object, and waits
    for ever."""

    def __init__(self, *given: Any, **more: Any) -> None:
        HttpToolsProtocol.__init__(self, *given, **more)
        BoundedConnection.__init__(self)
        self._gathered = self._taken = self._pieces = self._afterwards = 0
        self._excess = False

    def works(self) -> bool:
        """Whether an answer is being made."""
        cycle = self._latest()
        return cycle is not None and (not cycle.response_complete or bool(self.pipeline))

    def data_received(self, data: bytes) -> None:
        """Count what was taken in since the parser last had a use for it."""
        if self._excess or (self.part is None and not data.strip(b"\r\n")):
            return  # line ends between two messages mean nothing, but uvicorn would wait for the next one without end
        self._gathered += len(data)
        super().data_received(data)
        if self._gathered > MAX_HEAD and not self._excess and not self.transport.is_closing():
            self._excess = True
            self._refuse()

    def on_message_begin(self) -> None:
        """The headers follow."""
        self.part, self._timed = "headers", None
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """One of them. To gather and judge thousands of empty ones would take longer than most requests. What follows a
        body is none: it would come after the gate, or stand behind what a proxy wrote."""
        if self.part == "body":
            self._count_piece()
            return
        if len(self.headers) > MAX_FIELDS:
            raise self._exceeded()
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The headers are whole, and the gate judges them."""
        self._gathered = self._taken = self._pieces = self._afterwards = 0
        self.part = "body"
        path, mark, query = self.url.partition(b"?")
        if len(self.url) > MAX_TARGET:
            self.url = path = _LONG_TARGET
        many = b"%" in path and path.count(b"%") > FEW_ESCAPES
        decoded = _unescaped(path) if many else ""
        if many:
            self.url = b"/" + mark + query
        super().on_headers_complete()
        if many:  # nobody has read it yet: an answer is begun once this function has ended
            self.scope["raw_path"] = self.root_path.encode() + path
            self.scope["path"] = self.root_path + decoded
        if len(self.pipeline) > MAX_QUEUED:
            raise self._exceeded()

    def on_body(self, body: bytes) -> None:
        """A part of a body, which the application counts, as long as it reads."""
        self._gathered = 0
        self._taken += len(body)
        self._count_piece()
        if self.cycle.response_complete:
            self._drop(len(body))
        super().on_body(body)

    def _count_piece(self) -> None:
        self._pieces += 1
        if self._pieces > FREE_PIECES + self._taken // LEAST_PIECE:
            raise self._exceeded()

    def on_message_complete(self) -> None:
        """The next request begins."""
        self._gathered, self.part = 0, None
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """From here on the connection is idle, unless more was asked."""
        self.changed()
        super().on_response_complete()
        if self._excess and not self.transport.is_closing():
            self.flow.pause_reading()  # the answers that were asked for are given, but no more is taken

    def send_400_response(self, msg: str) -> None:
        """What the parser did not understand, or was told not to go on with."""
        if self._excess:
            self._refuse()
        elif self.pipeline or (self.works() and self.cycle.response_started):
            self.transport.close()  # it would stand in the middle of another answer
        else:
            super().send_400_response(msg)

    def _drop(self, size: int) -> None:
        """Take the rest of a body that is answered: to close would end it before its sender has read the answer."""
        self._afterwards += size
        if self._afterwards > MAX_AFTERWARDS:
            raise self._exceeded()
        if self._afterwards > FAST_AFTERWARDS and not self.flow.read_paused:
            self.flow.pause_reading()
            self.loop.call_later(PACE_SECONDS, self._read_on)

    def _read_on(self) -> None:
        if not self._excess and not self.transport.is_closing():
            self.flow.resume_reading()

    def _exceeded(self) -> _Excess:
        self._excess = True
        return _Excess()

    def _refuse(self) -> None:
        """Say why, unless it would stand in the middle of an answer, or behind one that said it."""
        cycle = self._latest()
        if self.part == "headers" and not self.works():
            self.transport.write(_LONG_HEADERS)
        elif self.part == "body" and cycle is not None and not cycle.response_started and not self.pipeline:
            self.transport.write(_LONG_BODY)
            cycle.disconnected = True
            cycle.message_event.set()
        # Whoever has to connect anew at once for more of the same would cost more than one that is kept for a moment.
        self.flow.pause_reading()
        self.loop.call_later(GIVEN_UP_SECONDS, self.transport.close)

    def _latest(self) -> RequestResponseCycle | None:
        return cast("RequestResponseCycle | None", self.cycle)  # before the first request there is none
