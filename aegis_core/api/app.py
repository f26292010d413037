"""The application: its life, its middlewares and its document."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Scope

from aegis_core.api import (
    docs_page,
    problems,
    routes_agents,
    routes_approvals,
    routes_chains,
    routes_channels,
    routes_events,
    routes_experiments,
    routes_kaizen,
    routes_locks,
    routes_operators,
    routes_people,
    routes_policy,
    routes_proposals,
    routes_server,
    routes_workflows,
    schemas,
)
from aegis_core.api.auth import Auth
from aegis_core.api.connections import ForwardedBound
from aegis_core.api.gate import RequestGate
from aegis_core.api.logs import RequestLog, configure_logs
from aegis_core.api.routing import Service
from aegis_core.api.secret import operator_secret
from aegis_core.api.stopping import EndingWaits, Stopping
from aegis_core.api.tenants import KeyWatch, TenantContext, TenantContexts
from aegis_core.chains.book import opened_chains
from aegis_core.channels.registry import open_channels
from aegis_core.channels.runner import running
from aegis_core.connect import open_governor, open_store, watched_store
from aegis_core.governor.chain_watch import watched_chains
from aegis_core.governor.delivering import senders
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.governor.repricing import watched_prices
from aegis_core.governor.spending_watch import watched_spending
from aegis_core.kaizen.days import DayCloser
from aegis_core.kaizen.running import SHARE_BESIDE_DECISIONS, closing_days
from aegis_core.observe.retention import Retention
from aegis_core.observe.rollups import RollupConsumer
from aegis_core.observe.running import observing
from aegis_core.observe.sending import sending
from aegis_core.protocol.distribution import version
from aegis_core.protocol.errors import AegisError
from aegis_core.replay.backtest import Backtests
from aegis_core.settings import Settings, load_settings, read_networks

if TYPE_CHECKING:
    from aegis_core.store.store import Store

_log = logging.getLogger("aegis.http")

_DESCRIPTION = """\
Before an agent spends money, uses a model or calls a tool, it asks here; the answer is GRANTED, PENDING or REJECTED, \
with a reason, what is left of its budget, and the model to use.

1. `POST /api/v1/handshake` registers the agent. 2. `POST /api/v1/request-permission` asks. \
3. `POST /api/v1/grants/{grant_id}/settle` reports what it really cost.

