"""The prices of a model for calls that allow more than plain text, or less than what is reserved for it unasked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from aegis_core.metering.bound import Bound
from aegis_core.protocol.usage import TOOL_FIELDS, Allowance

if TYPE_CHECKING:
    from aegis_core.metering.price_book import PriceBook


@dataclass(frozen=True, slots=True)
class AllowedRates:
    """As `TextRates`, as far as a reservation needs them."""

    book: PriceBook
    model: str
    allows: Allowance

    def bound(self, input_tokens: int, output_tokens: int) -> int:
        """The most, in nano-dollars, that a call with at most so many tokens costs at any time from now on.

        Raises:
            InvalidRequestError: a tier, a speed, a place or a hosted tool has no price, with the code ``unpriced``.
        """
        return self.bounds(input_tokens, [output_tokens])[0]

    def bounds(self, input_tokens: int, outputs: Sequence[int]) -> list[int]:
        """The bound for each of several caps on the answer. Raises as `bound` does."""
        return self.book.bounds(_bound(self.model, input_tokens, self.allows), outputs)


def allowance_of(bound: Bound) -> Allowance:
    """What a bound allows, as a request says it."""
    said = bound.service_tier, bound.speed, bound.inference_geo
    media = bound.audio_tokens, bound.image_tokens, bound.video_tokens, bound.audio_output, bound.image_output
    hosted = tuple(map(bound.hosted.get, TOOL_FIELDS)) if bound.hosted else ()
    return _allowance(bound.cache_write or "none", media, said, hosted)


@lru_cache(maxsize=256)
def _allowance(
    cache_write: Literal["none", "5m", "1h"],
    media: tuple[int, int, int, bool, bool],
    said: tuple[str | None, str | None, str | None],
    hosted: tuple[int | None, ...],
) -> Allowance:
    """Most calls allow the same, and to check it takes longer than to remember it."""
    audio, image, video, speaks, draws = media
    tier, speed, place = said
    return Allowance(
        cache_write=cache_write, audio_input_tokens=audio, image_input_tokens=image, video_input_tokens=video,
        audio_output=speaks, image_output=draws, service_tier=tier, speed=speed, inference_geo=place,
        **{name: calls or 0 for name, calls in zip(TOOL_FIELDS, hosted, strict=False)},
    )  # fmt: skip


def _bound(model: str, input_tokens: int, allows: Allowance) -> Bound:
    return Bound(
        model=model,
        input_tokens=input_tokens,
        output_tokens=None,
        audio_tokens=allows.audio_input_tokens,
        image_tokens=allows.image_input_tokens,
        video_tokens=allows.video_input_tokens,
        audio_output=allows.audio_output,
        image_output=allows.image_output,
        cache_write=None if allows.cache_write == "none" else allows.cache_write,
        hosted={name: calls for name in TOOL_FIELDS if (calls := getattr(allows, name))},
        service_tier=allows.service_tier,
        speed=allows.speed,
        inference_geo=allows.inference_geo,
    )
