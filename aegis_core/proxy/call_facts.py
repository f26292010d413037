"""What is said of one governed call: to observers, to its client, and to the log."""

from __future__ import annotations

import logging

from aegis_core.governor.proxy_keys import ProxyKey
from aegis_core.protocol.keywords import CallEvidence
from aegis_core.protocol.money import format_usd, to_nanos
from aegis_core.proxy.asking import Call
from aegis_core.proxy.exchange import Exchange
from aegis_core.proxy.routes import Route
from aegis_core.proxy.settling import Held
from aegis_core.proxy.upstream_http import Headers
from aegis_core.proxy.upstreams import Upstream

_log = logging.getLogger("aegis.proxy")


def facts_of(exchange: Exchange, route: Route, upstream: Upstream, key: ProxyKey) -> dict[str, str]:
    """What observers see beside the call: nothing of its content."""
    agent = exchange.header(b"user-agent").decode("latin-1").partition(" ")[0][:64]
    return {
        "door": "proxy", "caller": key.key_id, "upstream": upstream.name, "api": route.api,
        "client": "".join(char for char in agent if char.isprintable()) or "unknown",
    }  # fmt: skip


def attempt_of(exchange: Exchange) -> CallEvidence:
    """Which attempt of its client a call is, as SDKs of OpenAI and Anthropic say it."""
    said = exchange.header(b"x-stainless-retry-count")
    return {"attempt": int(said) + 1} if said.isdigit() and len(said) < _MOST_DIGITS else {}


_MOST_DIGITS = 3


def said_of(held: Held) -> Headers:
    """Headers of ours beside an upstream's answer."""
    verdict = held.verdict
    said = {
        "source": "upstream", "grant": held.grant_id, "reserved-usd": f"{verdict.reserved_usd:f}",
        "remaining-usd": f"{verdict.remaining_budget_usd:f}",
    }  # fmt: skip
    if held.cap is not None and held.cap != held.sized.asked:
        said["max-output-tokens"] = str(held.cap)
    if verdict.recommended_model:
        said["recommended-model"] = verdict.recommended_model
    return [(f"x-aegis-{name}".encode(), value.encode("ascii", "replace")) for name, value in said.items()]


def log_call(exchange: Exchange, call: Call, held: Held) -> None:
    """Log a call that was answered."""
    if not _log.isEnabledFor(logging.INFO):
        return
    facts = {
        "agent_id": call.key.terms.agent_id, "model": call.model, **call.facts, "grant": held.grant_id,
        "status": exchange.status, "bytes": exchange.sent, "reserved": format_usd(to_nanos(held.verdict.reserved_usd)),
        "ms": round((exchange.loop.time() - exchange.began) * 1000, 1),
    }  # fmt: skip
    _log.info("call", extra={"facts": facts})
