"""One short call through each upstream, governed as any other: whether it answers, and what that cost."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from aegis_core.governor.governor import ResourceGovernor
from aegis_core.governor.proxy_keys import KeyTerms
from aegis_core.protocol.errors import NotFoundError
from aegis_core.proxy.app import Proxy
from aegis_core.proxy.exchange import Exchange, Message
from aegis_core.proxy.routes import Dialect
from aegis_core.proxy.upstreams import Upstream

AGENT = "proxy-doctor"
"""Whose calls these are; its budget bounds them, too."""

_PROVIDERS = {"openai": "openai", "anthropic": "anthropic", "gemini": "google"}
_SAID = [{"role": "user", "content": "Answer with one word: ready"}]
_CAP = 64


@dataclass(frozen=True, slots=True)
class Found:
    """What came of one upstream.

    Attributes:
        upstream: its name.
        works: it answered, and the call is charged by its own count.
        text: what was found, as a sentence.
        cost_usd: what the call cost; None: none was made.
    """

    upstream: str
    works: bool
    text: str
    cost_usd: Decimal | None = None


class ProxyDoctor:
    """Calls upstreams through a proxy, with a key of its own."""

    def __init__(self, proxy: Proxy, governor: ResourceGovernor, secret: str) -> None:
        self._proxy, self._governor, self._secret = proxy, governor, secret

    async def look(self, upstream: Upstream, model: str | None) -> Found:
        """One call. `model`: default: the cheapest of the catalog that its provider has."""
        if not upstream.has_key:
            return Found(
                upstream.name, works=False, text="has no key here; only clients' own credentials are passed on"
            )
        model = model or self._cheapest(upstream.name)
        if model is None:
            return Found(upstream.name, works=False, text=f"say which model to call: --model {upstream.name}=MODEL")
        before, began = await self._spent(), time.monotonic()
        status, headers, body = await self._call(upstream, model)
        await self._proxy.settler.drain()
        cost, took = await self._spent() - before, time.monotonic() - began
        if status != 200:
            whose = "Aegis" if headers.get("x-aegis-source") == "aegis" else "it"
            return Found(upstream.name, False, f"{model}: {whose} answered {status}: {_message_of(body)}", cost)
        return Found(upstream.name, True, f"{model} answered in {took:.1f} s", cost)

    def _cheapest(self, name: str) -> str | None:
        models = [each for each in self._governor.arbiter.catalog.models if each.provider == _PROVIDERS.get(name)]
        return min(models, key=lambda each: each.tier).name if models else None

    async def _spent(self) -> Decimal:
        try:
            report = await self._governor.budget(AGENT)
        except NotFoundError:  # it has not called yet
            return Decimal(0)
        return next((line.spent_usd for line in report.budgets if line.scope == "agent"), Decimal(0))

    async def _call(self, upstream: Upstream, model: str) -> tuple[int, Mapping[str, str], bytes]:
        path, body = _request(upstream.dialect, model)
        sent = json.dumps(body).encode()
        scope: Message = {
            "type": "http", "method": "POST", "path": f"/{upstream.name}{path}", "query_string": b"",
            "headers": [(b"x-api-key", self._secret.encode()), (b"content-type", b"application/json")],
        }  # fmt: skip
        told: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": sent, "more_body": False}

        async def send(message: Message) -> None:
            told.append(message)

        await self._proxy.handle(Exchange(scope, receive, send))
        headers: dict[str, str] = {name.decode(): value.decode("latin-1") for name, value in told[0]["headers"]}
        return told[0]["status"], headers, b"".join(message["body"] for message in told[1:])


@asynccontextmanager
async def doctor_of(proxy: Proxy, governor: ResourceGovernor) -> AsyncGenerator[ProxyDoctor]:
    """A doctor, whose key ends with the block."""
    keys = governor.operator.proxy_keys
    key = await keys.create(KeyTerms(agent_id=AGENT, max_output_tokens=_CAP, min_output_tokens=1), author=AGENT)
    try:
        yield ProxyDoctor(proxy, governor, key.secret or "")
    finally:
        await keys.revoke(key.key_id, author=AGENT)


def _request(dialect: Dialect, model: str) -> tuple[str, dict[str, Any]]:
    if dialect == "anthropic":
        return "/v1/messages", {"model": model, "max_tokens": _CAP, "messages": _SAID}
    if dialect == "gemini":
        said = [{"role": "user", "parts": [{"text": _SAID[0]["content"]}]}]
        return f"/v1beta/models/{model}:generateContent", {"contents": said}
    return "/v1/chat/completions", {"model": model, "messages": _SAID}


def _message_of(body: bytes) -> str:
    try:
        found: Any = json.loads(body)
        return str(found["error"]["message"])[:300]
    except (ValueError, KeyError, TypeError):
        return body[:200].decode("utf-8", "replace")
