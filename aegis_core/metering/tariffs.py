"""Which entries of the price list hold for a call: by the moment, its tier, its speed and its place.

A tier, a speed or a place that has no known price is an error: the standard price would be too low.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from aegis_core.metering import fees
from aegis_core.metering.names import Listed
from aegis_core.metering.rates import RateCard, compiled, nanos
from aegis_core.protocol.errors import InvalidRequestError

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice


@dataclass(frozen=True, slots=True)
class Terms:
    """What of a call changes its price beside its counts."""

    tier: str | None = None
    speed: str | None = None
    geo: str | None = None

    @property
    def context(self) -> dict[str, str]:
        """In the words of the price list."""
        tier = (
            {}
            if self.tier is None
            else {"processing": "batch"}
            if self.tier == "batch"
            else {"service_tier": self.tier}
        )
        return tier if self.speed is None else {**tier, "speed": self.speed}


@dataclass(frozen=True, slots=True)
class Pricing:
    """The cards of a call: those of the list that can apply, the operator's own, and the share of the price."""

    cards: tuple[RateCard, ...]
    own: RateCard | None
    percent: int

    def most(self, units: Callable[[RateCard], int]) -> int:
        """The highest amount of the list's and the operator's cards, in nano-dollars."""
        if self.own is None and len(self.cards) == 1:
            return nanos(units(self.cards[0]), self.percent)
        amounts = [nanos(units(card), self.percent) for card in self.cards]
        return max([*amounts, *([nanos(units(self.own))] if self.own else [])])


class Moment(NamedTuple):
    """Which of a model's conditional entries holds at a time, and which of its variants."""

    entry: int
    variants: tuple[int, ...]


def moment_of(model: ModelInfo, when: datetime) -> Moment:
    """What holds at a time: of the entries the last one whose condition does, else the first."""
    entry = 0
    if isinstance(model.prices, list):
        for position, each in enumerate(model.prices):
            if each.constraint is None or each.constraint.active(when):
                entry = position
    variants = enumerate(model.price_variants or ())
    return Moment(entry, tuple(n for n, each in variants if each.constraint is None or each.constraint.active(when)))


def cards_of(listed: Listed, terms: Terms, moment: Moment | None, now: datetime) -> tuple[RateCard, ...]:
    """The cards of a moment, or of every moment from now on; none where the model has no price for tokens.

    Raises:
        InvalidRequestError: the tier has no known price.
    """
    entries = _possible(listed.model, now) if moment is None else [moment.entry]
    return tuple(
        card
        for each in entries
        for prices in _with_terms(listed, _prices(listed.model, each), terms, moment)
        if (card := _card(listed, prices)) is not None
    )


def share_of(listed: Listed, terms: Terms) -> int:
    """Of the listed price, for a place and for a speed that the list does not have."""
    percent = 100
    if terms.geo is not None:
        if listed.provider.id not in {"anthropic", "google"}:
            raise unpriced("inference_geo", f"{listed.ref} has no known price for the place {terms.geo!r}")
        percent = fees.GEO_PERCENT
    if terms.speed is not None and not _variants(listed, {"speed": terms.speed}):
        fast = fees.FAST_PERCENT.get(listed.model.id) if terms.speed == "fast" else None
        if fast is None:
            raise unpriced("speed", f"{listed.ref} has no known price at the speed {terms.speed!r}")
        percent = percent * fast // 100
    return percent


def _variants(listed: Listed, context: Mapping[str, str], moment: Moment | None = None) -> list[ModelPrice]:
    """What a tier changes of the price; of a moment before the list knows of any, as in the first one that it knows."""
    variants = list(enumerate(listed.model.price_variants or ())) if listed.own else []
    found = [(n, each.prices) for n, each in variants if each.when.items() <= context.items()]
    if moment is not None and any(n in moment.variants for n, _ in found):
        found = [(n, prices) for n, prices in found if n in moment.variants]
    return [prices for _, prices in found]


def _with_terms(listed: Listed, standard: ModelPrice, terms: Terms, moment: Moment | None) -> Iterable[ModelPrice]:
    """The prices of an entry as the terms change them: one of a moment, else each that may hold.

    Raises:
        InvalidRequestError: the tier has no known price.
    """
    from genai_prices.types import ModelPrice

    context = terms.context
    tier = {key: value for key, value in context.items() if key != "speed"}
    if tier and not _variants(listed, tier):
        raise unpriced("service_tier", f"{listed.ref} has no known price at the tier {terms.tier!r}")
    found = _variants(listed, context, moment)
    # The first variant that says something counts, for each kind by itself.
    merged = {key: value for each in reversed(found) for key, value in _fields(each)}
    yield ModelPrice(**{**dict(_fields(standard)), **merged})
    for variant in found if moment is None else ():
        yield ModelPrice(**{**dict(_fields(standard)), **merged, **dict(_fields(variant))})


def _fields(prices: ModelPrice) -> list[tuple[str, Decimal]]:
    return [(key, value) for key, value in vars(prices).items() if value is not None]


def _card(listed: Listed, prices: ModelPrice) -> RateCard | None:
    provider = listed.provider.id
    known = {field: fee for (whose, field), fee in fees.TOOL_FEES_PER_1000.items() if whose == provider}
    if provider == "openai" and "search-preview" in listed.model.id:
        known["web_searches"] = fees.SEARCH_PREVIEW_PER_1000
    if provider == "openrouter" and listed.model.id.endswith(":free") and not _fields(prices):
        return RateCard.of_nothing()  # the list leaves the prices of these out, and the name says why
    card = compiled(prices, fees.MISSING_RATES.get(listed.model.id), known, fees.HOUR_WRITE_PERCENT)
    # Another provider's fee for its search is no fee of this one.
    return card if card is None or listed.own else replace(card, fees={})


def _prices(model: ModelInfo, entry: int) -> ModelPrice:
    return model.prices[entry].prices if isinstance(model.prices, list) else model.prices


def _possible(model: ModelInfo, now: datetime) -> list[int]:
    """The entries that can apply from now on; one that has begun for good hides those before it."""
    from genai_prices.types import StartDateConstraint

    if not isinstance(model.prices, list):
        return [0]
    found: list[int] = []
    for position, entry in reversed(list(enumerate(model.prices))):
        found.append(position)
        begun = isinstance(entry.constraint, StartDateConstraint) and entry.constraint.active(now)
        if entry.constraint is None or begun:
            break
    return found


def unpriced(field: str, problem: str) -> InvalidRequestError:
    return InvalidRequestError(f"{field}: {problem}", code="unpriced", field=field, problem=problem)
