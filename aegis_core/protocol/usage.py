"""What one call consumed, as wide as the bill.

Counts nest as most providers' do: cached, written, audio, image and video tokens are parts of `input_tokens`;
reasoning, audio and image tokens are parts of `output_tokens`. What a provider reports outside of its own totals
(Anthropic's cache tokens, Gemini's thoughts) is added by the readers in `metering.apis`, so that one meaning holds.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from aegis_core.protocol.fields import Identifier, Usd
from aegis_core.protocol.parsing import Message

MOST_TOKENS = 1_000_000_000
"""No single call reports more; a larger count is no count."""

MOST_CALLS = 1_000_000
MOST_ITERATIONS = 256

Tokens = Annotated[int, Field(ge=0, le=MOST_TOKENS)]
Calls = Annotated[int, Field(ge=0, le=MOST_CALLS)]

CACHE_PARTS = ("cached_input_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens")
INPUT_MEDIA = ("audio_input_tokens", "image_input_tokens", "video_input_tokens")
OUTPUT_MEDIA = ("audio_output_tokens", "image_output_tokens")


_WITHIN: tuple[tuple[tuple[str, ...], str], ...] = (
    (("cached_input_tokens",), "input_tokens"),
    (CACHE_PARTS, "input_tokens"),
    (INPUT_MEDIA, "input_tokens"),
    (("cached_audio_tokens", "cached_image_tokens"), "cached_input_tokens"),
    (("cached_audio_tokens",), "audio_input_tokens"),
    (("cached_image_tokens",), "image_input_tokens"),
    (("reasoning_tokens",), "output_tokens"),
    (OUTPUT_MEDIA, "output_tokens"),
)
"""Parts, and the whole that they are together part of."""


class CallTokens(Message):
    """Tokens of one pass of a model.

    Attributes:
        model: the model as the caller names it; any spelling that the resolver knows.
        input_tokens: all input, whatever it was and wherever it came from.
        output_tokens: all output, reasoning included.
        cached_input_tokens: of the input, read from the provider's cache.
        cache_write_5m_tokens: of the input, written to the cache for its ordinary time (Anthropic: five minutes).
        cache_write_1h_tokens: of the input, written to the cache for an hour.
        audio_input_tokens: of the input, sound; likewise images and video.
        cached_audio_tokens: of the cached input, sound; likewise images.
        reasoning_tokens: of the output, thoughts.
        audio_output_tokens: of the output, sound; likewise images.
    """

    model: Identifier
    input_tokens: Tokens = 0
    output_tokens: Tokens = 0
    cached_input_tokens: Tokens = 0
    cache_write_5m_tokens: Tokens = 0
    cache_write_1h_tokens: Tokens = 0
    audio_input_tokens: Tokens = 0
    image_input_tokens: Tokens = 0
    video_input_tokens: Tokens = 0
    cached_audio_tokens: Tokens = 0
    cached_image_tokens: Tokens = 0
    reasoning_tokens: Tokens = 0
    audio_output_tokens: Tokens = 0
    image_output_tokens: Tokens = 0

    @property
    def fresh_input_tokens(self) -> int:
        """Input that was neither read from a cache nor written to one."""
        return self.input_tokens - self._sum(CACHE_PARTS)

    @model_validator(mode="after")
    def _parts_within_wholes(self) -> CallTokens:
        said = self.model_fields_set
        for parts, whole in _WITHIN:
            if not said.isdisjoint(parts):
                self._check(parts, whole)
        return self

    def _sum(self, names: tuple[str, ...]) -> int:
        return sum(getattr(self, name) for name in names)

    def _check(self, parts: tuple[str, ...], whole: str) -> None:
        if self._sum(parts) > getattr(self, whole):
            verb = "is" if len(parts) == 1 else "are together"
            raise ValueError(f"{' + '.join(parts)}: {verb} larger than {whole}, which it is part of")


class Usage(CallTokens):
    """What a provider reported for one call.

    Attributes:
        unattributed_tokens: tokens that appear only in the provider's total; charged at the dearer of both directions.
        web_searches: searches that the provider ran and charges one by one; Gemini before 3: answers with a search.
        file_searches: searches in the provider's vector stores.
        code_sessions: containers in which the provider ran code.
        map_searches: answers that were grounded in maps.
        service_tier: the tier that served the call, in the provider's word; None: the standard one.
        speed: Anthropic's ``fast``; None: the standard one.
        inference_geo: where Anthropic was told to compute (``us``); None: anywhere.
        stated_cost_usd: what the provider says that it charged. It counts, and nothing else.
        iterations: further passes within the same call, which the provider bills beside it (compaction); each has its
            own length, so each has its own price step.
    """

    unattributed_tokens: Tokens = 0
    web_searches: Calls = 0
    file_searches: Calls = 0
    code_sessions: Calls = 0
    map_searches: Calls = 0
    service_tier: Identifier | None = None
    speed: Identifier | None = None
    inference_geo: Identifier | None = None
    stated_cost_usd: Usd | None = None
    iterations: Annotated[tuple[CallTokens, ...], Field(max_length=MOST_ITERATIONS, fail_fast=True)] = ()

    @property
    def all_input_tokens(self) -> int:
        """Input of every pass."""
        return self.input_tokens + sum(each.input_tokens for each in self.iterations)

    @property
    def all_output_tokens(self) -> int:
        """Output of every pass, and what is known in total only."""
        passes = sum(each.output_tokens for each in self.iterations)
        return self.output_tokens + self.unattributed_tokens + passes


class Allowance(Message):
    """What a request to a provider allows beside plain text, so that it is reserved at the dearest way that it allows.

    Whoever knows the request says so; it narrows and widens what is reserved, and nothing of what is charged.

    Attributes:
        cache_write: for how long input may be written to the provider's cache (``5m`` stands for its ordinary time).
        audio_input_tokens: of the input, sound at most; likewise images and video.
        audio_output: whether the answer may be sound; likewise pictures.
        web_searches: calls of that hosted tool at most; likewise the others.
        service_tier: the tier that is asked for, in the provider's word; None: the standard one.
        speed: Anthropic's ``fast``; None: the standard one.
        inference_geo: where Anthropic is told to compute; None: anywhere.
    """

    cache_write: Literal["none", "5m", "1h"] = "5m"
    audio_input_tokens: Tokens = 0
    image_input_tokens: Tokens = 0
    video_input_tokens: Tokens = 0
    audio_output: bool = False
    image_output: bool = False
    web_searches: Calls = 0
    file_searches: Calls = 0
    code_sessions: Calls = 0
    map_searches: Calls = 0
    service_tier: Identifier | None = None
    speed: Identifier | None = None
    inference_geo: Identifier | None = None


ORDINARY = Allowance()
"""What a request allows of which nothing is said."""

TOOL_FIELDS = ("web_searches", "file_searches", "code_sessions", "map_searches")
"""The fields of `Usage` that count calls of hosted tools. A kind that is not among them is a doubt, never free."""
