"""One JSON line per request. JSON escapes control characters, so nothing that an agent says can move a terminal."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from secrets import token_hex
from typing import cast

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aegis_core.api.problems import problem
from aegis_core.protocol.masking import MASK, mask_text

AGENT = "aegis.agent_id"
"""Where a route puts the agent's name into the scope."""
GRANT = "aegis.grant_id"
"""Where it puts the grant, which the events of a decision name."""
_SHOWN_ID = "aegis.request_id"
"""Where a request's id stands, without credentials."""

_LONGEST_PATH = 1_024
"""Characters of a path that a line shows; one that is refused for its length may be far longer."""
_REQUEST_ID = re.compile(rb"[A-Za-z0-9_.:@/-]{1,128}")
_log = logging.getLogger("aegis.http")


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON; ``extra={"facts": {...}}`` adds members."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        facts: dict[str, object] = getattr(record, "facts", {})
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **facts,
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure_logs(level: str) -> None:
    """Send our records and uvicorn's to standard error as JSON. The access log is ours alone."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    for name in ("aegis", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level.upper())
    server = logging.getLogger("uvicorn.error")
    server.handlers = []
    server.addFilter(_tells_something)
    access = logging.getLogger("uvicorn.access")
    access.handlers, access.propagate = [], False


def _tells_something(record: logging.LogRecord) -> bool:
    """Leave out what any stranger can have uvicorn say, thousands of times a second, and what says nothing of whom."""
    return not record.getMessage().startswith(("Invalid HTTP request", "Unsupported upgrade", "No supported Web"))


class RequestLog:
    """Pure ASGI middleware, the outermost: request id, log line, and the answer to what nobody foresaw."""

    def __init__(self, app: ASGIApp, *, secret: Callable[[Scope], str]) -> None:
        """`secret`: what no line shows, whatever it looks like."""
        self._app, self._secret = app, secret

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        began = time.perf_counter()
        given = _request_id(scope)
        request_id = given or token_hex(12).encode()
        secret = self._secret(scope)
        scope[_SHOWN_ID] = shown = _shown(given.decode(), secret) if given else request_id.decode()
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"].append((b"x-request-id", request_id))
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except ClientDisconnect:
            status = 499  # nginx's number for a client that went away before the end of its own request
        except Exception:  # noqa: BLE001 - the last resort: logged whole, and the caller learns no internals
            _log.exception("INVARIANT: unforeseen error", extra={"facts": {"request_id": request_id.decode()}})
            if not status:
                text = "An unforeseen error; nothing more is known than what the log says under this request id."
                await problem(500, "unforeseen", text, {}, {})(scope, receive, sending)
        finally:
            if _log.isEnabledFor(logging.INFO):
                _log.info("request", extra={"facts": _facts(scope, secret, shown, status, began)})


def _facts(scope: Scope, secret: str, request_id: str, status: int, began: float) -> dict[str, object]:
    facts: dict[str, object] = {
        "request_id": request_id,
        "method": scope["method"],
        "path": _shown_path(scope, secret),
        "status": status,
        "ms": round((time.perf_counter() - began) * 1000, 2),
    }
    if AGENT in scope:
        facts["agent_id"] = _shown(scope[AGENT], secret)
    if grant := scope.get(GRANT):
        facts["grant_id"] = grant
    return facts


def request_id_of(scope: Scope) -> str:
    """What the log calls a request."""
    return scope[_SHOWN_ID]


def _shown_path(scope: Scope, secret: str) -> str:
    """The path; some put a credential there, by mistake. That of a route without parameters has room for none."""
    path = cast("str", scope["path"])
    if scope.get("endpoint") is not None and not scope.get("path_params"):
        return path[:_LONGEST_PATH]
    return mask_text(_without(path, secret)[:_LONGEST_PATH])


def _shown(name: str, secret: str) -> str:
    """A name, in the place of which some put a credential, too."""
    return _masked(_without(name, secret))


def _without(text: str, secret: str) -> str:
    """An operator may have chosen a secret that looks like none."""
    return text.replace(secret, MASK) if secret and secret in text else text


_masked = lru_cache(maxsize=1_024)(mask_text)
"""Of names, at most 128 letters each: the same ones come again and again."""


def _request_id(scope: Scope) -> bytes:
    """What the caller calls the request; empty: it does not."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return value
    return b""
