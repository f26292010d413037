"""One request to a provider in classic AutoGen, in the shape that its clients take: asked for, made, settled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aegis_autogen.registration import Registration
from aegis_core.adapting import Attempts, ModelCall, Reading, ReceivedText, answers_in, extract, read_counts
from aegis_core.adapting.caps import cap_in, cap_name, with_cap
from aegis_core.adapting.request_settings import settings_in

_MESSAGES = ("prompt", "functions")
"""Of the other parameters these stand among messages and tools."""


def make(registration: Registration, params: dict[str, Any], client_of: Callable[[str], Any]) -> object:
    """Call the model that Aegis recommends, with the cap that it grants.

    Raises:
        AegisDenied: refused; the provider was not called.
        AegisError: nothing was decided; the provider was not called.
    """
    call = ModelCall(
        _messages(params),
        (*(params.get("tools") or ()), *(params.get("functions") or ())),
        model=None if registration.models else str(params.get("model") or "unknown"),
        models=registration.models,
        max_output_tokens=cap_in(params),
        lowers_cap=True,
        answers=answers_in(params.get("n"), params.get("best_of")),
        settings=settings_in({name: value for name, value in params.items() if name not in _MESSAGES}),
    )
    held = registration.calls.begin(call)
    model = held.model or ""
    client = client_of(model)
    request = with_cap({**params, "model": model}, cap_name(client, model, params), held.max_output_tokens)
    attempts = Attempts(registration.calls, call, held, client)
    try:
        with attempts.running():
            response = client.create(request)
    except BaseException as error:
        attempts.fail(error)
        raise
    attempts.held.settle(_reading(client, params, response, model))
    return response


def _messages(params: Mapping[str, Any]) -> list[dict[str, object]]:
    if "messages" in params:
        return list(params["messages"])
    return [{"role": "user", "content": str(params.get("prompt", ""))}]


def _counts_are_guessed(client: object, params: Mapping[str, object]) -> bool:
    """`pyautogen` 0.2 does not ask a stream for its usage and counts words itself."""
    own = type(client)
    return (
        bool(params.get("stream"))
        and own.__name__ == "OpenAIClient"
        and not hasattr(own, "_add_streaming_usage_to_params")
    )


def _reading(client: Any, params: Mapping[str, object], response: object, model: str) -> Reading:
    """What the provider counted, or what its client says of it; where both say nothing, the text of the answer."""
    if not _counts_are_guessed(client, params):
        usage = getattr(response, "usage", None)
        if usage is not None and (getattr(usage, "prompt_tokens", 1) or getattr(usage, "completion_tokens", 1)):
            return extract(None, response, model=model)
        reported: Mapping[str, Any] = client.get_usage(response) or {}
        if reported.get("prompt_tokens"):
            counts = {"input_tokens": reported["prompt_tokens"], "output_tokens": reported.get("completion_tokens")}
            return read_counts(model, counts, received=_text(response))
    return read_counts(model, None, received=_text(response))


def _text(response: Any) -> ReceivedText:
    received = ReceivedText()
    for choice in getattr(response, "choices", None) or ():
        message = getattr(choice, "message", None)
        received.text(getattr(message, "content", None), getattr(choice, "text", None))
        for call in getattr(message, "tool_calls", None) or ():
            function = getattr(call, "function", None)
            received.text(getattr(function, "name", None), getattr(function, "arguments", None))
    return received
