"""What a chat call consumes at most, from the call, and from what the provider counted before.

Bounds are those of `aegis_core.metering.bound`. Where the messages of an earlier, settled call are an exact prefix of a
new call's, the provider's own count replaces the bound for that prefix. A prefix is known by a chain of hashes over the
tools, the settings and every message, never by the name of a thread: a thread whose history was edited has another
chain. Each model's counts are its own, because models count differently; a call that several may answer is bounded for
the one that counts most.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, NamedTuple

from aegis_core.metering.bound import Bound, Limits, bound
from aegis_core.metering.hosted import is_hosted
from aegis_core.metering.maxima import maxima_by_name
from aegis_core.metering.plain import plain
from aegis_core.metering.prompt import WIDEST_WINDOW
from aegis_core.protocol.canonical import canonical_json, digest
from aegis_core.protocol.process import new_lock

KNOWN_PREFIXES = 4_096
"""Settled calls whose input counts are remembered, the least recently used leaving first; some 400 bytes each."""

Messages = Sequence[Mapping[str, object]]
_NONE: Mapping[str, object] = {}
_DRAWN = frozenset({"temperature", "top_p", "top_k", "seed"})
"""Settings by which an answer is drawn: neither the prompt nor what it consumes depends on them."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a call consumes at most.

    Attributes:
        bound: in kinds of tokens and calls of hosted tools.
        digest: the hash of all that it was counted from, with the model where it is named.
        content: the same without the model.
        model: the model, where it is named.
        prefix: `content` of what stands before the last message; None: nothing does.
        size: bytes of messages, tools and settings.
    """

    bound: Bound
    digest: str
    content: str
    model: str | None = None
    prefix: str | None = None
    size: int = 0

    @property
    def tokens(self) -> int:
        """All input tokens."""
        return self.bound.input_tokens


class _Prefix(NamedTuple):
    """A settled call: what its provider counted, and what it allowed."""

    tokens: int
    bound: Bound


class InputBounds:
    """Bounds of calls, learning from those that settled. Safe from many threads."""

    def __init__(self, known: int = KNOWN_PREFIXES) -> None:
        self._most = known
        self._prefixes: OrderedDict[tuple[str, str | None], _Prefix] = OrderedDict()
        self._responses: OrderedDict[str, int] = OrderedDict()
        self._lock = new_lock()

    def estimate(
        self,
        messages: Messages,
        tools: Sequence[object] = (),
        model: str | None = None,
        models: Sequence[str] = (),
        settings: Mapping[str, object] = _NONE,
        *,
        cap: int | None = None,
        answers: int = 1,
    ) -> Estimate:
        """Bound a call: the longest known prefix at the provider's count, the rest at the bound of its text.

        Args:
            messages: the whole conversation.
            tools: definitions of tools.
            model: who will answer, where that is known.
            models: or those that may answer.
            settings: what else the request says, by the provider's names.
            cap: tokens of one answer at most; None: it is not known.
            answers: how many answers are asked for.

        Raises:
            InvalidRequestError: something that nobody can bound; says what to do.
        """
        said = {name: plain(value) for name, value in settings.items() if name not in _DRAWN} if settings else settings
        chain, size = _chain(messages, tools, said)
        output: dict[str, Any] = {"n": answers} if cap is None else {"n": answers, "max_tokens": cap}
        bounds = [self._bounded(chain, messages, tools, each, said, output) for each in models or (model,)]
        most = bounds[0] if len(bounds) == 1 else max(bounds, key=lambda each: each.input_tokens)
        prefix = chain[-2] if len(chain) > 1 else None
        return Estimate(most, digest(model or "", chain[-1]), chain[-1], model, prefix, size)

    def learn(
        self, estimate: Estimate, input_tokens: int, model: str | None = None, *, response_id: str | None = None,
        output_tokens: int = 0,
    ) -> None:  # fmt: skip
        """Remember what the provider of a model counted for a call that was estimated here; default: the named one.

        With `response_id` a later call that continues this very response is bounded by its tokens.
        """
        key = estimate.content, model or estimate.model
        with self._lock:
            _keep(self._prefixes, key, _Prefix(input_tokens, estimate.bound), self._most)
            if response_id:
                _keep(self._responses, response_id, input_tokens + output_tokens, self._most)

    def _bounded(
        self,
        chain: list[str],
        messages: Messages,
        tools: Sequence[object],
        model: str | None,
        settings: Mapping[str, object],
        output: Mapping[str, object],
    ) -> Bound:
        length, known = self._longest(chain, model) if _adds_up(tools, settings) else (0, None)
        body: dict[str, Any] = {**output, "messages": messages[length:]}
        if known is None:
            body |= {**settings, "tools": tools}
        found = bound(body, api=api_of(model), model=model or "", limits=self._limits(model))
        return found if known is None else _joined(known, found)

    def _limits(self, model: str | None) -> Limits:
        known = maxima_by_name(model) if model else None
        window = known.context_tokens if known else 0
        return Limits(context_tokens=window or WIDEST_WINDOW, known_tokens=self._responses.get)

    def _longest(self, chain: list[str], model: str | None) -> tuple[int, _Prefix | None]:
        """How many messages from the first are known of a model, and what is known of them."""
        with self._lock:
            for length in range(len(chain) - 1, 0, -1):
                known = self._prefixes.get((chain[length], model))
                if known is not None:
                    self._prefixes.move_to_end((chain[length], model))
                    return length, known
        return 0, None


def api_of(model: str | None) -> str:
    """Whose rules bound a model's media and tools, by its name."""
    name = (model or "").lower()
    if "claude" in name:
        return "anthropic"
    return "gemini" if "gemini" in name else "openai"


