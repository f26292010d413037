"""What those ask who run the server: is it alive, is it ready, and Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from aegis_core.api.metrics import MEDIA_TYPE
from aegis_core.api.routing import PREFIX, Writer, auth_of
from aegis_core.api.schemas import Health, Readiness, problems, security

router = APIRouter()

_health, _ready = map(Writer, (Health, Readiness))


@router.get(
    f"{PREFIX}/health", tags=["Server"], summary="Is the process alive?",
    response_model=Health, responses=problems(403, 413),
)  # fmt: skip
async def health() -> Response:
    """Says nothing about Redis; see `/ready`."""
    return _health(Health())


@router.get(
    f"{PREFIX}/ready", tags=["Server"], summary="Can decisions be made?",
    response_model=Readiness, responses=problems(403, 413, 503),
)  # fmt: skip
async def ready(request: Request) -> Response:
    """Asks Redis. Where there are keys, strangers learn no more than that."""
    auth = auth_of(request)
    context = auth.contexts.home
    server = await context.governor.tenant_store.ping()
    if await auth.keys.on():
        return _ready(Readiness("ready"))
    return _ready(Readiness("ready", context.tenant, server))


@router.get(
    "/metrics", tags=["Server"], summary="Figures for Prometheus",
    response_class=Response, responses={
        200: {"description": "Text in Prometheus's format.", "content": {"text/plain": {"schema": {"type": "string"}}}},
        **problems(401, 403, 404, 413, 503),
    },
    openapi_extra=security(),
)  # fmt: skip
async def metrics(request: Request) -> Response:
    """Verdicts of this process, and the budgets and open grants of the caller's tenant. For operators, where there are
    keys."""
    context = await auth_of(request).observer(request)
    return Response(await context.metrics.page(), media_type=MEDIA_TYPE)
