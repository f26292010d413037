"""The most that a request can consume: the dearest way that it allows, and no dearer one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal, cast

from aegis_core.metering.hosted import Hosting, refusal
from aegis_core.metering.plain import plain
from aegis_core.metering.prompt import Prompt, check_lengths
from aegis_core.metering.reading import Reading, text_of
from aegis_core.metering.tokens import json_bound
from aegis_core.protocol.usage import TOOL_FIELDS

_STANDARD = frozenset({"default", "standard", "standard_only", "auto", "on_demand"})
_FAMILIES = {
    "anthropic": "anthropic", "claude": "anthropic", "gemini": "gemini", "google": "gemini", "vertex": "gemini",
    "vertex_ai": "gemini", "bedrock": "bedrock", "bedrock_converse": "bedrock", "aws": "bedrock",
}  # fmt: skip
_OPENAI = re.compile(r"(?:chat)?gpt|o\d|codex")
_CAPS = ("max_completion_tokens", "max_output_tokens", "max_tokens", "maxOutputTokens", "maxTokens")
_ANSWERS = ("n", "best_of", "candidateCount", "candidate_count")
_MODALITIES = ("modalities", "responseModalities", "response_modalities")
_REFERENCES = ("previous_response_id", "conversation", "prompt", "cachedContent", "cached_content", "assistant_id")


@dataclass(frozen=True, slots=True)
class Bound:
    """What a call may consume at most.

    Attributes:
        model: as the request names it.
        input_tokens: all input, of every turn that the provider takes within the call.
        output_tokens: all output; None: the request caps it nowhere, and the model's maximum is not known.
        least_input_tokens: fewer were certainly not sent.
        audio_tokens: of the input, sound at most; likewise images and video.
        audio_output: whether the answer may be sound; likewise pictures.
        cache_write: whether input may be written to a cache, and for how long.
        hosted: calls of hosted tools by the fields of `Usage`.
        service_tier: the tier that is asked for; None: the standard one. Likewise speed and place.
    """

    model: str
    input_tokens: int
    output_tokens: int | None
    least_input_tokens: int = 0
    audio_tokens: int = 0
    image_tokens: int = 0
    video_tokens: int = 0
    audio_output: bool = False
    image_output: bool = False
    cache_write: Literal["5m", "1h"] | None = None
    hosted: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    service_tier: str | None = None
    speed: str | None = None
    inference_geo: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds a request beside itself.

    Attributes:
        context_tokens: the model's window, by which input at the provider is bounded; None: such input is refused.
        output_tokens: the model's longest answer, where the request caps none.
        hosted_calls: calls of each hosted tool, where the request bounds none; None: such tools are refused.
        known_tokens: tokens of what a name at the provider stands for (a response, a conversation), None where unknown.
    """

    context_tokens: int | None = None
    output_tokens: int | None = None
    hosted_calls: int | None = None
    known_tokens: Callable[[str], int | None] | None = None


def bound(
    request: Mapping[str, Any], *, api: str = "openai", model: str | None = None, limits: Limits | None = None
) -> Bound:
    """Bound a request as it is sent to a provider.

    Args:
        request: the body, as it is sent or as an SDK takes it, in the shape of any of the APIs.
        api: the provider or API, as for `extract`; with ``_embeddings`` behind it there is no output.
        model: the model, where the body does not name it.
        limits: what else is known.

    Raises:
        InvalidRequestError: something nobody can bound, with ``code`` ``unbounded``; says what to do.
    """
    limits = limits or Limits()
    body = _flat(request)
    nested = _nested(body)
    name = str(model or body.get("model") or body.get("modelId") or "")
    family = _FAMILIES.get(api.lower().removesuffix("_embeddings"), "openai")
    prompt = Prompt(family, name.lower().rpartition("/")[2])
    prompt.body(body)
    check_lengths(prompt, limits.context_tokens)
    tokens = _with_references(prompt, body, limits)
    answers = _answers(nested)
    cap = 0 if api.lower().endswith("_embeddings") else _cap(nested, limits)
    hosting = Hosting.of(body, prompt.model, limits.hosted_calls)
    if hosting.turns and cap is None:
        raise refusal("max_tokens", "is needed where hosted tools may run several times; give the answer a cap")
    sent = hosting.input_bound(tokens, cap or 0)
    output = None if cap is None else cap * answers + (json_bound(body["prediction"]) if body.get("prediction") else 0)
    if _compacts(body):
        # One more pass over the whole, with a summary that is as long as an answer may be.
        sent += tokens + hosting.result_tokens + (cap or 0 if hosting.turns else 0)
        output = None if output is None or cap is None else output + cap
    may_be_cut = bool(body.get("context_management")) or body.get("truncation") == "auto"
    speaks, draws = _modalities(nested)
    return Bound(
        model=name,
        input_tokens=sent,
        output_tokens=output,
        least_input_tokens=min(1, prompt.messages) if may_be_cut else prompt.least,
        audio_tokens=prompt.audio * (hosting.turns + 1),
        image_tokens=prompt.image * (hosting.turns + 1),
        video_tokens=sent if prompt.unbounded else 0,
        audio_output=speaks,
        image_output=draws,
        cache_write=_cache_write(prompt, api.lower()),
        hosted=MappingProxyType(dict(hosting.fees)),
        service_tier=_tier(body),
        speed=None if body.get("speed") in {None, "standard"} else str(body["speed"]),
        inference_geo=None if body.get("inference_geo") in {None, "global"} else str(body["inference_geo"]),
    )


