"""What a model costs, in whole numbers: tariffs, their steps, and the arithmetic of exact costs and upper bounds.

A price list states dollars per million tokens. As nano-dollars per million tokens these are whole numbers, so a cost
is one sum of products, divided and rounded up once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

MILLION = 1_000_000


class Step(NamedTuple):
    """Rates that hold for a whole call once its input is larger than `above` tokens (-1: always).

    Rates are nano-dollars per `Tariff.per` tokens. `dearest_input` is the worst that an input token can cost:
    uncached, read from a cache, or written to it with the provider's ordinary lifetime.
    """

    above: int
    input: int
    cached_input: int
    dearest_input: int
    output: int


@dataclass(frozen=True, slots=True)
class Tariff:
    """One price list entry of a model.

    Attributes:
        steps: ascending; the last one whose `above` is exceeded holds for all tokens of the call.
        per: tokens that the rates are for: a million, or more where a price is finer than a nano-dollar a million.
        request: nano-dollars for the call itself, times `per`.
        active: whether the tariff applies at a time; None: always.
    """

    steps: tuple[Step, ...]
    per: int = MILLION
    request: int = 0
    active: Callable[[datetime], bool] | None = None

    def cost(self, input_tokens: int, cached_tokens: int, output_tokens: int) -> int:
        """The exact cost in nano-dollars, rounded up once. `cached_tokens` are part of `input_tokens`."""
        step = self.steps[0]
        for later in self.steps[1:]:
            if input_tokens > later.above:
                step = later
        fresh = input_tokens - cached_tokens
        total = fresh * step.input + cached_tokens * step.cached_input + output_tokens * step.output
        return -(-(total + self.request) // self.per)

    def bound(self, input_tokens: int, output_tokens: int) -> int:
        """The most, in nano-dollars, for a call of at most so many tokens; a smaller one may sit on any lower step."""
        most = 0
        for above, _, _, dearest, output in self.steps:
            if input_tokens > above:
                most = max(most, input_tokens * dearest + output_tokens * output)
        return -(-(most + self.request) // self.per)

    def bounds(self, input_tokens: int, outputs: Sequence[int]) -> list[int]:
        """The same for several lengths of the answer."""
        per = self.per
        first, *others = [
            [-(-(input_tokens * dearest + self.request + cap * output) // per) for cap in outputs]
            for above, _, _, dearest, output in self.steps
            if input_tokens > above
        ]
        return [max(each) for each in zip(first, *others, strict=True)] if others else first


@dataclass(frozen=True, slots=True)
class Rates:
    """The prices of one model: the worst ones as plain numbers, and the tariffs for exact costs.

    Attributes:
        ref: the entry of the price list, ``provider:model``.
        input: nano-dollars per million uncached input tokens, on the dearest step of the dearest tariff.
        cached_input: the same for input tokens read from the provider's cache.
        output: the same for output tokens.
        tariffs: those that can apply from now on (hours of the day, announced changes); the first active one counts.
        stated: what another source says; of two that disagree, the higher counts for each call.
        every: all of these.
    """

    ref: str
    input: int
    cached_input: int
    output: int
    tariffs: tuple[Tariff, ...]
    stated: Tariff | None = None
    every: tuple[Tariff, ...] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "every", self.tariffs if self.stated is None else (*self.tariffs, self.stated))

    @classmethod
    def of(cls, ref: str, tariffs: tuple[Tariff, ...], stated: Tariff | None = None) -> Rates:
        """Sum tariffs up in their worst rates. The last tariff is the one without a condition."""
        every = tariffs if stated is None else (*tariffs, stated)
        steps = [(tariff.per, step) for tariff in every for step in tariff.steps]
        return cls(
            ref,
            max(_per_million(step.input, per) for per, step in steps),
            max(_per_million(step.cached_input, per) for per, step in steps),
            max(_per_million(step.output, per) for per, step in steps),
            tariffs,
            stated,
        )

    def cost(self, input_tokens: int, cached_tokens: int, output_tokens: int, at: datetime) -> int:
        """The exact cost in nano-dollars of a call settled at a time, rounded up once."""
        active = (tariff for tariff in self.tariffs[:-1] if tariff.active is None or tariff.active(at))
        cost = next(active, self.tariffs[-1]).cost(input_tokens, cached_tokens, output_tokens)
        return max(cost, self.stated.cost(input_tokens, cached_tokens, output_tokens)) if self.stated else cost

    def bound(self, input_tokens: int, output_tokens: int) -> int:
        """The most, in nano-dollars, that a call with at most so many tokens costs at any time from now on."""
        if len(self.every) == 1:
            return self.every[0].bound(input_tokens, output_tokens)
        return max(tariff.bound(input_tokens, output_tokens) for tariff in self.every)

    def bounds(self, input_tokens: int, outputs: Sequence[int]) -> list[int]:
        """The bound for each of several caps on the answer."""
        first, *others = [tariff.bounds(input_tokens, outputs) for tariff in self.every]
        return [max(each) for each in zip(first, *others, strict=True)] if others else first

    def expected(self, input_tokens: int, output_tokens: int) -> int:
        """Nano-dollars for comparing models: no cache, the dearest tariff, whatever the hour."""
        if len(self.every) == 1:
            return self.every[0].cost(input_tokens, 0, output_tokens)
        return max(tariff.cost(input_tokens, 0, output_tokens) for tariff in self.every)


class Floor(NamedTuple):
    """What none of several models costs less than: nano-dollars per million tokens, whatever the step and the hour."""

    input: int
    output: int

    @classmethod
    def of(cls, many: Iterable[Rates]) -> Floor:
        """The lowest rate of each kind among them; there is at least one."""
        steps = [(tariff.per, step) for rates in many for tariff in rates.every for step in tariff.steps]
        return cls(
            min(step.input * MILLION // per for per, step in steps),
            min(step.output * MILLION // per for per, step in steps),
        )

    def expected(self, input_tokens: int, output_tokens: int) -> int:
        """At most what `Rates.expected` is of any of them."""
        return (input_tokens * self.input + output_tokens * self.output) // MILLION


def _per_million(rate: int, per: int) -> int:
    return -(-rate * MILLION // per)
