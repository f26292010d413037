"""What the proxy itself answers: refusals and errors, each in the shape in which the client's provider puts them.

Clients try again after 409, 429 and 5xx, some of them dozens of times, and sleep as long as ``Retry-After`` says. After
402 with ``x-should-retry: false`` they stop and show the message; Codex does so after 400.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from secrets import token_hex

from aegis_core.protocol.errors import AegisError, AuthError, InvalidRequestError, NotFoundError, StoreError
from aegis_core.proxy.routes import Dialect
from aegis_core.proxy.upstream_http import Headers

LONGEST_RETRY_AFTER = 60
"""Seconds; clients sleep for whatever is said, an hour, too."""

_ANTHROPIC = {
    400: "invalid_request_error", 401: "authentication_error", 402: "billing_error", 404: "not_found_error",
    413: "request_too_large", 429: "rate_limit_error", 502: "api_error", 503: "api_error",
}  # fmt: skip
_OPENAI = {401: "invalid_request_error", 402: "insufficient_quota", 429: "insufficient_quota", 502: "server_error",
           503: "server_error"}  # fmt: skip
_GOOGLE = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 402: "FAILED_PRECONDITION", 404: "NOT_FOUND",
    413: "INVALID_ARGUMENT", 415: "INVALID_ARGUMENT", 426: "FAILED_PRECONDITION", 429: "RESOURCE_EXHAUSTED",
    502: "UNAVAILABLE", 503: "UNAVAILABLE",
}  # fmt: skip
_UNKNOWN_CALLER = frozenset({"bad_key", "missing_credential", "repeated_credential"})
_STATUS_OF: dict[str, int] = {"malformed_json": 400, "ambiguous": 400, "too_large": 413, "encoded": 415}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of the proxy itself."""

    status: int
    headers: Headers
    body: bytes
    code: str


@dataclass(frozen=True, slots=True)
class Client:
    """Who is answered: whose errors it reads, and with which status it stops.

    Attributes:
        dialect: the shape of its errors.
        refusal_status: for refusals that waiting does not cure.
    """

    dialect: Dialect
    refusal_status: int = 402

    @classmethod
    def of(cls, dialect: Dialect, refusal_status: int, user_agent: bytes) -> Client:
        """A client by what it calls itself."""
        # Codex tries 402 six times; at 400 it stops, and shows the message.
        return cls(dialect, 400 if user_agent.startswith(b"codex") else refusal_status)


def reply(
    client: Client, status: int, code: str, message: str, *, facts: Mapping[str, str] | None = None,
    retry_after: float | None = None, again: bool = False,
) -> Reply:  # fmt: skip
    """An error in the client's own shape.

    Args:
        client: who reads it.
        status: the HTTP status.
        code: stable, for programs.
        message: a sentence for a person: what was refused, why, and what to do.
        facts: said in headers, too, as ``x-aegis-NAME``.
        retry_after: seconds, where waiting helps; longer than a minute is not said.
        again: whether the client may try again by itself.
    """
    name = f"req_aegis_{token_hex(10)}"
    body: dict[str, object]
    if client.dialect == "anthropic":
        kind = _ANTHROPIC.get(status, "invalid_request_error")
        body = {"type": "error", "error": {"type": kind, "message": message}, "request_id": name}
    elif client.dialect == "gemini":
        info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": code.upper(), "domain": "aegis"}
        word = _GOOGLE.get(status, "INVALID_ARGUMENT")
        body = {"error": {"code": status, "message": message, "status": word, "details": [info]}}
    else:
        kind = _OPENAI.get(status, "invalid_request_error")
        body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    headers: Headers = [
        (b"content-type", b"application/json"), (b"request-id", name.encode()), (b"x-request-id", name.encode()),
        (b"x-aegis-source", b"aegis"), (b"x-aegis-code", code.encode()),
    ]  # fmt: skip
    if not again:
        headers.append((b"x-should-retry", b"false"))
    headers += [(f"x-aegis-{each}".encode(), value.encode("ascii", "replace")) for each, value in (facts or {}).items()]
    if status == 426:
        headers.append((b"upgrade", b"HTTP/1.1"))
    if retry_after is not None and 0 < retry_after <= LONGEST_RETRY_AFTER:
        headers.append((b"retry-after", str(int(-(-retry_after // 1))).encode()))
    content = json.dumps(body).encode()
    headers.append((b"content-length", str(len(content)).encode()))
    return Reply(status, headers, content, code)


def refused(client: Client, code: str, message: str, **more: str) -> Reply:
    """A refusal that waiting does not cure."""
    return reply(client, client.refusal_status, code, message, facts=more)


def reply_to(client: Client, error: AegisError) -> Reply:
    """What is answered where nothing was decided, or the call can be none."""
    if isinstance(error, AuthError):
        if error.code in _UNKNOWN_CALLER:
            return reply(client, 401, error.code, error.message)
        return refused(client, error.code, f"Aegis refused this call: {error.message}")
    if isinstance(error, StoreError):
        message = f"Aegis cannot decide at present, so nothing was forwarded: {error.message}"
        return reply(client, 503, error.code, message)
    if (status := _STATUS_OF.get(error.code)) is not None:
        return reply(client, status, error.code, error.message)
    if isinstance(error, InvalidRequestError | NotFoundError):
        return refused(client, error.code, f"Aegis refused this call: {error.message}.".replace("..", "."))
    return reply(client, 503, error.code, f"Aegis could not decide, so nothing was forwarded: {error.message}")
