"""Everything that a request sends as input: text, tools, schemas, pictures, documents and sound."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from aegis_core.metering.hosted import is_hosted, refusal
from aegis_core.metering.media import Media, media_bound, media_of
from aegis_core.metering.plain import plain
from aegis_core.metering.tokens import json_bound, least_tokens, text_bound, word_bytes

MESSAGE_TOKENS = 8
"""Tokens for the frame of one message: role, separators, the answer's first tokens."""

TOOL_TOKENS = 16
"""Tokens for the frame of one tool definition, beside its JSON."""

HOSTED_TOOL_TOKENS = 1_000
"""What a provider writes into the prompt for a tool of its own."""

ANTHROPIC_TOOLS_TOKENS = 600
"""Anthropic's own words before any tools. https://platform.claude.com/docs/en/about-claude/pricing (tool use)"""

ANTHROPIC_CLIENT_TOOL_TOKENS = 1_500
"""Definitions that Anthropic writes for the tools that it names: computer, bash, text_editor, memory."""

WIDEST_WINDOW = 2_097_152
"""Of the models that take sounds and films: gemini-1.5-pro. https://ai.google.dev/gemini-api/docs/long-context"""

_MESSAGES = ("messages", "input", "contents", "prompt", "content", "requests")
_FRAME = frozenset({"role", "type", "id", "tool_call_id", "tool_use_id", "call_id", "name", "status", "cache_control"})
"""Fields of a message or part whose few tokens are those of its frame."""
_TEXTS = frozenset({"text", "input_text", "output_text"})
_NOT_SENT = frozenset(
    {
        "model", "metadata", "user", "user_id", "stream", "stream_options", "temperature", "top_p", "top_k", "store",
        "n", "seed", "logprobs", "top_logprobs", "frequency_penalty", "presence_penalty", "logit_bias", "service_tier",
        "max_tokens", "max_completion_tokens", "max_output_tokens", "max_tool_calls", "parallel_tool_calls",
        "prompt_cache_key", "prompt_cache_retention", "safety_identifier", "client_metadata", "include", "truncation",
        "reasoning", "reasoning_effort", "thinking", "modalities", "audio", "encoding_format", "dimensions", "speed",
        "inference_geo", "previous_response_id", "conversation", "background", "betas", "safetySettings",
        "safety_settings", "inferenceConfig", "guardrailConfig", "performanceConfig", "serviceTier", "modelId",
        "requestMetadata", "context_management", "container", "cachedContent", "cached_content", "anthropic_version",
        "provider", "plugins", "candidate_count", "response_modalities", "response_mime_type", "http_options",
        "extra_headers", "extra_query", "timeout", "drop_params", "num_retries",
    }
)  # fmt: skip
"""Settings that no tokenizer sees. A field that is not known counts as text."""
_DEEPEST = 64


