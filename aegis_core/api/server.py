"""Runs the application with uvicorn. ``uvicorn main:app`` does the same with less judgement of its own."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from typing import Literal

import uvicorn

from aegis_core.api.app import create_app
from aegis_core.api.connections import IDLE_SECONDS, bounds_of
from aegis_core.api.logs import configure_logs
from aegis_core.api.secret import check_bind, operator_secret, secret_path
from aegis_core.channels.registry import configured
from aegis_core.connect import check_expected, open_store, operator_of, read_policy_file, replacement
from aegis_core.observe.destinations import destinations
from aegis_core.protocol.errors import ConfigurationError
from aegis_core.settings import Settings

_log = logging.getLogger("aegis.http")

SWITCH_SECONDS = 0.000_5
"""How long a thread that parses or masks may keep the event loop waiting, which Python else lets it do ten times longer
before each step of every answer."""


def serve(settings: Settings, agrees: Callable[[str], bool] | None = None) -> None:
    """Serve until interrupted; uvloop and httptools are used where they are installed.

    Args:
        settings: those of the server.
        agrees: asked whether the rules file may replace other rules on an embedded server; without it, it may.

    Raises:
        ConfigurationError: an address beyond loopback, a setting or a server that cannot be used.
        PolicyError: the rules file cannot be used.
        StoreError: Redis cannot be reached.
    """
    configure_logs(settings.log_level)
    # What would fail while the server starts would end in its log; here it still reaches the caller as a typed error.
    operator_secret(settings)
    configured(settings)
    destinations(settings)
    if settings.policy_file is not None:
        read_policy_file(settings.policy_file)
    plan = uvicorn.Config(
        "aegis_core.api.app:create_app", factory=True, host=settings.host, port=settings.port, log_config=None,
        http=http_protocol(settings), ws="none", access_log=False, server_header=False, proxy_headers=False,
        backlog=128, timeout_keep_alive=IDLE_SECONDS, timeout_graceful_shutdown=5,
    )  # fmt: skip
    sys.setswitchinterval(SWITCH_SECONDS)
    # uvicorn raises once more, after it has stopped, the signal that stopped it.
    with asyncio.Runner(loop_factory=plan.get_loop_factory()) as runner, suppress(KeyboardInterrupt):
        runner.run(_serve(settings, plan, agrees))


def http_protocol(
    settings: Settings, *, write_seconds: float | None = None
) -> type[asyncio.Protocol] | Literal["auto"]:
    """How connections are read: by httptools within bounds; else by h11, which has one of 64 KB for headers.

    Args:
        settings: those of the server.
        write_seconds: how long an answer may lie unread, where the application gives it longer than is usual.
    """
    if find_spec("httptools") is None:
        return "auto"
    from aegis_core.api.wire import BoundedProtocol

    patience = write_seconds

    class Bounded(BoundedProtocol):
        bounds = bounds_of(settings)
        write_seconds = patience

    return Bounded


async def _serve(settings: Settings, plan: uvicorn.Config, agrees: Callable[[str], bool] | None) -> None:
    """Open the store before the server starts, so that what is wrong with it reaches the caller as a typed error."""
    store = await open_store(settings)
    try:
        await check_expected(store, settings, settings.tenant)
        keys = settings.require_keys or await operator_of(store, settings.tenant).keys_in_force() > 0
        check_bind(settings.host, keys=keys)
        replaces = agrees and await replacement(store, settings)
        if agrees and replaces and not agrees(replaces):
            raise ConfigurationError(f"{replaces} `aegis serve --yes` does that.", field="AEGIS_POLICY_FILE")
        if replaces:
            settings = settings.model_copy(update={"policy_file_replaces": True})
    except BaseException:
        await store.aclose()
        raise
    plan.app, plan.factory = create_app(settings, store, close_store=True, bounded=plan.http != "auto"), False
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    facts = {"url": f"http://{host}:{settings.port}", "docs": f"http://{host}:{settings.port}/docs"}
    facts["api_keys"] = "asked for" if keys else "none"
    if settings.operator_secret is None:
        facts["operator_secret_file"] = str(secret_path(settings))
    _log.info("serving", extra={"facts": facts})
    await uvicorn.Server(plan).serve()
