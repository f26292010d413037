"""One request to a provider in classic AutoGen, in the shape that its clients take: asked for, made, settled."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from aegis_autogen.registration import Registration
from aegis_core.adapting import ModelCall, answers_in

_CAPS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "num_predict")
"""Names of the output cap among the parameters of a request."""
_CAP_OF_CLIENT = {"OllamaClient": "num_predict", "OpenAIResponsesClient": "max_output_tokens"}
_REASONING = re.compile(r"(o\d|gpt-[5-9])")
"""OpenAI's models that refuse `max_tokens`."""


def make(registration: Registration, params: dict[str, Any], client_of: Callable[[str], Any]) -> object:
    """Call the model that Aegis recommends, with the cap that it grants.

    Raises:
        AegisDenied: refused; the provider was not called.
        AegisError: nothing was decided; the provider was not called.
    """
    cap_name = next((name for name in _CAPS if isinstance(params.get(name), int)), None)
    call = ModelCall(
        _messages(params),
        tuple(params.get("tools") or params.get("functions") or ()),
        model=None if registration.models else str(params.get("model") or "unknown"),
        models=registration.models,
        max_output_tokens=params[cap_name] if cap_name else None,
        lowers_cap=True,
        answers=answers_in(params.get("n"), params.get("best_of")),
    )
    held = registration.calls.begin(call)
    model = held.model or ""
    client = client_of(model)
    request = {**params, "model": model, cap_name or _cap_of(client, model): held.max_output_tokens}
    try:
        response = client.create(request)
    except Exception:
        held.release()
        raise
    except BaseException:  # interrupted while the provider was at work
        held.settle()
        raise
    counts = None if _counts_are_guessed(client, params) else _usage_of(client, response)
    if counts is None:
        held.settle()
    else:
        held.settle(input_tokens=counts[0], output_tokens=counts[1], cached_input_tokens=counts[2])
    return response


def _messages(params: Mapping[str, Any]) -> list[dict[str, object]]:
    if "messages" in params:
        return list(params["messages"])
    return [{"role": "user", "content": str(params.get("prompt", ""))}]


def _cap_of(client: object, model: str) -> str:
    kind = type(client).__name__
    if kind == "OpenAIClient" and _REASONING.match(model):
        return "max_completion_tokens"
    return _CAP_OF_CLIENT.get(kind, "max_tokens")


def _counts_are_guessed(client: object, params: Mapping[str, object]) -> bool:
    """`pyautogen` 0.2 does not ask a stream for its usage and counts words itself."""
    own = type(client)
    return (
        bool(params.get("stream"))
        and own.__name__ == "OpenAIClient"
        and not hasattr(own, "_add_streaming_usage_to_params")
    )


def _usage_of(client: Any, response: object) -> tuple[int, int, int] | None:
    """Input, output and cached tokens. No provider reads a prompt of no token, so that is no report."""
    usage: Any = getattr(response, "usage", None)
    if isinstance(getattr(usage, "prompt_tokens", None), int):
        details = getattr(usage, "prompt_tokens_details", None)
        counts = usage.prompt_tokens, usage.completion_tokens or 0, getattr(details, "cached_tokens", 0) or 0
    else:
        reported: Mapping[str, Any] = client.get_usage(response) or {}
        counts = int(reported.get("prompt_tokens") or 0), int(reported.get("completion_tokens") or 0), 0
    return counts if counts[0] else None
