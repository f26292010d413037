"""What a request says to a provider beside messages and tools that is input, or that changes what it may cost.

There are two ways to it. Keywords of a call are sent as they are, so each of them counts that stands nowhere else in a
`ModelCall`; one that nobody knows is bounded as text. Of what a model or client is set to only names that are known
here are read, because most of its attributes are not sent at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from aegis_core.adapting.caps import CAPS

SETTINGS = (
    "response_format", "text_format", "text", "response_schema", "response_json_schema", "output_config",
    "output_format", "instructions", "system", "system_instruction",
    "previous_response_id", "conversation", "prompt", "cached_content", "prediction", "functions", "tool_config",
    "web_search_options", "search_parameters", "plugins", "mcp_servers", "max_tool_calls",
    "service_tier", "speed", "inference_geo", "modalities", "response_modalities", "audio",
    "thinking", "cache_control", "context_management", "truncation", "extra_body", "generation_config", "temperature",
)  # fmt: skip
"""Names of such settings, as the providers spell them; and the temperature, which events repeat."""

ANSWERS = ("n", "best_of", "candidate_count")
"""Settings by which several answers are asked for at once; `answers_in` reads them."""

_ELSEWHERE = frozenset(
    {
        "messages", "tools", "model", "stream", "stream_options", "stream_usage", "include_usage", "stop", "callbacks",
        *CAPS, *ANSWERS,
    }
)  # fmt: skip
"""Keywords of a call that a `ModelCall` has fields for, or that no provider is sent."""


def temperature_in(*said: Mapping[str, Any]) -> float | None:
    """The temperature of a call, by the first of its settings that says one; None: the provider's own."""
    for each in said:
        held: object = each.get("generation_config")
        more = cast("Mapping[str, Any]", held) if isinstance(held, Mapping) else _NONE
        value = each.get("temperature", more.get("temperature"))
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _HOTTEST:
            return float(value)
    return None


_NONE: Mapping[str, Any] = {}
_HOTTEST = 10
"""Above every provider's most; what is more is refused there, and no evidence."""


def settings_in(call: Mapping[str, Any], *held: Mapping[str, Any]) -> dict[str, object]:
    """The settings of a request; the first who says one counts.

    Args:
        call: keywords of the call itself.
        held: what models and clients are set to, which they send with each request.
    """
    found: dict[str, object] = {
        name: value for name, value in call.items() if value is not None and name not in _ELSEWHERE
    }
    for each in held:
        for name in SETTINGS:
            if name not in found and each.get(name) is not None:
                found[name] = each[name]
    return found
