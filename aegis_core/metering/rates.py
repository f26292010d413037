"""One entry of the price list in whole numbers, and the arithmetic of costs and bounds on it.

A rate is in 1e-15 dollars a million tokens, so every listed price is exact; a cost is one sum, divided and rounded up
once, in nano-dollars.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING

from aegis_core.protocol.usage import TOOL_FIELDS, CallTokens, Usage

if TYPE_CHECKING:
    from genai_prices.types import ModelPrice, TieredPrices

    from aegis_core.metering.bound import Bound

    Price = Decimal | TieredPrices

_DIGITS = 15
UNITS_PER_NANO = 10**12
"""Units of a sum (1e-21 dollars) in a nano-dollar."""

Steps = tuple[tuple[int, int], ...]
"""Pairs of a size and the rate for calls whose input is larger, ascending; the first size is -1."""

_KEYS = {
    "input": "input_mtok",
    "cached": "cache_read_mtok",
    "write_5m": "cache_write_5m_mtok",
    "write": "cache_write_mtok",
    "write_1h": "cache_write_1h_mtok",
    "audio": "input_audio_mtok",
    "image": "input_image_mtok",
    "video": "input_video_mtok",
    "cached_audio": "cache_audio_read_mtok",
    "cached_image": "cache_image_read_mtok",
    "output": "output_mtok",
    "reasoning": "output_reasoning_mtok",
    "audio_out": "output_audio_mtok",
    "image_out": "output_image_mtok",
}
_CALLS = {"web_searches": "web_searches_kcount", "file_searches": "storage_searches_kcount"}


@dataclass(frozen=True, slots=True)
class RateCard:
    """The prices of a model under one condition.

    Attributes:
        rates: by kind of token; a kind without a rate of its own has that of a wider one.
        fees: units for one call of a hosted tool, by the field of `Usage`; one that is absent is not known.
        request: units for the call itself.
    """

    rates: dict[str, Steps]
    fees: dict[str, int]
    request: int = 0

    @classmethod
    def of_nothing(cls) -> RateCard:
        """Of a model that costs nothing."""
        rates = {"input": flat(Decimal(0))}
        fill(rates, 0)
        return cls(rates, {})

    def cost(self, usage: Usage) -> int:
        """Units of a call without its further passes: tokens, hosted tools, and what is known in total only."""
        size = usage.input_tokens
        rest = usage.unattributed_tokens * max(self.at("input", size), self.at("output", size))
        tools = sum(getattr(usage, name) * self.fees.get(name, 0) for name in TOOL_FIELDS)
        return self.tokens(usage) + rest + tools + self.request

    def tokens(self, usage: CallTokens) -> int:
        """Units of the tokens of one pass."""
        size = usage.input_tokens
        audio = usage.audio_input_tokens - usage.cached_audio_tokens
        image = usage.image_input_tokens - usage.cached_image_tokens
        # What is written to a cache is dearer than any medium, so media are counted among the fresh tokens first.
        fresh = usage.fresh_input_tokens
        counts: list[tuple[str, int]] = []
        for name, count in (("audio", audio), ("image", image), ("video", usage.video_input_tokens)):
            taken = min(count, fresh)
            fresh -= taken
            counts.append((name, taken))
        cached = usage.cached_input_tokens - usage.cached_audio_tokens - usage.cached_image_tokens
        thoughts = usage.reasoning_tokens
        spoken = usage.audio_output_tokens + usage.image_output_tokens
        counts += (
            ("input", fresh),
            ("cached", cached),
            ("cached_audio", usage.cached_audio_tokens),
            ("cached_image", usage.cached_image_tokens),
            ("write_5m", usage.cache_write_5m_tokens),
            ("write_1h", usage.cache_write_1h_tokens),
            ("audio_out", usage.audio_output_tokens),
            ("image_out", usage.image_output_tokens),
            ("reasoning", min(thoughts, usage.output_tokens - spoken)),
            ("output", max(0, usage.output_tokens - spoken - thoughts)),
        )
        return sum(count * self.at(name, size) for name, count in counts if count)

    def bound(self, bound: Bound, output_tokens: int) -> int:
        """Units that no usage within a bound exceeds."""
        size = bound.input_tokens
        text = ["input", "cached", *(["write_5m"] if bound.cache_write else [])]
        text += ["write_1h"] if bound.cache_write == "1h" else []
        plain = max(self.worst(name, size) for name in text)
        media = (
            (bound.audio_tokens, ("audio", "cached_audio")),
            (bound.image_tokens, ("image", "cached_image")),
            (bound.video_tokens, ("video",)),
        )
        total = size * plain
        for count, names in media:
            dearer = max(self.worst(name, size) for name in names) - plain
            total += min(count, size) * max(0, dearer)
        answers = ["output", "reasoning", "input"]
        answers += ["audio_out"] if bound.audio_output else []
        answers += ["image_out"] if bound.image_output else []
        total += output_tokens * max(self.worst(name, size) for name in answers)
        return total + sum(calls * self.fees.get(name, 0) for name, calls in bound.hosted.items()) + self.request

    def at(self, name: str, size: int) -> int:
        """The rate for a call with so many input tokens."""
        found = 0
        for above, rate in self.rates[name]:
            if size > above:
                found = rate
        return found

    def worst(self, name: str, size: int) -> int:
        """The highest rate for a call with at most so many."""
        return max(rate for above, rate in self.rates[name] if size > above)


def nanos(units: int, percent: int = 100) -> int:
    """Units as nano-dollars, times a share of the price, rounded up once."""
    return -(-units * percent // (100 * UNITS_PER_NANO))


def compiled(
    prices: ModelPrice,
    missing: dict[str, Decimal] | None = None,
    fees: dict[str, Decimal] | None = None,
    hour_percent: int = 200,
) -> RateCard | None:
    """Read an entry of the list; None where input tokens have no price (speech by the hour, pages).

    Args:
        prices: the entry, with what its tier changes.
        missing: dollars a million tokens for kinds that the entry lacks.
        fees: dollars for a thousand calls of hosted tools that the entry lacks.
        hour_percent: of the input's price, for an hour in the cache where the entry prices only the ordinary time.
    """
    found = {name: getattr(prices, key) for name, key in _KEYS.items() if getattr(prices, key) is not None}
    rates = {name: _steps(price) for name, price in {**(missing or {}), **found}.items()}
    if "input" not in rates:
        return None
    fill(rates, hour_percent)
    listed = {name: getattr(prices, key) for name, key in _CALLS.items() if getattr(prices, key) is not None}
    request = prices.requests_kcount
    return RateCard(
        rates,
        {name: _fee(price) for name, price in {**(fees or {}), **listed}.items()},
        0 if request is None else _fee(request),
    )


def fill(rates: dict[str, Steps], hour_percent: int) -> None:
    """Give each kind without a rate that of the kind which it is part of, or the dearer of two such."""
    fresh = rates["input"]
    rates.setdefault("output", ((-1, 0),))  # embeddings have no output
    rates.setdefault("cached", fresh)
    written = rates.pop("write", None)
    rates.setdefault("write_5m", written or fresh)
    if "write_1h" not in rates:
        longer = tuple((above, -(-rate * hour_percent // 100)) for above, rate in fresh)
        rates["write_1h"] = _dearer(rates["write_5m"], longer) if written else rates["write_5m"]
    for name in ("audio", "image", "video"):
        rates.setdefault(name, fresh)
    for name in ("audio", "image"):
        same = rates[name] == fresh
        rates.setdefault(f"cached_{name}", rates["cached"] if same else _dearer(rates[name], rates["cached"]))
    for name in ("reasoning", "audio_out", "image_out"):
        rates.setdefault(name, rates["output"])


def flat(dollars: Decimal) -> Steps:
    """A rate that does not depend on the size of a call."""
    return ((-1, _scaled(dollars)),)


def _dearer(one: Steps, other: Steps) -> Steps:
    sizes = sorted({above for above, _ in (*one, *other)})
    return tuple((size, max(_rate(one, size), _rate(other, size))) for size in sizes)


def _rate(steps: Steps, above: int) -> int:
    return next(rate for start, rate in reversed(steps) if start <= above)


def _steps(price: Price) -> Steps:
    if isinstance(price, Decimal):
        return flat(price)
    return ((-1, _scaled(price.base)), *((tier.start, _scaled(tier.price)) for tier in price.tiers))


def _fee(price: Price) -> int:
    """Dollars for a thousand calls as units for one."""
    dearest = price if isinstance(price, Decimal) else max(price.base, *(tier.price for tier in price.tiers))
    return _scaled(dearest) * 1_000


def _scaled(dollars: Decimal) -> int:
    return int(dollars.scaleb(_DIGITS).to_integral_value(rounding=ROUND_CEILING))


def dearest(several: Sequence[Steps], percent: int = 100) -> tuple[tuple[int, Decimal], ...]:
    """The highest of several rates at each size, in dollars a million tokens, times a share of the price."""
    sizes = sorted({above for steps in several for above, _ in steps})
    rates = [(size, max(_rate(steps, size) for steps in several)) for size in sizes]
    return tuple((size, _dollars(rate * percent // 100)) for size, rate in rates)


def _dollars(rate: int) -> Decimal:
    exact = Decimal(rate).scaleb(-_DIGITS)
    whole = exact.to_integral_value()
    return whole if whole == exact else exact.normalize()
