"""What all routes share: reading a message, writing an answer, and routes that cost less than FastAPI's own."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.requests import ClientDisconnect
from starlette.routing import request_response

from aegis_core.api.auth import Auth
from aegis_core.api.problems import unreadable
from aegis_core.api.schemas import problems
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.protocol.errors import InvalidRequestError
from aegis_core.protocol.parsing import first_repeat

PREFIX = "/api/v1"
ACTING = problems(401, 403, 404, 409, 415, 422, 503)
WRITING = problems(401, 403, 404, 415, 422, 503)
BRAKING = problems(401, 403, 404, 415, 422, 503)
READING = problems(401, 403, 404, 422, 503)

_LARGE = 2 * 1024
"""Bytes of a body from which it is parsed beside the event loop: a report on all that is wrong in it takes longest."""
MAX_ITEMS = 4_000
"""Commas beyond texts in a message of an agent. Only operators' documents have more."""
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)

_Model = TypeVar("_Model", bound=BaseModel)
_Answer = TypeVar("_Answer")


class DirectRoute(APIRoute):
    """A route that FastAPI documents and Starlette runs.

    Solving FastAPI's dependencies, and the stacks that close them, would take a fifth of the time of a whole answer.
    """

    def __init__(self, path: str, endpoint: Callable[[Request], Awaitable[Response]], **more: Any) -> None:
        super().__init__(path, endpoint, **more)
        self.app = request_response(endpoint)


class GuardedRoute(APIRoute):
    """A route whose caller is known before its path and query are parsed, which FastAPI does ahead of the endpoint."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's own, behind the credential."""
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            await auth_of(request).precheck(request)
            return await handle(request)

        return guarded


@dataclass(frozen=True, slots=True)
class Service:
    """What the routes work with; the application's `state.service`."""

    auth: Auth
    bounded: bool
    """Whether the server bounds its connections."""


class Writer:
    """Serializes one kind of answer, once."""

    def __init__(self, kind: Any) -> None:
        self._dump = TypeAdapter[Any](kind).dump_json

    def __call__(self, value: object) -> Response:
        text = self._dump(value)
        if not text.isascii():
            # What agents say may hold terminal controls beyond ASCII; JSON says the same without them. To look for
            # such letters first takes half the time, because there seldom are any.
            text = self._dump(value, ensure_ascii=True)
        return Response(text, media_type="application/json")


def auth_of(request: Request) -> Auth:
    """Who judges the credentials of a request."""
    return service_of(request).auth


async def overseen(request: Request) -> ResourceGovernor:
    """The governor of a tenant whose operators' side the caller of a request may see; raises `AuthError`."""
    return (await auth_of(request).overseer(request)).context.governor


def service_of(request: Request) -> Service:
    """What the routes of a request's application work with."""
    return cast("Service", request.app.state.service)


async def read(request: Request, model: type[_Model]) -> _Model:
    """The body as a message. JSON types are taken at their word: ``"5"`` and ``true`` are not priorities."""
    if _may_be_large(request.scope["headers"]):
        await auth_of(request).confirm(request)
    body = await request.body()
    if len(body) > _LARGE:
        if body.count(b",") > MAX_ITEMS and not (await auth_of(request).caller(request)).governs:
            await asyncio.to_thread(_refuse_many, body)
        return await asyncio.to_thread(_parsed, model, body)
    return _parsed(model, body)


def _may_be_large(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """A body that comes in chunks announces no length."""
    for name, value in headers:
        if name == b"content-length":
            return int(value) > _LARGE  # the gate has seen that it is a number
    return True


def _refuse_many(body: bytes) -> None:
    """What holds more than any message has fields is not even looked at for faults, which all would be found."""
    if _STRING.sub(b"", body).count(b",") > MAX_ITEMS:
        raise InvalidRequestError(f"The body holds more than {MAX_ITEMS:,} values.", code="too_large")


def _parsed(model: type[_Model], body: bytes) -> _Model:
    try:
        message = model.model_validate_json(body, strict=True)
        _KEYS.raw_decode(body.decode().lstrip())
    except ValidationError as error:
        raise unreadable(error) from None
    return message


def _refuse_repeats(pairs: list[tuple[str, object]]) -> None:
    """A key that is given twice means one thing to whoever takes the first value, and another to this server."""
    twice = first_repeat(pairs)
    if twice is not None:
        problem = "is given twice"
        raise InvalidRequestError(f"{twice}: {problem}", field=twice, problem=problem)


def _unread(_: str) -> None:
    """Numbers were read before."""


_KEYS = json.JSONDecoder(object_pairs_hook=_refuse_repeats, parse_float=_unread, parse_int=_unread)
"""Made once: it reads nothing but the keys of a body that was valid JSON already."""


async def while_there(request: Request, work: Coroutine[Any, Any, _Answer]) -> _Answer:
    """What `work` answers, as long as the caller stays for it. Called after the body was read.

    Raises:
        ClientDisconnect: the caller went away, so the work was cancelled; perhaps he asks again on another connection.
    """
    doing, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({doing, gone}, return_when=asyncio.FIRST_COMPLETED)
        if gone.done():
            raise ClientDisconnect
        return doing.result()
    finally:
        doing.cancel()
        gone.cancel()
        await asyncio.gather(doing, gone, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
