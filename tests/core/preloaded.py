"""A program that connects when it is loaded, as gunicorn does with ``--preload``: its workers are forked after that."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import aegis_core
from aegis_core.adapting import CallGovernor, ToolCall

_connected = ExitStack()
governor = _connected.enter_context(aegis_core.connect_sync())
agent = governor.handshake("preloaded")
calls = CallGovernor(agent, framework="custom", costs={"pay": "0.25"})


def spend() -> str:
    """Pay once, and say which process did."""
    calls.begin(ToolCall("pay", {})).settle()
    return str(os.getpid())


def app(environ: dict[str, Any], start_response: Callable[[str, list[tuple[str, str]]], object]) -> list[bytes]:
    """A web application that pays once for each request."""
    said = spend().encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(said)))])
    return [said]