@dataclass(slots=True)
class Prompt:
    """Sums while it walks. Counts are the most, but for `words`, from which the least follows.

    Attributes:
        tokens: all input, media included.
        audio: of it sound; likewise images and video.
        words: bytes of words of the messages.
        messages: how many there are.
        cache_write: how long a part asks to be kept in the cache, in the provider's word; None: no part does.
        references: names of things that lie at the provider.
        unbounded: what nothing bounds, as a field and a sentence, unless the window does.
    """

    family: str
    model: str
    tokens: int = 0
    audio: int = 0
    image: int = 0
    video: int = 0
    words: int = 0
    messages: int = 0
    cache_write: str | None = None
    references: list[str] = field(default_factory=list[str])
    unbounded: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    @property
    def least(self) -> int:
        """Fewest tokens that this can be."""
        return least_tokens(self.words) if self.words else min(1, self.messages)

    def body(self, body: Mapping[str, Any]) -> None:
        """Walk a whole request."""
        for name, given in body.items():
            value = plain(given)
            if name in _MESSAGES:
                self._messages(name, value)
            elif name == "tools":
                self._tools(value)
            elif name in {"system", "instructions", "systemInstruction", "system_instruction"}:
                self._messages(name, value)
            elif name in {"toolConfig", "tool_config"} and isinstance(value, Mapping):
                held = cast("Mapping[str, Any]", value)
                self._tools(held.get("tools"))
                self.tokens += json_bound({key: each for key, each in held.items() if key != "tools"})
            elif name in {"generationConfig", "generation_config"}:
                self.tokens += _schemas(value)
            elif name == "cache_control":
                self._cached(value)
            elif name not in _NOT_SENT and value is not None and not isinstance(value, bool | int | float):
                self.tokens += json_bound(value)

    def _messages(self, name: str, value: Any) -> None:
        listed = _list(value)
        if listed and all(isinstance(each, int) for each in listed):
            self.tokens += len(listed)  # a text that was cut into tokens already
            self.messages += 1
            return
        for position, message in enumerate(listed if isinstance(value, list | tuple) else [value]):
            self.messages += 1
            self.tokens += MESSAGE_TOKENS
            self._value(f"{name}.{position}", message, 0)

    def _value(self, where: str, given: Any, depth: int) -> None:
        value = plain(given)
        if isinstance(value, str):
            self._text(value)
        elif depth > _DEEPEST:
            self.tokens += json_bound(value)
        elif isinstance(value, Mapping):
            self._part(where, cast("Mapping[str, Any]", value), depth)
        elif isinstance(value, list | tuple):
            for position, each in enumerate(cast("Sequence[Any]", value)):
                self._value(f"{where}.{position}", each, depth + 1)
        elif value is not None:
            self.tokens += json_bound(value)

    def _text(self, text: str) -> None:
        self.tokens += text_bound(text)
        self.words += word_bytes(text)

    def _part(self, where: str, part: Mapping[str, Any], depth: int) -> None:
        if media := media_of(part):
            self._media(where, media)
            self._cached(part.get("cache_control"))
            return
        for name, value in part.items():
            if name == "cache_control":
                self._cached(value)
            elif name in {"cachePoint", "cache_point"}:
                self._cached(value or {})
            elif name == "type" and value == "item_reference":
                self.references.append(str(part.get("id", "")))
            elif name in _FRAME:
                self.tokens += text_bound(value) if name == "name" and isinstance(value, str) else 0
            elif name in {"input", "args", "arguments", "response", "json"} and isinstance(value, Mapping):
                self.tokens += json_bound(value)
            elif isinstance(value, str) and not _certain(name, part):
                self.tokens += text_bound(value)
            else:
                self._value(f"{where}.{name}", value, depth + 1)

    def _media(self, where: str, media: Media) -> None:
        if media.kind == "text":
            self._text(_as_text(media.data))
            return
        tokens = media_bound(media, self.family, self.model)
        if tokens is None:
            self.unbounded.append((where, f"nothing bounds the length of this {media.kind}"))
            return
        self.tokens += tokens
        if media.kind == "audio":
            self.audio += tokens
        elif media.kind in {"image", "document"}:
            self.image += tokens

    def _tools(self, value: Any) -> None:
        tools = [plain(each) for each in _list(value)]
        if tools and self.family in {"anthropic", "bedrock"}:
            self.tokens += ANTHROPIC_TOOLS_TOKENS
        for tool in tools:
            self.tokens += TOOL_TOKENS + json_bound(tool)
            if not isinstance(tool, Mapping):
                continue
            fields = cast("Mapping[str, Any]", tool)
            self._cached(fields.get("cache_control"))
            self._cached(fields.get("cachePoint"))
            if isinstance(function := fields.get("function"), Mapping):
                self._cached(cast("Mapping[str, Any]", function).get("cache_control"))
            if is_hosted(fields):
                self.tokens += HOSTED_TOOL_TOKENS
            elif self.family == "anthropic" and "input_schema" not in fields and "type" in fields:
                self.tokens += ANTHROPIC_CLIENT_TOOL_TOKENS

    def _cached(self, value: Any) -> None:
        if value is None:
            return
        said = cast("Mapping[str, Any]", value).get("ttl") if isinstance(value, Mapping) else None
        self.cache_write = "1h" if self.cache_write == "1h" or (said is not None and said != "5m") else "5m"


def messages_bound(messages: Iterable[Mapping[str, object]], tools: Sequence[object] = ()) -> int:
    """Most input tokens of a chat call, for whichever provider answers it.

    Args:
        messages: in the shape of OpenAI: ``role``, ``content`` as text or a list of parts, ``tool_calls``.
        tools: tool definitions, as JSON-compatible values.

    Returns:
        Tokens, those of a sound or film of unknown length being all that a model reads at once.
    """
    prompt = Prompt("openai", "")
    prompt.body({"messages": list(messages), "tools": tools})
    return max(prompt.tokens, WIDEST_WINDOW) if prompt.unbounded else prompt.tokens


def check_lengths(prompt: Prompt, context_tokens: int | None) -> None:
    """Refuse what nothing bounds.

    Raises:
        InvalidRequestError: a sound or film of unknown length, and the model's window is not known either.
    """
    if prompt.unbounded and context_tokens is None:
        field, problem = prompt.unbounded[0]
        raise refusal(field, f"{problem}; send its data in the request, or say how long the model's window is")


def _certain(name: str, part: Mapping[str, Any]) -> bool:
    """Whether a text is certainly read by the model. Providers leave thoughts of earlier turns and signatures out."""
    if name == "content":
        return True
    return name == "text" and part.get("type", "text") in _TEXTS and not part.get("thought")


def _schemas(value: Any) -> int:
    """Of a configuration only schemas and speech are text to the model."""
    if not isinstance(value, Mapping):
        return 0
    fields = cast("Mapping[str, Any]", value)
    return sum(
        json_bound(plain(each)) for name, each in fields.items() if "schema" in name.lower() and each is not None
    )


def _as_text(data: str | bytes | None) -> str:
    return data.decode("utf-8", "replace") if isinstance(data, bytes) else data or ""


def _list(value: Any) -> list[Any]:
    return list(cast("Sequence[Any]", value)) if isinstance(value, list | tuple) else []
