"""A real HTTP server for tests: uvicorn in a thread, on a free loopback port."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import uvicorn
from pydantic import SecretStr

from aegis_core import Settings
from aegis_core.api.app import create_app

OPERATOR = "aegis_op_of-the-tests-and-of-nobody-else"


def trusting(url: str) -> None:
    """Let what agents report lower a charge; over HTTP that is a profile's to allow."""
    body = {"profiles": [{"settlement": "trusted"}]}
    headers = {"Authorization": f"Bearer {OPERATOR}"}
    answer = httpx.put(f"{url}/api/v1/profiles", json=body, headers=headers, trust_env=False, timeout=30)
    assert answer.json() == {"version": 1}


@contextmanager
def serving(settings: Settings, *, log_level: str = "error", bind: str = "127.0.0.1") -> Iterator[str]:
    """Serve until the block ends; answers the URL."""
    secret = settings.operator_secret or SecretStr(OPERATOR)  # else one would be made in the user's own directory
    settings = settings.model_copy(update={"log_level": log_level, "operator_secret": secret})
    with socket.socket() as listener:
        listener.bind((bind, 0))
        plan = uvicorn.Config(create_app(settings), log_config=None, ws="none", timeout_graceful_shutdown=1)
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
