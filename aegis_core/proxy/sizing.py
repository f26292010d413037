"""How large a call may be: what is reserved for it, which cap its answer gets, and how that is put into its body."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from aegis_core.adapting.estimate import Estimate, InputBounds
from aegis_core.adapting.request_fields import evidence_of
from aegis_core.adapting.request_settings import temperature_in
from aegis_core.governor.proxy_keys import KeyTerms
from aegis_core.metering.allowed import allowance_of
from aegis_core.metering.bound import Bound, bound
from aegis_core.metering.hosted import is_hosted, refusal
from aegis_core.metering.maxima import maxima_by_name
from aegis_core.protocol.canonical import digest
from aegis_core.protocol.errors import InvalidRequestError
from aegis_core.protocol.keywords import RequestFields
from aegis_core.protocol.usage import ORDINARY
from aegis_core.proxy.request_body import Edit, Members, RequestBody
from aegis_core.proxy.routes import Api

_DEEPEST = 8
AFTER_THOUGHTS = 1_024
"""Tokens that are left for an answer beside the thoughts that were asked for."""

_CAPS: dict[Api, tuple[str, ...]] = {
    "chat": ("max_completion_tokens", "max_tokens"),
    "completions": ("max_tokens",),
    "responses": ("max_output_tokens",),
    "messages": ("max_tokens",),
    "generate": ("maxOutputTokens", "max_output_tokens"),
}
"""The names of the cap on an answer. The first one is put where there is none; both may be there."""
_COMPATIBLE_CAP = "max_tokens"
"""What servers call it that speak OpenAI's chat completions."""
_CONFIGS = ("generationConfig", "generation_config")
_MESSAGES: dict[Api, str] = {"chat": "messages", "messages": "messages", "responses": "input", "generate": "contents"}
_ANSWERS = ("n", "best_of", "candidateCount", "candidate_count")
_UNCOUNTED = frozenset(
    {
        "stream", "stream_options", "metadata", "user", "safety_identifier", "prompt_cache_key", "client_metadata",
        "temperature", "top_p", "top_k", "seed", "store", "parallel_tool_calls", "include", "model", "tools",
        "prompt_cache_retention",
    }
)  # fmt: skip
"""Members that change from call to call of a conversation, and neither the tokens nor the price."""
_EXACT = {
    name.replace("_", "").lower(): name
    for name in (
        "model", "messages", "input", "contents", "max_tokens", "max_completion_tokens", "max_output_tokens", "n",
        "best_of", "stream", "stream_options", "tools", "thinking", "background", "max_tool_calls",
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sized:
    """A call with its size.

    Attributes:
        estimate: what it may consume, with `cap`.
        cap: on one answer, as it is reserved before it is cut to the affordable; None: it has no output.
        asked: the cap that the client sent; None: none.
        least: down to how much it may be cut; None: not at all.
        answers: how many answers are asked for at once.
        temperature: of the request, where it says one.
    """

    estimate: Estimate
    cap: int | None
    asked: int | None
    least: int | None
    answers: int
    temperature: float | None = None

    @property
    def bound(self) -> Bound:
        """What it may consume at most."""
        return self.estimate.bound

    def fields(self) -> RequestFields:
        """What the governor is told of it."""
        found: RequestFields = {
            "model": self.bound.model,
            "prompt_tokens": self.bound.input_tokens,
            "max_output_tokens": self.bound.output_tokens or 0,
            "temperature": self.temperature,
            **evidence_of(self.estimate),
        }
        if self.least is not None:
            found["min_output_tokens"] = self.least * self.answers
            found["cut_before_asking"] = True
        if (allows := allowance_of(self.bound)) != ORDINARY:
            found["allows"] = allows
        return found


class Sizing:
    """The sizes of calls. It learns from what providers counted, for whichever session."""

    def __init__(self) -> None:
        self._bounds = InputBounds()

    def of(self, body: RequestBody, api: Api, model: str, terms: KeyTerms, models: Sequence[str] = ()) -> Sized:
        """Bound a call.

        Args:
            body: as the client sent it.
            api: its shape.
            model: as it is priced.
            terms: of the key.
            models: those of which one may answer instead: the bound holds for whichever counts most.

        Raises:
            InvalidRequestError: something in it that nobody can bound; says what to do.
        """
        values = body.values
        _check_names(values)
        if values.get("background"):
            raise refusal("background", "answers later and elsewhere, so nobody here could settle it; leave it out")
        if api in {"embeddings", "gemini_embeddings"}:
            most = bound(values, api="openai_embeddings" if api == "embeddings" else "gemini_embeddings", model=model)
            return Sized(Estimate(most, "", "", model, size=len(body.raw)), None, None, None, 1)
        config = next((found for name in _CONFIGS if (found := body.inner(name))), None)
        holder = config.values if api == "generate" and config else {} if api == "generate" else values
        asked = max(
            (count for name in _CAPS[api] if (count := _count(name, holder.get(name))) is not None), default=None
        )
        answers = max(1, *(_count(name, said.get(name)) or 1 for said in (values, holder) for name in _ANSWERS))
        cap = terms.max_output_tokens if asked is None else min(asked, terms.max_output_tokens)
        if asked is None and (known := maxima_by_name(model)):
            cap = min(cap, known.output_tokens)
        thoughts = _thoughts(values, holder)
        if thoughts and thoughts >= cap:
            if asked is not None and thoughts >= asked:
                thoughts = 0  # the provider refuses it, in its own words
            else:
                raise refusal(
                    "thinking", f"{thoughts:,} tokens of thoughts leave nothing of the {cap:,} that this key allows"
                )
        estimate = self._estimate(body, api, model, models, terms, cap, answers)
        exact = estimate.bound.output_tokens == cap * answers
        least = min(cap, max(terms.min_output_tokens, thoughts + AFTER_THOUGHTS if thoughts else 0))
        drawn = temperature_in(values, holder)
        return Sized(estimate, cap, asked, least if exact else None, answers, drawn)

    def learn(self, sized: Sized, input_tokens: int, output_tokens: int, response_id: str | None) -> None:
        """Remember what the provider counted for a call."""
        if sized.estimate.content:
            self._bounds.learn(
                sized.estimate, input_tokens, sized.bound.model, response_id=response_id, output_tokens=output_tokens
            )

    def _estimate(
        self, body: RequestBody, api: Api, model: str, models: Sequence[str], terms: KeyTerms, cap: int, answers: int
    ) -> Estimate:
        values = dict(body.values)
        given = values.get(_MESSAGES.get(api, ""))
        listed: Any = [{"role": "user", "content": given}] if isinstance(given, str) else given
        listed = [given] if isinstance(given, Mapping) else listed
        messages: list[Mapping[str, Any]] = []
        if isinstance(listed, list) and all(isinstance(each, Mapping) for each in cast("list[object]", listed)):
            messages, cached = _bare(cast("list[Mapping[str, Any]]", listed))
            del values[_MESSAGES[api]]
            if cached and "cache_control" not in values:
                values["cache_control"] = cached
        tools = cast("list[object]", found) if isinstance(found := values.get("tools"), list) else []
        if api == "responses" and terms.hosted_calls and "max_tool_calls" not in values and any(map(is_hosted, tools)):
            values["max_tool_calls"] = terms.hosted_calls
        settings = {name: value for name, value in values.items() if name not in _UNCOUNTED | {*_CAPS[api]}}
        for name in _CONFIGS:
            if isinstance(held := settings.get(name), Mapping):
                inner = cast("Mapping[str, Any]", held)
                settings[name] = {key: value for key, value in inner.items() if key not in _CAPS["generate"]}
        found = self._bounds.estimate(messages, tools, model, models, settings, cap=cap, answers=answers)
        return replace(found, bound=replace(found.bound, model=model)) if models else found


def call_digest(body: bytes) -> str:
    """A name for what is asked, by which the same call is known again."""
    return digest(body.decode("utf-8", "surrogateescape"))


def edits_of(
    body: RequestBody, api: Api, sized: Sized, cap: int | None, terms: KeyTerms, *, compatible: bool, usage: bool
) -> list[Edit]:
    """What is changed in a body: its cap where it is another, calls of hosted tools, and usage asked for in a stream.

    Args:
        body: as the client sent it.
        api: its shape.
        sized: its size.
        cap: on one answer, as it was granted.
        terms: of the key.
        compatible: the server only speaks like OpenAI's, and knows no newer names.
        usage: ask for usage at the end of a stream.
    """
    edits: list[Edit] = []
    if cap is not None and cap != sized.asked:
        edits += _caps(body, api, cap, compatible=compatible)
    if usage:
        held = body.inner("stream_options")
        asks = '{"include_usage":true}' if held is None else "true"
        edits.append((held or body.top).put("include_usage" if held else "stream_options", asks))
    if api == "responses" and terms.hosted_calls and "max_tool_calls" not in body.values:
        tools = body.values.get("tools")
        if isinstance(tools, list) and any(map(is_hosted, cast("list[object]", tools))):
            edits.append(body.top.put("max_tool_calls", str(terms.hosted_calls)))
    return edits


def _caps(body: RequestBody, api: Api, cap: int, *, compatible: bool) -> list[Edit]:
    names, holder = _CAPS[api], body.top
    if api == "generate":
        inner: Members | None = next((found for name in _CONFIGS if (found := body.inner(name))), None)
        if inner is None:
            return [holder.put(_CONFIGS[0], f'{{"{names[0]}":{cap}}}')]
        holder = inner
    said = [name for name in names if holder.values.get(name) is not None]
    if not said:  # one that is null is written over
        otherwise = _COMPATIBLE_CAP if compatible and api == "chat" else names[0]
        said = [next((name for name in names if name in holder.spans), otherwise)]
    return [holder.put(name, str(cap)) for name in said]


def _thoughts(values: Mapping[str, Any], config: Mapping[str, Any]) -> int:
    """Tokens of thoughts that a request sets a budget of, which its cap must exceed."""
    thinking = values.get("thinking")
    said: object = None
    if isinstance(thinking, Mapping):
        said = cast("Mapping[str, Any]", thinking).get("budget_tokens")
    for name in ("thinkingConfig", "thinking_config"):
        if isinstance(held := config.get(name), Mapping):
            inner = cast("Mapping[str, Any]", held)
            said = inner.get("thinkingBudget", inner.get("thinking_budget", said))
    return said if isinstance(said, int) and not isinstance(said, bool) and said > 0 else 0


def _bare(messages: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], Mapping[str, Any] | None]:
    """Messages without their marks for the provider's cache, which wander from turn to turn, and the longest mark."""
    marks: list[Mapping[str, Any]] = []
    found = [cast("Mapping[str, Any]", _unmarked(message, marks, 0)) for message in messages]
    longest = next((each for each in marks if each.get("ttl") not in {None, "5m"}), marks[0] if marks else None)
    return found, longest


def _unmarked(value: Any, marks: list[Mapping[str, Any]], depth: int) -> Any:
    """A message or part, or a list of them, itself where there is no mark in it."""
    if isinstance(value, list) and depth < _DEEPEST:
        listed = cast("list[Any]", value)
        made = [_unmarked(each, marks, depth + 1) for each in listed]
        return made if any(one is not other for one, other in zip(made, listed, strict=True)) else listed
    if not isinstance(value, dict):
        return cast("Any", value)
    held = cast("dict[str, Any]", value)
    content = _unmarked(held["content"], marks, depth + 1) if isinstance(held.get("content"), list) else None
    mark = held.get("cache_control")
    if isinstance(mark, dict):
        marks.append(cast("dict[str, Any]", mark))
    elif content is None or content is held["content"]:
        return held
    put = {} if content is None else {"content": content}
    return {name: each for name, each in {**held, **put}.items() if name != "cache_control"}


def _count(name: str, value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 100_000_000:
        raise refusal(name, f"{str(value)[:40]!r} is no whole number of at least 0")
    return value


def _check_names(values: Mapping[str, Any]) -> None:
    """Refuse members that one server may take for another than the next one does."""
    seen: dict[str, str] = {}
    for name in values:
        folded = name.replace("_", "").lower()
        before = seen.setdefault(folded, name)
        if before != name or _EXACT.get(folded, name) != name:
            other = before if before != name else _EXACT[folded]
            problem = f"{name[:64]!r} may be read as {other[:64]!r}; give one of them, as the API spells it"
            raise InvalidRequestError(f"body: {problem}", field="body", problem=problem, code="ambiguous")
