"""What a call of text costs by its size alone, in plain numbers: a decision prices many models, and must not wait."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from aegis_core.metering.rates import UNITS_PER_NANO, RateCard
from aegis_core.metering.tariffs import Pricing

_INPUTS = ("input", "cached", "write_5m")
"""What the input of a call may be whose request says nothing of it: fresh, from a cache, or written to one."""

_OUTPUTS = ("output", "reasoning", "input")
"""The last one is that of tokens which a provider reports in its total alone."""

_UNITS = 100 * UNITS_PER_NANO
"""Rates here hold a hundredfold, which is what makes a share in percent exact."""


class _Step(NamedTuple):
    """Rates of calls whose input is larger than `above`, and the highest of calls up to that size."""

    above: int
    input: int
    output: int
    most_input: int
    most_output: int


class _Card(NamedTuple):
    steps: tuple[_Step, ...]
    request: int

    def at(self, input_tokens: int) -> _Step:
        """The last step that such a call exceeds."""
        found = self.steps[0]
        for step in self.steps[1:]:
            if input_tokens > step.above:
                found = step
        return found


@dataclass(frozen=True, slots=True, eq=False)
class TextRates:
    """The prices of one model for calls of which only the size is known.

    Attributes:
        ref: whose they are, ``provider:model``.
        cards: those of the list that can apply from now on, and the operator's; the highest counts.
    """

    ref: str
    cards: tuple[_Card, ...]

    @classmethod
    def of(cls, ref: str, pricing: Pricing) -> TextRates:
        """The same prices as those of `pricing`."""
        own = [_card(pricing.own, 100)] if pricing.own else []
        return cls(ref, (*(_card(card, pricing.percent) for card in pricing.cards), *own))

    def bound(self, input_tokens: int, output_tokens: int) -> int:
        """The most, in nano-dollars, that a call with at most so many tokens costs at any time from now on."""
        if len(self.cards) == 1:
            return _most(self.cards[0], input_tokens, output_tokens)
        return max([_most(card, input_tokens, output_tokens) for card in self.cards])

    def bounds(self, input_tokens: int, outputs: Sequence[int]) -> list[int]:
        """The bound for each of several caps on the answer."""
        several: list[list[int]] = []
        for card in self.cards:
            step = card.at(input_tokens)
            fixed, rate = input_tokens * step.most_input + card.request, step.most_output
            several.append([-(-(fixed + cap * rate) // _UNITS) for cap in outputs])
        return several[0] if len(several) == 1 else [max(each) for each in zip(*several, strict=True)]

    def expected(self, input_tokens: int, output_tokens: int) -> int:
        """Nano-dollars for comparing models: no cache, the dearest price, whatever the hour."""
        if len(self.cards) == 1:
            return _plain(self.cards[0], input_tokens, output_tokens)
        return max([_plain(card, input_tokens, output_tokens) for card in self.cards])


class Floor(NamedTuple):
    """What none of several models costs less than, whatever the size of the call and the hour."""

    input: int
    output: int

    @classmethod
    def of(cls, many: Iterable[TextRates]) -> Floor:
        """The lowest rate of each kind among them; there is at least one."""
        steps = [step for rates in many for card in rates.cards for step in card.steps]
        return cls(min(step.input for step in steps), min(step.output for step in steps))

    def expected(self, input_tokens: int, output_tokens: int) -> int:
        """At most what `TextRates.expected` is of any of them."""
        return (input_tokens * self.input + output_tokens * self.output) // _UNITS


def _most(card: _Card, input_tokens: int, output_tokens: int) -> int:
    step = card.at(input_tokens)
    return -(-(input_tokens * step.most_input + output_tokens * step.most_output + card.request) // _UNITS)


def _plain(card: _Card, input_tokens: int, output_tokens: int) -> int:
    step = card.at(input_tokens)
    return -(-(input_tokens * step.input + output_tokens * step.output + card.request) // _UNITS)


def _card(card: RateCard, percent: int) -> _Card:
    sizes = sorted({above for name in (*_INPUTS, *_OUTPUTS) for above, _ in card.rates[name]})
    steps: list[_Step] = []
    for above in sizes:
        most_input = max(card.worst(name, above + 1) for name in _INPUTS)
        most_output = max(card.worst(name, above + 1) for name in _OUTPUTS)
        rates = card.at("input", above + 1), card.at("output", above + 1), most_input, most_output
        steps.append(_Step(above, *(rate * percent for rate in rates)))
    return _Card(tuple(steps), card.request * percent)
