"""What those ask who run the server: is it alive, is it ready, and Prometheus."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from aegis_core.api.patience import PATIENCE, at_once
from aegis_core.api.routing import PREFIX, Writer, auth_of, service_of
from aegis_core.api.schemas import Health, Readiness, problems, security
from aegis_core.channels.registry import channels_health

router = APIRouter()

Verbose = Annotated[
    str | None, Query(description="Say what is set, and how each channel sends and hears, too.", max_length=5)
]
_NO = frozenset({"false", "0", "no"})

_health, _ready = map(Writer, (Health, Readiness))


@router.get(
    f"{PREFIX}/health", tags=["Server"], summary="Is the process alive?",
    response_model=Health, responses=problems(403),
)  # fmt: skip
async def health() -> Response:
    """Says nothing about Redis; see `/ready`."""
    return _health(Health())


@router.get(
    f"{PREFIX}/ready", tags=["Server"], summary="Can decisions be made?",
    response_model=Readiness, responses=problems(401, 403, 422, 503),
)  # fmt: skip
async def ready(request: Request, verbose: Verbose = None) -> Response:
    """Asks Redis. Where there are keys, strangers learn no more than that. With `verbose`, what operators have
    set and the state of the channels are said too; where there are keys, to whom they let read figures."""
    auth = auth_of(request)
    context = auth.contexts.home
    async with at_once():
        server = await context.governor.tenant_store.ping()
        told = verbose is not None and verbose not in _NO
        if await auth.keys.on():
            if not told or "authorization" not in request.headers:
                return _ready(Readiness("ready"))
            context = await auth.observer(request)
        channels = await channels_health(context.governor.tenant_store) if told else None
        standing = await context.governor.tenant_store.standing() if told else None
        required = await auth.keys.on() if told else None
    connections = ("bounded" if service_of(request).bounded else "unbounded") if told else None
    return _ready(Readiness("ready", context.tenant, server, channels, connections, standing, required))


@router.get(
    "/metrics", tags=["Server"], summary="Figures for Prometheus",
    response_class=Response, responses={
        200: {"description": "Text in Prometheus's format.", "content": {"text/plain": {"schema": {"type": "string"}}}},
        **problems(401, 403, 404, 503),
    },
    openapi_extra=security(),
)  # fmt: skip
async def metrics(request: Request) -> Response:
    """Verdicts of this process, and the budgets and open grants of the caller's tenant. For operators, where there are
    keys."""
    context = await auth_of(request).observer(request)
    body, media_type = await context.metrics.page(request.headers.get("accept", ""), seconds=PATIENCE / 2)
    return Response(body, media_type=media_type)
