"""By which name a client takes the cap of an answer: it follows the client's class, and for OpenAI's clients the model.

One table for the clients of all frameworks, by the names of their classes, so that none of them is imported. A class
that is not in it takes the name that its caller uses, or `max_tokens`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, TypeGuard, cast

from aegis_core.metering.names import parse_name

CAPS = ("max_completion_tokens", "max_output_tokens", "max_tokens", "num_predict")
"""Names of the cap among the keywords of a call, and what a client is set to."""

BY_TABLE = "auto"
"""What an adapter's parameter says to have the name looked up here."""

_USUAL = "max_tokens"

_BY_CLASS: dict[str, str | None] = {
    # LangChain. Models of OpenAI rename it themselves, by model and API.
    "ChatOpenAI": _USUAL, "AzureChatOpenAI": _USUAL, "ChatAnthropic": _USUAL,
    "ChatGoogleGenerativeAI": "max_output_tokens", "ChatVertexAI": "max_output_tokens", "ChatAnthropicVertex": _USUAL,
    "ChatOllama": "num_predict",
    # CrewAI; these are fields, of which each class sends its own
    "GeminiCompletion": "max_output_tokens", "AnthropicCompletion": _USUAL, "BedrockCompletion": _USUAL,
    # AutoGen's agentchat
    "OllamaChatCompletionClient": "num_predict", "BaseAnthropicChatCompletionClient": _USUAL,
    "SKChatCompletionAdapter": None,
    # classic AutoGen
    "OllamaClient": "num_predict", "OpenAIResponsesClient": "max_output_tokens", "AnthropicClient": _USUAL,
    "GeminiClient": "max_output_tokens", "BedrockClient": _USUAL, "CohereClient": _USUAL, "MistralAIClient": _USUAL,
    "GroqClient": _USUAL, "TogetherClient": _USUAL, "CerebrasClient": _USUAL,
}  # fmt: skip
"""None: the client takes no cap with a call."""

_AS_THEY_ARE = frozenset(
    {
        "BaseChatOpenAI", "OpenAICompletion", "AzureCompletion", "BaseOpenAIChatCompletionClient", "OpenAIClient",
    }
)  # fmt: skip
"""Clients that send OpenAI's chat API the names that they are given."""

_FIELDS = frozenset({"ChatOllama"})
"""Clients that read the cap from themselves and take no keyword for it, so that a copy of them is called."""

_OF_CHAT = ("max_completion_tokens", _USUAL)

_THINKS = re.compile(r"(?:ft:)?(?:o\d|gpt-(?:[5-9]|\d\d))")
"""OpenAI's models that refuse `max_tokens`. https://platform.openai.com/docs/api-reference/chat/create"""


def cap_name(client: object, model: str, *said: Mapping[str, Any]) -> str | None:
    """The name by which a client takes the cap of a call of `model`; None: it takes none.

    Args:
        client: a model or client of a framework.
        model: the name under which it knows the model.
        said: what the call and the client's own settings say, whose name stays where the table leaves a choice.
    """
    used = [name for each in said for name in CAPS if each.get(name) is not None]
    kind = _listed(client)
    if kind in _BY_CLASS:
        return _BY_CLASS[kind]
    if kind is None:
        fields = [name for name in (_USUAL, *CAPS) if name in getattr(type(client), "model_fields", ())]
        return next(iter([*used, *fields]), _USUAL)
    if _thinks(model):
        return "max_completion_tokens"
    return next((each for each in used if each in _OF_CHAT), _USUAL)


def is_listed(client: object) -> bool:
    """Whether the table knows a client's class, so that `held_cap` tells what it sends."""
    return _listed(client) is not None


def held_cap(client: object) -> int | None:
    """The cap that a client sends of itself, by those fields of its class that it sends; None: none is known."""
    kind = _listed(client)
    names = (_BY_CLASS[kind],) if kind in _BY_CLASS else _OF_CHAT
    held = [getattr(client, name, None) for name in names if name]
    return max((cap for cap in held if _is_cap(cap)), default=None)


def _listed(client: object) -> str | None:
    """The nearest of a client's classes that the table knows."""
    return _listed_class(type(client))


@lru_cache(maxsize=256)
def _listed_class(kind: type) -> str | None:
    classes = (each.__name__ for each in kind.__mro__)
    return next((name for name in classes if name in _BY_CLASS or name in _AS_THEY_ARE), None)


@lru_cache(maxsize=256)
def _thinks(model: str) -> bool:
    return _THINKS.match(parse_name(model).bare.rpartition("/")[2]) is not None


def is_field(client: object) -> bool:
    """Whether a client takes its cap as a field of its own, and not with a call."""
    return _listed(client) in _FIELDS


def cap_in(*said: Mapping[str, Any]) -> int | None:
    """The cap that a call or a client's settings state, the first who says one counting; None: nobody does."""
    for each in said:
        nested = (each.get(name) for name in ("options", "generation_config"))
        for place in (each, *(cast("Mapping[str, Any]", held) for held in nested if isinstance(held, Mapping))):
            stated = [place[name] for name in CAPS if _is_cap(place.get(name))]
            if stated:
                return min(stated)
    return None


def with_cap(call: Mapping[str, Any], name: str | None, cap: int | None) -> dict[str, Any]:
    """A call's keywords with the cap under the one name that its client takes; unchanged where it takes none."""
    if name is None or cap is None:
        return dict(call)
    kept = {key: value for key, value in call.items() if key not in CAPS}
    config = kept.get("generation_config")  # Gemini lets it count before the keyword
    if isinstance(config, Mapping) and name in config:
        kept["generation_config"] = {**cast("Mapping[str, Any]", config), name: cap}
    return {**kept, name: cap}


def thinking_budget(settings: Mapping[str, object]) -> int:
    """Tokens of thoughts that a call sets aside, which Anthropic wants below the cap; 0: none.

    https://platform.claude.com/docs/en/build-with-claude/extended-thinking
    """
    said = settings.get("thinking")
    budget = cast("Mapping[str, object]", said).get("budget_tokens") if isinstance(said, Mapping) else None
    return budget if _is_cap(budget) else 0


def smallest_cap(stated: Iterable[int | None]) -> int | None:
    """Of the caps of several models the smallest, so that each of them keeps its own."""
    return min((each for each in stated if each is not None), default=None)


def _is_cap(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
