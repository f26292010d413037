"""Servers before a chain of a test: the RPC URL of the proxy, and the HTTP API, each with a key for an agent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from serving import running
from wallets import Desk

from aegis_core import Settings
from aegis_core.governor.proxy_keys import KeyTerms
from aegis_core.proxy.app import ProxyApp
from aegis_core.proxy.server import proxy_protocol


@contextmanager
def serving_rpc(settings: Settings, folder: Path, secret: str) -> Iterator[str]:
    """The RPC URL for ``anvil``, of a proxy that reads the desk's file of chains."""
    settings = settings.model_copy(update={"chains_file": folder / "chains.json"})
    plan = uvicorn.Config(
        ProxyApp(settings), log_config=None, http=proxy_protocol(settings), ws="none", lifespan="on",
        timeout_graceful_shutdown=1,
    )  # fmt: skip
    with running(plan) as url:
        yield f"{url}/rpc/anvil?key={secret}"


async def rpc_key(desk: Desk) -> str:
    """A key of the proxy for the desk's agent."""
    return (await desk.port.operator.proxy_keys.create(KeyTerms(agent_id="trader"), author="test")).secret
