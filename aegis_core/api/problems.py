"""Errors as ``application/problem+json`` (RFC 9457): the one place that knows which error has which status."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from math import ceil
from typing import Any, cast

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from aegis_core.protocol.errors import (
    AegisError,
    AuthError,
    ChainError,
    ConfigurationError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    PolicyError,
    StoreError,
)
from aegis_core.protocol.parsing import invalid

MEDIA_TYPE = "application/problem+json"
_MOST_ERRORS = 20

_BY_CODE = {
    "too_many_parameters": 414,
    "malformed_json": 400,
    "repeated_header": 400,
    "bad_token": 401,
    "bad_key": 401,
    "missing_credential": 401,
    "too_large": 413,
    "path_too_long": 414,
    "headers_too_large": 431,
    "not_json": 415,
    "policy_replaced": 412,
    "version_needed": 428,
    "too_many_agents": 429,
    "too_many_requests": 429,
    "too_many_viewers": 429,
}
_BY_KIND: tuple[tuple[type[AegisError], int], ...] = (
    (InvalidRequestError, 422),
    (PolicyError, 422),
    (NotFoundError, 404),
    (ConflictError, 409),
    (AuthError, 403),
    (ConfigurationError, 503),
    (ChainError, 503),
    (StoreError, 503),
)
_HEADERS = {401: {"WWW-Authenticate": 'Bearer realm="aegis"'}, 503: {"Retry-After": "1"}, 429: {"Retry-After": "60"}}


@dataclass(slots=True)
class FieldProblem:
    """One field that was refused."""

    field: str
    problem: str


@dataclass(slots=True)
class Problem:
    """What went wrong. `code` is stable and meant for programs, `detail` for people; other members are its facts."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    field: str | None = None
    problem: str | None = None
    errors: tuple[FieldProblem, ...] = ()


def status_of(error: AegisError) -> int:
    """The HTTP status of an error."""
    return _BY_CODE.get(error.code) or next((status for kind, status in _BY_KIND if isinstance(error, kind)), 500)


def problem(status: int, code: str, detail: str, facts: Mapping[str, Any], headers: Mapping[str, str]) -> Response:
    """A problem document as a response."""
    facts = dict(facts)
    if "errors" in facts:
        facts["errors"] = facts["errors"][:_MOST_ERRORS]
    standard = {
        "type": f"urn:aegis:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
    }
    body = json.dumps(standard | {name: fact for name, fact in facts.items() if name not in standard}, default=str)
    return Response(body, status, {**_HEADERS.get(status, {}), **headers}, MEDIA_TYPE)


def response_to(error: AegisError) -> Response:
    """The answer that tells a caller of an error."""
    seconds = error.facts.get("retry_after_seconds")
    headers = {} if seconds is None else {"Retry-After": str(ceil(seconds))}
    return problem(status_of(error), error.code, error.message, error.facts, headers)


async def on_aegis_error(request: Request, error: Exception) -> Response:
    """Exception handler of the application. Operators hear of credentials that do not hold."""
    found = cast("AegisError", error)
    request.app.state.service.auth.failed.note(found, request.client.host if request.client else "")
    return response_to(found)


async def on_invalid(_: Request, error: Exception) -> Response:
    """Exception handler for query and path parameters, in the words of the protocol."""
    # FastAPI's error reports like pydantic's own, whose class it does not share.
    return response_to(invalid(cast("ValidationError", cast("RequestValidationError", error))))


async def on_http_error(request: Request, error: Exception) -> Response:
    """Exception handler for what the router refuses: unknown paths and methods."""
    refused = cast("HTTPException", error)
    words = {
        404: ("no_such_path", f"There is nothing at {request.url.path}; see /docs for what there is."),
        405: ("wrong_method", f"{request.method} is not what {request.url.path} is for; see /docs."),
    }
    code, detail = words.get(refused.status_code, ("refused", str(refused.detail)))
    return problem(refused.status_code, code, detail, {}, refused.headers or {})


def unreadable(error: ValidationError) -> InvalidRequestError:
    """A body that is no JSON, or not the message that was expected."""
    if error.error_count() > 1:  # what is no JSON has one
        return invalid(error)
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        text = first["msg"].removeprefix("Invalid JSON: ")
        return InvalidRequestError(f"The body is not JSON: {text}", code="malformed_json", problem=text)
    return invalid(error)