def check(reading: Reading, most: Bound) -> Reading:
    """Add a doubt for each count that the request does not allow: above its bound, or below what was certainly sent."""
    usage = reading.usage
    if usage is None:
        return reading
    doubts = list(reading.doubts)
    sent, said = usage.all_input_tokens, usage.all_output_tokens
    if sent > most.input_tokens:
        doubts.append(f"{sent:,} input tokens are more than the {most.input_tokens:,} that could be sent")
    if sent < most.least_input_tokens:
        doubts.append(f"{sent:,} input tokens are fewer than the {most.least_input_tokens:,} that were sent at least")
    if most.output_tokens is not None and said > most.output_tokens:
        doubts.append(f"{said:,} output tokens are more than the cap of {most.output_tokens:,}")
    for name in TOOL_FIELDS:
        calls = getattr(usage, name)
        if calls > most.hosted.get(name, 0):
            doubts.append(f"{calls:,} {name.replace('_', ' ')} are more than the request allows")
    return replace(reading, doubts=tuple(doubts))


def _flat(request: Mapping[str, Any]) -> dict[str, Any]:
    """The body with what SDKs take in an argument of its own."""
    if not isinstance(request, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise refusal("request", "is no mapping; give the body as the provider is sent it")
    body = {name: plain(value) for name, value in request.items()}
    for name in ("extra_body", "config"):
        held = body.get(name)
        if isinstance(held, Mapping):
            body = {**cast("Mapping[str, Any]", held), **body}
            del body[name]
    return body


def _nested(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The body and its configurations."""
    names = ("generationConfig", "generation_config", "inferenceConfig")
    held = [each for name in names if (each := body.get(name)) is not None]
    return [body, *(cast("Mapping[str, Any]", each) for each in held if isinstance(each, Mapping))]


def _cap(nested: list[Mapping[str, Any]], limits: Limits) -> int | None:
    return max(_counts(nested, _CAPS), default=limits.output_tokens)


def _answers(nested: list[Mapping[str, Any]]) -> int:
    return max((1, *_counts(nested, _ANSWERS)))


def _counts(nested: list[Mapping[str, Any]], names: tuple[str, ...]) -> list[int]:
    """The counts that a body and its configurations give under some names."""
    found: list[int] = []
    for each in nested:
        for name in names:
            value = each.get(name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise refusal(name, f"{str(value)[:40]!r} is no whole number of at least 0")
            found.append(value)
    return found


def _with_references(prompt: Prompt, body: Mapping[str, Any], limits: Limits) -> int:
    """Input tokens with what lies at the provider: as many as are known, else the model's whole window."""
    names = [(name, _reference(name, body[name])) for name in _REFERENCES if body.get(name)]
    names = [(name, said) for name, said in names if said] + [("input", said) for said in prompt.references]
    tokens = prompt.tokens
    for name, said in names:
        known = limits.known_tokens(said) if limits.known_tokens else None
        if known is None and limits.context_tokens is None:
            raise refusal(
                name,
                f"nobody here knows how long {said[:80]!r} is; send the messages themselves, "
                "or say how long the model's window is",
            )
        if known is None:
            return max(tokens, limits.context_tokens or 0)
        tokens += known
    return max(tokens, limits.context_tokens or 0) if prompt.unbounded else tokens


def _reference(name: str, value: Any) -> str:
    """The name of a thing at the provider; a prompt that is a text is no name."""
    if isinstance(value, Mapping):
        return str(cast("Mapping[str, Any]", value).get("id") or "")
    return value if isinstance(value, str) and name != "prompt" else ""


def _modalities(nested: list[Mapping[str, Any]]) -> tuple[bool, bool]:
    """Whether the answer may be sound, and whether it may be a picture."""
    said: set[str] = set()
    for each in nested:
        for name in _MODALITIES:
            listed = each.get(name)
            if isinstance(listed, list | tuple):
                said.update(text_of(one).lower() for one in cast("list[Any]", listed))
    return "audio" in said, "image" in said


def _cache_write(prompt: Prompt, api: str) -> Literal["5m", "1h"] | None:
    """OpenAI writes to its cache unasked, and some of its models charge for it; others write where a part says so."""
    if prompt.cache_write is not None:
        return "1h" if prompt.cache_write == "1h" else "5m"
    unasked = api.startswith(("openai", "azure")) and api != "openai_compatible" and "claude" not in prompt.model
    return "5m" if unasked or (prompt.family == "openai" and _OPENAI.match(prompt.model)) else None


def _tier(body: Mapping[str, Any]) -> str | None:
    held = body.get("service_tier") or body.get("serviceTier")
    said = cast("Mapping[str, Any]", held).get("type") if isinstance(held, Mapping) else held
    tier = text_of(said).lower()
    return None if not tier or tier in _STANDARD else tier


def _compacts(body: Mapping[str, Any]) -> bool:
    return "compact" in str(body.get("context_management") or "")
