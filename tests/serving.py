"""A real HTTP server for tests: uvicorn in a thread, on a free loopback port."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

import httpx
import pytest
import uvicorn
from plain import plain
from pydantic import SecretStr

from aegis_core import Settings
from aegis_core.api.app import create_app
from aegis_core.api.server import http_protocol
from aegis_core.store import layout
from aegis_core.store.store import open_store

OPERATOR = "aegis_op_of-the-tests-and-of-nobody-else"


def free_port() -> int:
    """A port of this machine for a server that starts later, or twice.

    It lies below those that the system gives to whoever asks for any, so nobody else's socket takes it meanwhile.
    """
    while True:
        port = random.randrange(20_000, 30_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def trusting(url: str) -> None:
    """Let what agents report lower a charge; over HTTP that is a profile's to allow."""
    body = {"profiles": [{"settlement": "trusted"}]}
    headers = {"Authorization": f"Bearer {OPERATOR}"}
    answer = httpx.put(f"{url}/api/v1/profiles", json=body, headers=headers, trust_env=False, timeout=30)
    assert answer.json() == {"version": 1}


class Clock:
    """The time of the scripts of servers that start in `moved_by_hand`. It goes on when the test says so."""

    def __init__(self, url: str) -> None:
        self._redis = plain(url)
        self._now = time.time()
        self.advance(0)

    def advance(self, seconds: float) -> None:
        self._now += seconds
        self._redis.set(layout.CLOCK_KEY, int(self._now * 1000))

    def close(self) -> None:
        self._redis.close()


@contextmanager
def moved_by_hand(url: str) -> Iterator[Clock]:
    """Servers of the HTTP API that start in the block live by the clock, not by the time of their Redis."""
    clock = Clock(url)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("aegis_core.api.app.open_store", partial(open_store, virtual_time=True))
        yield clock
    clock.close()


@contextmanager
def serving(settings: Settings, *, log_level: str = "error", bind: str = "127.0.0.1") -> Iterator[str]:
    """Serve until the block ends; answers the URL."""
    secret = settings.operator_secret or SecretStr(OPERATOR)  # else one would be made in the user's own directory
    settings = settings.model_copy(update={"log_level": log_level, "operator_secret": secret})
    plan = uvicorn.Config(
        create_app(settings), log_config=None, ws="none", http=http_protocol(settings), timeout_graceful_shutdown=1
    )
    with running(plan, bind) as url:
        yield url


@contextmanager
def running(plan: uvicorn.Config, bind: str = "127.0.0.1") -> Iterator[str]:
    """The same for a server of any application."""
    with socket.socket() as listener:
        listener.bind((bind, 0))
        server = uvicorn.Server(plan)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 60
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.005)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)
