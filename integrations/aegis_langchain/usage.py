"""What LangChain hands on of an answer, whole or chunk by chunk, as a reading.

The provider's own block counts where LangChain keeps it, because it is as wide as the bill; else `usage_metadata` does,
whose input includes what was read from a cache or written to one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult, Generation, LLMResult

from aegis_core.adapting import Reading, ReceivedText, extract, read_counts

_INPUTS = {
    "cached_input_tokens": ("cache_read",),
    "cache_write_5m_tokens": ("cache_creation", "ephemeral_5m_input_tokens"),
    "cache_write_1h_tokens": ("ephemeral_1h_input_tokens",),
    "audio_input_tokens": ("audio",),
    "image_input_tokens": ("image",),
}
_OUTPUTS = {
    "reasoning_tokens": ("reasoning",),
    "audio_output_tokens": ("audio",),
    "image_output_tokens": ("image",),
}
_TIERS = ("priority", "flex")
_PREFIXES = ("", *(f"{tier}_" for tier in _TIERS))
"""Before such a word langchain-openai writes the kinds of tokens of a call that was served at that tier."""

_ENDS = ("finish_reason", "stop_reason", "status")
"""What is said of an answer only when it ends."""

_HOSTED = {"web_search_call": "web_searches", "file_search_call": "file_searches"}
"""Items of an answer that OpenAI charges one by one, by the field of `Usage`."""


class Heard:
    """What came of a stream so far. `keeps`: its chunks, too."""

    def __init__(self, *, keeps: bool = False) -> None:
        self.begun = self.whole = False
        self.chunks: list[ChatGenerationChunk] = []
        self._keeps = keeps
        self._received = ReceivedText()
        self._rows: list[_Row] = []
        self._tier: object = None
        self._hosted: dict[str, int] = {}
        self._last: object = None

    @property
    def counted(self) -> bool:
        """Whether the provider reported usage."""
        return bool(self._rows)

    def add(self, chunk: object) -> None:
        """Count in one more chunk. LangChain may announce the same one twice."""
        self.begun = True
        message = getattr(chunk, "message", None)
        if not isinstance(message, BaseMessage) or chunk is self._last:
            return
        self._last = chunk
        if self._keeps and isinstance(chunk, ChatGenerationChunk):
            self.chunks.append(chunk)
        _hear(self._received, message)
        told: Mapping[str, Any] = getattr(chunk, "generation_info", None) or {}
        said = {**cast("Mapping[str, Any]", message.response_metadata), **told}
        self._tier = said.get("service_tier") or self._tier
        self.whole = self.whole or any(said.get(name) for name in _ENDS)
        for name, calls in _hosted_in(message).items():
            self._hosted[name] = self._hosted.get(name, 0) + calls
        if usage := getattr(message, "usage_metadata", None):
            self._rows.append(_Row(usage, self._received.pieces))

    def add_result(self, result: ChatResult) -> ChatGenerationChunk:
        """The answer of a model that does not stream, as the one chunk of a stream."""
        (generation, *_) = result.generations
        values = generation.message.model_dump(exclude={"type"})
        chunk = ChatGenerationChunk(message=AIMessageChunk(**values), generation_info=generation.generation_info)
        self.add(chunk)
        return chunk

    def reading(self, model: str | None) -> Reading:
        """What the provider counted; without a count, how much text arrived."""
        counts, total = _merged(self._rows)
        tier = self._tier or next((row.tier for row in self._rows if row.tier), None)
        return read_counts(
            model, counts and {**counts, **self._hosted}, total=total, received=self._received, tier=tier,
            finished=self.whole,
        )  # fmt: skip


def read_result(result: LLMResult | ChatResult, model: str | None) -> Reading:
    """Read a whole answer. Of several generations the first one has the usage of all."""
    generations = list(_flat(result.generations))
    received = ReceivedText()
    messages = [each.message for each in generations if isinstance(each, ChatGeneration)]
    for message in messages:
        _hear(received, message)
    received.text(*(each.text for each in generations if not isinstance(each, ChatGeneration)))
    output: Mapping[str, Any] = result.llm_output or {}
    for message in messages:
        said = cast("Mapping[str, Any]", message.response_metadata)
        raw: Any = said.get("usage")
        if isinstance(raw, dict) and "input_tokens" in raw:
            block: dict[str, Any] = {"type": "message", "content": cast("Any", message).content, "usage": raw}
            return extract("anthropic", block, model=model)
        reported = said.get("token_usage") or output.get("token_usage")
        usage = getattr(message, "usage_metadata", None)
        if usage and not (isinstance(reported, Mapping) and "prompt_tokens" in reported):
            row = _Row(usage, 0)
            tier = said.get("service_tier") or output.get("service_tier") or row.tier
            counts = {**row.counts, **_hosted_in(message)}
            return read_counts(model, counts, total=row.total, received=received, tier=tier)
    return _reported(generations, output, received, model)


def streams(model: BaseChatModel) -> bool:
    """Whether a model has a stream of its own."""
    kind = type(model)
    own = (kind._stream, kind._astream)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    return own != (BaseChatModel._stream, BaseChatModel._astream)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


def is_cached(result: LLMResult) -> bool:
    """Whether an answer came from LangChain's cache, which repeats the usage of the call that was paid."""
    messages = [each.message for each in _flat(result.generations) if isinstance(each, ChatGeneration)]
    usages: list[Any] = [getattr(each, "usage_metadata", None) for each in messages]
    return any(usage.get("total_cost") == 0 for usage in usages if usage)


