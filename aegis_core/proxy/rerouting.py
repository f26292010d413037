"""Another model than the one that a client names: a cheaper one where its key says so, or a fallback's.

A request is written for a model, and some of what it says only that family takes. Where it says such a thing, the model
stays: a call that is refused saves nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from aegis_core.arbiter.arbiter import Arbiter
from aegis_core.governor.proxy_keys import KeyTerms
from aegis_core.metering.allowed import AllowedRates, allowance_of
from aegis_core.metering.maxima import maxima_by_name
from aegis_core.protocol.errors import InvalidRequestError, UnknownModelError
from aegis_core.protocol.usage import ORDINARY
from aegis_core.proxy.request_body import Edit, RequestBody
from aegis_core.proxy.routes import Api, Dialect, Route
from aegis_core.proxy.sizing import Sized
from aegis_core.proxy.upstreams import Upstream

_CHOSEN: frozenset[Api] = frozenset({"chat", "responses", "messages", "generate"})
_PROVIDERS = {"gemini": "google"}
"""What the catalog calls the provider of an upstream, where that is another name."""
_OF_ONE_FAMILY: dict[Dialect, frozenset[str]] = {
    "openai": frozenset(
        {
            "reasoning", "reasoning_effort", "verbosity", "text", "prediction", "modalities", "audio", "max_tokens",
            "temperature", "top_p", "stop", "logprobs", "top_logprobs", "logit_bias", "presence_penalty",
            "frequency_penalty", "previous_response_id", "conversation", "prompt", "web_search_options",
        }
    ),
    "anthropic": frozenset({"thinking", "output_config", "context_management", "container", "mcp_servers", "effort"}),
    "gemini": frozenset({"cachedContent", "cached_content"}),
}  # fmt: skip
"""Members that some models of a provider refuse, or that belong to what one of them said before."""
_THOUGHTS = ("thinkingConfig", "thinking_config")


def no_dearer(
    arbiter: Arbiter, upstream: Upstream, api: Api, body: RequestBody, sized: Sized, terms: KeyTerms
) -> tuple[str, ...]:
    """The models that may take the place of the one that a call names, itself among them where the catalog has it.

    They are of the same provider, allowed by the key, read as much, and cost no more for this very call.

    Returns:
        Their names; none: the call keeps its model.
    """
    allows = allowance_of(sized.bound)
    if api not in _CHOSEN or upstream.priced_as or sized.cap is None:
        return ()
    if allows.model_copy(update={"cache_write": ORDINARY.cache_write}) != ORDINARY:
        return ()  # media, hosted tools, a tier
    if _is_of_one_family(upstream.dialect, body):
        return ()
    provider, prices = _PROVIDERS.get(upstream.name, upstream.name), arbiter.prices
    asked, cap = sized.bound.input_tokens, sized.cap * sized.answers

    def costs(name: str) -> list[int]:
        """What its prompt costs at most, and all of it; empty: nobody can price that with this model."""
        try:
            return AllowedRates(prices, name, allows).bounds(asked, [0, cap])
        except (UnknownModelError, InvalidRequestError):
            return []

    if not (most := costs(sized.bound.model)):
        return ()  # the governor says so
    own = prices.canonical(sized.bound.model)
    found = [
        model.name
        for model in arbiter.catalog.models
        if model.provider == provider
        and model.healthy
        and terms.allows(model.name)
        and asked + sized.cap <= model.context_tokens
        and (each := costs(model.name))
        and all(cost <= limit for cost, limit in zip(each, most, strict=True))
    ]
    return tuple(found) if any(prices.canonical(name) != own for name in found) else ()


def served_by(sized: Sized, model: str) -> Sized:
    """The same call answered by another model, whose answers may be shorter at most."""
    known = maxima_by_name(model)
    cap = sized.cap if sized.cap is None or known is None else min(sized.cap, known.output_tokens)
    least = sized.least if sized.least is None or cap is None else min(sized.least, cap)
    bound = replace(sized.bound, model=model)
    return replace(sized, estimate=replace(sized.estimate, bound=bound, model=model), cap=cap, least=least)


def renamed(route: Route, body: RequestBody, model: str) -> tuple[Route, list[Edit]]:
    """A call with this model in the place of the one it names: where it goes, and what is changed of its body."""
    if not route.model:
        return route, [] if body.values.get("model") == model else [body.top.put("model", json.dumps(model))]
    if route.model == model:
        return route, []
    target = route.target
    for end in (b":", b"/"):  # Gemini's paths, and those of deployments
        target = target.replace(b"/%b%b" % (route.model.encode(), end), b"/%b%b" % (model.encode(), end), 1)
    return replace(route, target=target, model=model), []


def _is_of_one_family(dialect: Dialect, body: RequestBody) -> bool:
    if any(body.values.get(name) is not None for name in _OF_ONE_FAMILY[dialect]):
        return True
    for name in ("generationConfig", "generation_config"):
        config = body.values.get(name)
        if isinstance(config, Mapping) and any(each in cast("Mapping[str, Any]", config) for each in _THOUGHTS):
            return True
    return False