def _adds_up(tools: Sequence[object], settings: Mapping[str, object]) -> bool:
    """Whether the input of a longer call is that of its prefix and of the rest, and each is sent once."""
    if "context_management" in settings or settings.get("truncation") == "auto":
        return False
    return not any(is_hosted(tool) for tool in tools)


def _joined(known: _Prefix, rest: Bound) -> Bound:
    """A known prefix and what follows it."""
    before = known.bound
    write = "1h" if "1h" in {before.cache_write, rest.cache_write} else before.cache_write or rest.cache_write
    return replace(
        before,
        input_tokens=known.tokens + rest.input_tokens,
        output_tokens=rest.output_tokens,
        least_input_tokens=before.least_input_tokens + rest.least_input_tokens,
        audio_tokens=before.audio_tokens + rest.audio_tokens,
        image_tokens=before.image_tokens + rest.image_tokens,
        video_tokens=before.video_tokens + rest.video_tokens,
        cache_write=write,
    )


def _keep(store: OrderedDict[Any, Any], key: object, value: object, most: int) -> None:
    store[key] = value
    store.move_to_end(key)
    if len(store) > most:
        store.popitem(last=False)


def _chain(messages: Messages, tools: Sequence[object], settings: Mapping[str, object]) -> tuple[list[str], int]:
    """A hash for each prefix, that of tools and settings first, that of the whole call last; and its bytes."""
    state = blake2b(digest_size=16)
    spelt = canonical_json(list(tools)).encode("utf-8", "surrogatepass")
    size = len(spelt) if tools else 0
    state.update(spelt)
    if settings:
        spelt = canonical_json(settings).encode("utf-8", "surrogatepass")
        size += len(spelt)
        state.update(spelt)
    chain = [state.hexdigest()]
    for message in messages:
        spelt = _spelt(message)
        size += len(spelt)
        state.update(spelt)
        chain.append(state.copy().hexdigest())
    return chain, size


def _spelt(message: Mapping[str, object]) -> bytes:
    """A message as bytes that no other message has; most are a role and a text, for which JSON would take too long."""
    role, text = message.get("role"), message.get("content")
    if len(message) == 2 and type(role) is str and type(text) is str:
        named, said = role.encode("utf-8", "surrogatepass"), text.encode("utf-8", "surrogatepass")
        return b"\1%d:%d:%s%s" % (len(named), len(said), named, said)
    return b"\0" + canonical_json(message).encode("utf-8", "surrogatepass")
