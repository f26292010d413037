"""A server with keys, and everybody who may knock at it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest
from serving import OPERATOR, serving

from aegis_core import Settings
from aegis_core.connect import open_governor
from aegis_core.store.store import open_store

AS_OPERATOR = {"Authorization": f"Bearer {OPERATOR}"}


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def made_keys(settings: Settings, **roles: str) -> dict[str, Any]:
    """Keys of a tenant, made as `aegis keys create` makes them: by name, with the role that is given."""

    async def make() -> dict[str, Any]:
        store = await open_store(settings)
        try:
            governor = await open_governor(store, settings)
            desk = governor.operator
            made = {name: await desk.create_key(role, name=name, author="tests") for name, role in roles.items()}
            await governor.aclose()
            return made
        finally:
            await store.aclose()

    with ThreadPoolExecutor(1) as pool:  # a test may have a running loop of its own
        return pool.submit(lambda: asyncio.run(make())).result()


@dataclass(frozen=True)
class Guarded:
    """A server that asks for keys."""

    url: str
    http: httpx.Client
    settings: Settings
    agent_key: str
    operator_key: str

    def enter(self, name: str | None = None, key: str | None = None, **fields: Any) -> dict[str, Any]:
        """Shake hands; answers the session."""
        body = {"agent_id": name or f"agent-{uuid4().hex[:8]}", **fields}
        answer = self.http.post("/api/v1/handshake", json=body, headers=bearer(key or self.agent_key))
        assert answer.status_code == 200, answer.text
        return answer.json()

    def ask(self, session: dict[str, Any], **fields: Any) -> httpx.Response:
        """Request permission with a session's token."""
        wish = {
            "agent_id": session["agent_id"], "task_intent": "Summarise", "resource_type": "llm_tokens",
            "estimated_cost_usd": 0.25, **fields,
        }  # fmt: skip
        return self.http.post("/api/v1/request-permission", json=wish, headers=bearer(session["session_token"]))

    def grant(self, session: dict[str, Any], **fields: Any) -> str:
        """The id of a fresh grant."""
        verdict = self.ask(session, **fields).json()
        assert verdict["status"] == "GRANTED", verdict
        return verdict["grant_id"]


@contextmanager
def guarded(settings: Settings, **more: Any) -> Iterator[Guarded]:
    """Make an agent's and an operator's key, and serve."""
    keys = made_keys(settings, agents="agent", ada="operator")
    with serving(settings, **more) as url, httpx.Client(base_url=url, trust_env=False, timeout=30) as http:
        yield Guarded(url, http, settings, keys["agents"].secret, keys["ada"].secret)


Serve = Callable[..., Guarded]
"""Starts such a server; keywords are settings."""

Weaken = Callable[..., None]
"""Takes a defence out of a script: its name, the piece, and what stands there instead."""

DEFENDED = pytest.mark.parametrize("defended", [True, False], ids=["defended", "undefended"])
"""Runs an attack twice: against the server as it is, and against one without the defence."""