class _Row:
    """One `usage_metadata` by the fields of `Usage`."""

    def __init__(self, usage: Mapping[str, Any], pieces: int) -> None:
        self.pieces = pieces
        self.total: object = usage.get("total_tokens")
        inputs = cast("Mapping[str, Any]", usage.get("input_token_details") or {})
        outputs = cast("Mapping[str, Any]", usage.get("output_token_details") or {})
        self.tier = next((each for each in _TIERS if each in inputs or each in outputs), None)
        self.counts: dict[str, Any] = {
            "input_tokens": usage.get("input_tokens"),
            "output_tokens": usage.get("output_tokens"),
            **{field: _sum(inputs, names) for field, names in _INPUTS.items()},
            **{field: _sum(outputs, names) for field, names in _OUTPUTS.items()},
        }


def _merged(rows: Sequence[_Row]) -> tuple[dict[str, Any] | None, object]:
    """The counts of a stream. LangChain adds those of its chunks up; what a provider repeats in each is a total."""
    if not rows:
        return None, None
    if sum(bool(row.counts["input_tokens"]) for row in rows) < 2:
        fields = rows[0].counts
        return {name: _plus(row.counts[name] for row in rows) for name in fields}, _plus(row.total for row in rows)
    last = dict(rows[-1].counts)
    for name in ("input_tokens", *_INPUTS):
        last[name] = max((row.counts[name] or 0 for row in rows), default=0)
    if _stand_still(rows):  # text arrived between equal counts, so they are those of the pieces
        for name in ("output_tokens", *_OUTPUTS):
            last[name] = _plus(row.counts[name] for row in rows)
    return last, None


def _stand_still(rows: Sequence[_Row]) -> bool:
    said = {row.counts["output_tokens"] for row in rows}
    return len(said) == 1 and rows[-1].pieces > rows[0].pieces


def _plus(values: Iterable[Any]) -> Any:
    found = [each for each in values if isinstance(each, int)]
    return sum(found)


def _sum(details: Mapping[str, Any], names: Sequence[str]) -> Any:
    """A kind under its names, with each tier's word before it; what is no number is left for the reader to doubt."""
    if not details:
        return 0
    found = [details[prefix + name] for name in names for prefix in _PREFIXES if details.get(prefix + name) is not None]
    return sum(found) if all(isinstance(each, int) for each in found) else found[0]


def _reported(
    generations: Sequence[Generation], output: Mapping[str, Any], received: ReceivedText, model: str | None
) -> Reading:
    """What stands in the older place, as the provider said it."""
    messages = [each.message for each in generations if isinstance(each, ChatGeneration)]
    told = [cast("dict[str, Any]", each.response_metadata) for each in messages]
    nothing: dict[str, Any] = {}
    said = next((each for each in told if each.get("token_usage")), nothing)
    raw: object = said.get("token_usage") or output.get("token_usage")
    if not isinstance(raw, Mapping):
        return read_counts(model, None, received=received)
    block = cast("Mapping[str, Any]", raw)
    tier = said.get("service_tier") or output.get("service_tier")
    texts = [{"message": {"content": _text_of(each)}} for each in generations]
    answer = {"object": "chat.completion", "choices": texts, "usage": block, "service_tier": tier}
    return extract("openrouter" if "cost" in block else "openai_chat", answer, model=model)


def _hear(received: ReceivedText, message: BaseMessage) -> None:
    """Take in the text of a message: what it says, and the calls of tools."""
    received.text(message.text)
    if isinstance(message, AIMessageChunk):
        for piece in message.tool_call_chunks:
            received.text(piece.get("name"), piece.get("args"))
    elif isinstance(message, AIMessage):
        for call in message.tool_calls:
            received.text(call["name"], json.dumps(call["args"], default=str))


def _hosted_in(message: BaseMessage) -> dict[str, int]:
    """Calls of hosted tools in an answer of OpenAI's Responses."""
    content: list[Any] = list(message.content) if isinstance(message.content, list) else []
    items = [*content, *cast("list[Any]", message.additional_kwargs.get("tool_outputs") or [])]
    found: dict[str, int] = {}
    containers: set[str] = set()
    for item in items:
        kind = str(cast("Mapping[str, Any]", item).get("type")) if isinstance(item, Mapping) else ""
        if field := _HOSTED.get(kind):
            found[field] = found.get(field, 0) + 1
        elif kind == "code_interpreter_call":
            containers.add(str(cast("Mapping[str, Any]", item).get("container_id")))
    return found | ({"code_sessions": len(containers)} if containers else {})


def _text_of(generation: Generation) -> str:
    return str(generation.message.text) if isinstance(generation, ChatGeneration) else generation.text


def _flat(generations: Iterable[Any]) -> Iterable[Generation]:
    for each in generations:
        yield from cast("list[Generation]", each) if isinstance(each, list) else [each]
