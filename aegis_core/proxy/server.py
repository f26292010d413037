"""Runs the proxy with uvicorn: in this process, or in several that accept on one socket."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import signal
import socket
import sys
import time
from contextlib import suppress
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from typing import Literal

import uvicorn

from aegis_core.api.connections import IDLE_SECONDS
from aegis_core.api.logs import configure_logs
from aegis_core.api.server import SWITCH_SECONDS, http_protocol
from aegis_core.connect import open_store
from aegis_core.protocol.errors import ConfigurationError
from aegis_core.protocol.hosts import is_loopback
from aegis_core.proxy.app import ProxyApp
from aegis_core.proxy.exchange import STALL_SECONDS
from aegis_core.proxy.fallbacks import open_fallbacks
from aegis_core.proxy.upstreams import open_upstreams
from aegis_core.settings import Settings

_log = logging.getLogger("aegis.proxy")

_YOUNG_SECONDS = 5.0
"""A worker that ends within this time of its start is not started again."""


def serve(settings: Settings, *, host: str, port: int, workers: int = 1) -> None:
    """Serve until interrupted. What is on its way when the process is told to stop goes on, as long as is set.

    Args:
        settings: those of the proxy.
        host: the address to listen on. Every call needs a key, so it may be any; beyond this machine put TLS before it.
        port: 0 is any.
        workers: processes; a good number is that of the cores.

    Raises:
        ConfigurationError: a setting, an address, an upstream or a server that cannot be used.
        StoreError: Redis cannot be reached.
    """
    configure_logs(settings.log_level)
    upstreams = open_upstreams(settings.proxy_upstreams, settings.proxy_keys_file)
    open_fallbacks(settings.proxy_fallbacks, upstreams)
    asyncio.run(_look(settings))
    with _bound(host, port) as listener:
        shown = f"[{host}]" if ":" in host else host
        if not is_loopback(host):
            _log.warning(
                "keys and prompts arrive in plain http; put TLS before this proxy", extra={"facts": {"host": host}}
            )
        facts: dict[str, object] = {
            "url": f"http://{shown}:{listener.getsockname()[1]}", "workers": workers,
            "upstreams": {each.name: each.url + each.path for each in upstreams.values()},
            "with_keys": [each.name for each in upstreams.values() if each.has_key],
        }  # fmt: skip
        _log.info("serving", extra={"facts": facts})
        if workers == 1:
            _run(settings, listener)
        else:
            _Workers(settings, listener, workers).run()


def _run(settings: Settings, listener: socket.socket) -> None:
    """Serve in this process."""
    configure_logs(settings.log_level)
    logging.getLogger("uvicorn.error").addFilter(_expected)
    plan = uvicorn.Config(
        ProxyApp(settings), log_config=None, http=proxy_protocol(settings), ws="none", access_log=False,
        server_header=False, date_header=False, proxy_headers=False, lifespan="on", timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=max(1, int(settings.proxy_drain_seconds)),
    )  # fmt: skip
    sys.setswitchinterval(SWITCH_SECONDS)
    # uvicorn raises once more, after it has stopped, the signal that stopped it. To be told to stop is no failure.
    with asyncio.Runner(loop_factory=plan.get_loop_factory()) as runner, suppress(KeyboardInterrupt):
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        runner.run(uvicorn.Server(plan).serve(sockets=[listener]))


def proxy_protocol(settings: Settings) -> type[asyncio.Protocol] | Literal["auto"]:
    """How connections are read: as the server of the API reads them, with more patience for who reads slowly."""
    return http_protocol(settings, write_seconds=2 * STALL_SECONDS)


async def _look(settings: Settings) -> None:
    """What is wrong with the store reaches the caller as a typed error, before anybody is served."""
    store = await open_store(settings)
    await store.aclose()


def _bound(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        raise ConfigurationError(
            f"{host}:{port} cannot be listened on: {error}. Give another --host or --port."
        ) from None
    listener.set_inheritable(True)
    return listener


class _Workers:
    """Several processes that accept on one socket. One that dies is replaced, and all end together."""

    def __init__(self, settings: Settings, listener: socket.socket, count: int) -> None:
        self._settings, self._listener, self._count = settings, listener, count
        self._context = multiprocessing.get_context("spawn")
        self._running: dict[SpawnProcess, float] = {}
        self._stopping = False

    def run(self) -> None:
        """Until this process is told to stop."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        for _ in range(self._count):
            self._start()
        while self._running:
            wait([process.sentinel for process in self._running], timeout=0.5)
            for process, since in [*self._running.items()]:
                if process.is_alive():
                    continue
                process.join()
                del self._running[process]
                if not self._stopping:
                    self._replace(process, since)

    def _start(self) -> None:
        process = self._context.Process(target=_run, args=(self._settings, self._listener))
        process.start()
        self._running[process] = time.monotonic()

    def _replace(self, process: SpawnProcess, since: float) -> None:
        if time.monotonic() - since < _YOUNG_SECONDS:
            _log.error("a worker does not start, so the proxy stops", extra={"facts": {"exit": process.exitcode}})
            self._stop()
            return
        _log.warning("a worker ended and is replaced", extra={"facts": {"exit": process.exitcode}})
        self._start()

    def _stop(self, *_: object) -> None:
        self._stopping = True
        for process in self._running:
            process.terminate()


def _expected(record: logging.LogRecord) -> bool:
    """Leave out what uvicorn finds odd, and is meant: an answer that ends as its upstream's did, a refused upgrade."""
    words = ("ASGI callable returned without completing", "Unsupported upgrade", "No supported Web")
    return not record.getMessage().startswith(words)