Every verdict is a 200, refusals too. Errors are `application/problem+json`, and say which field is wrong.
"""
_TAGS = [
    {"name": "Agents", "description": "The handshake protocol."},
    {"name": "Chains", "description": "Transactions of wallets."},
    {"name": "Grants", "description": "What becomes of reserved money."},
    {"name": "Budgets", "description": "What is left."},
    {"name": "Approvals", "description": "What waits for a person, and what was approved in advance."},
    {"name": "Locks", "description": "Who may touch what, one at a time."},
    {"name": "Operators", "description": "Limits, agents, events, brakes and keys."},
    {"name": "People", "description": "Persons, what each may do, and their credentials."},
    {"name": "Policy", "description": "The rules and the profiles of agents, with their versions."},
    {"name": "Server", "description": "For those who run it."},
]


def create_app(
    settings: Settings | None = None, store: Store | None = None, *, close_store: bool = False, bounded: bool = False
) -> FastAPI:
    """Build the application. Its store and governor open when the server starts.

    Args:
        settings: default: the environment.
        store: an open store to work on.
        close_store: close that store when the server stops; else it stays the caller's to close.
        bounded: the server bounds its connections, as `aegis serve` does.

    Raises:
        ConfigurationError: a setting that cannot be accepted.
    """
    settings = settings or load_settings()

    app = FastAPI(
        title="Aegis Governor",
        summary="Governs what AI agents may consume.",
        description=_DESCRIPTION,
        version=version(),
        license_info={"name": "MIT", "identifier": "MIT"},
        openapi_tags=_TAGS,
        lifespan=lambda app: _life(app, settings, store, close_store=close_store, bounded=bounded),
        redirect_slashes=False,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        # FastAPI's own would put paths into spans as they came, and some hold a credential by mistake.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.router.routes[:0] = _routes(settings)
    app.add_exception_handler(AegisError, problems.on_aegis_error)
    app.add_exception_handler(RequestValidationError, problems.on_invalid)
    app.add_exception_handler(HTTPException, problems.on_http_error)
    proxies = read_networks(settings.trusted_proxies)
    if proxies:
        app.add_middleware(ForwardedBound, of_one=settings.max_connections_per_address, proxies=proxies)
    app.add_middleware(RequestGate, host=settings.host, keys=_keys_on)
    app.add_middleware(EndingWaits)
    app.add_middleware(RequestLog, secret=_secret_of)  # added last, so it is the outermost
    _document(app)
    return app


@asynccontextmanager
async def _life(
    app: FastAPI, settings: Settings, store: Store | None, *, close_store: bool, bounded: bool
) -> AsyncGenerator[None, None]:
    """The store and the governor, from the start of the server to its end."""
    configure_logs(settings.log_level)
    if not bounded:
        _log.warning("connections without bounds: `aegis serve` limits them, and how long they may be idle")
    secret = operator_secret(settings)
    opened = store or await open_store(settings)
    try:
        governor = await open_governor(opened, settings)
        await asyncio.to_thread(governor.arbiter.warm)
        governor.optimizer.backtest = Backtests(settings)
        gc.freeze()  # prices and schemas outlive every request; a collector that walks them stalls answers
        home = TenantContext.of(governor, settings.metrics_budgets)
        contexts = TenantContexts(home, opened, most=settings.open_tenants)
        keys = KeyWatch(governor.operator, required=settings.require_keys)
        app.state.stopping = Stopping()
        app.state.service = Service(Auth(secret, contexts, keys), bounded)
        try:
            async with (
                _channels(app, settings, governor),
                watched_prices(settings, governor.arbiter, governor.operator),
                opened_chains(settings.chains_file) as governor.transactions.chains,
                watched_chains(governor.transactions),
                watched_spending(governor, settings.estimated_alert_percent),
                watched_store(opened),
                observing(RollupConsumer(governor.observation), Retention(governor.observation)),
                sending(senders(governor, settings)),
                closing_days(DayCloser(governor.kaizen, share=SHARE_BESIDE_DECISIONS)),
            ):
                with app.state.stopping.on_signals():
                    yield
        finally:
            gc.unfreeze()
            await app.state.service.auth.failed.aclose()
            await contexts.aclose()
            await governor.aclose()
    finally:
        if store is None or close_store:
            await opened.aclose()


def _routes(settings: Settings) -> list[BaseRoute]:
    """Included routers would match each path twice, at a tenth of the rate; the busiest route is looked at first."""
    return [
        *routes_agents.hot.routes, *routes_agents.router.routes, *routes_approvals.router.routes,
        *routes_people.router.routes, *routes_operators.router.routes, *routes_workflows.router.routes,
        *routes_chains.router.routes, *routes_events.router.routes, *routes_kaizen.router.routes,
        *routes_proposals.router.routes,
        *routes_experiments.router.routes,
        *routes_locks.router.routes,
        *routes_policy.router.routes, *routes_server.router.routes,
        *routes_channels.posted_to(settings),
        *docs_page.routes,
    ]  # fmt: skip


@asynccontextmanager
async def _channels(app: FastAPI, settings: Settings, governor: ResourceGovernor) -> AsyncGenerator[None, None]:
    """Serve the configured channels beside the API; loading one may take seconds, so a thread does it."""
    channels = await asyncio.to_thread(open_channels, settings, governor)
    app.state.channels = {channel.name: channel for channel in channels}
    async with running(channels, governor, alerts=settings.alerts_per_hour):
        yield


async def _keys_on(scope: Scope) -> bool:
    service: Service = scope["app"].state.service
    return await service.auth.keys.on()


def _secret_of(scope: Scope) -> str:
    service: Service | None = getattr(scope["app"].state, "service", None)
    return service.auth.secret if service else ""


def _document(app: FastAPI) -> None:
    """Complete the OpenAPI document when it is first asked for, and keep it as it is sent: anybody may ask."""
    plain = app.openapi
    made: dict[str, Any] = {}
    spelt: list[bytes] = []

    def openapi() -> dict[str, Any]:
        if not made:
            made.update(schemas.completed(plain()))
        return made

    async def document(_: Request) -> Response:
        if not spelt:
            spelt.append(json.dumps(openapi()).encode())
        return Response(spelt[0], media_type="application/json")

    app.openapi = openapi
    app.router.routes.append(Route("/openapi.json", document))
