"""What a usage costs, and what a bound costs at most, in nano-dollars.

Prices are those of ``genai-prices``, which is installed, not fetched, with the operator's file beside it: where both
know a model, the higher counts for each call. What the list lacks is in `fees`. What has no known price is no price:
it is an error, never zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache, reduce
from importlib.metadata import version
from typing import NamedTuple

from aegis_core.metering.bound import Bound
from aegis_core.metering.charges import Charge, charged
from aegis_core.metering.maxima import Maxima, maxima_of
from aegis_core.metering.names import Listed, Resolved, Resolver, folded
from aegis_core.metering.price_file import StatedPrices, dearer
from aegis_core.metering.rates import RateCard, dearest, nanos
from aegis_core.metering.reading import Reading
from aegis_core.metering.tariffs import Moment, Pricing, Terms, cards_of, moment_of, share_of, unpriced
from aegis_core.metering.text_rates import TextRates
from aegis_core.protocol.errors import ConfigurationError, InvalidRequestError, UnknownModelError
from aegis_core.protocol.money import to_nanos, to_usd
from aegis_core.protocol.usage import TOOL_FIELDS, CallTokens, Usage

_KNOWN = 2_048


class _Known(NamedTuple):
    canonical: str
    rates: TextRates


def _now() -> datetime:
    return datetime.now(UTC)


@lru_cache(maxsize=1)
def _list_version() -> str:
    return f"genai-prices {version('genai-prices')}"


class PriceBook:
    """Prices by any spelling of a model's name. Loading the list takes a quarter of a second, on the first use."""

    def __init__(
        self,
        *,
        stated: StatedPrices | None = None,
        aliases: Mapping[str, str] | None = None,
        catalog: Mapping[str, str] | None = None,
        output_default: int | None = None,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        """Nothing is loaded yet.

        Args:
            stated: what an operator's file says.
            aliases: names of deployments, and the models that they are.
            catalog: names of the operator's catalog, each with its ``provider:model``; budgets count by them.
            output_default: the longest answer of a model that no table knows.
            clock: the present time with its zone, for prices that depend on it.
        """
        self._stated, self._clock = stated, clock
        self._aliases, self._catalog = dict(aliases or {}), dict(catalog or {})
        self._output_default = output_default
        self._resolver: Resolver | None = None
        self._catalog_names: dict[str, str] | None = None
        # Names come from agents, so what is known of others than the catalog's is bounded.
        self._of_catalog: dict[str, _Known] = {}
        self._of_others = lru_cache(maxsize=_KNOWN)(self._look_up)
        self._pricing = lru_cache(maxsize=_KNOWN)(self._priced)

    @property
    def version(self) -> str:
        """What the prices are from, for verdicts and reports."""
        return f"{_list_version()}, file {self._stated.version}" if self._stated else _list_version()

    def restated(self, stated: StatedPrices) -> PriceBook | None:
        """A book with another content of the operator's file, ready for use; None: it is the same content.

        Raises:
            ConfigurationError: it lacks a price that the catalog needs.
        """
        if self._stated and self._stated.version == stated.version:
            return None
        book = PriceBook(
            stated=stated,
            aliases=self._aliases,
            catalog=self._catalog,
            output_default=self._output_default,
            clock=self._clock,
        )
        book.warm()
        return book

    def warm(self) -> None:
        """Load the list and price the whole catalog now, so that no request waits a quarter of a second for it.

        Raises:
            ConfigurationError: a model of the catalog whose entry has no known price.
        """
        for name, ref in self._catalog.items():
            try:
                self.text_rates(name)
            except UnknownModelError:
                raise ConfigurationError(
                    f"model catalog: {name} has the price_ref {ref!r}, which has no known price",
                    name=name,
                    price_ref=ref,
                ) from None

    def resolve(self, name: str) -> Resolved:
        """What a name means.

        Raises:
            UnknownModelError: it has no known price; says what to do.
        """
        found = self._names.resolve(self._catalog.get(name, name))
        return replace(found, canonical=self._listed_name(found))

    def knows(self, name: str) -> bool:
        """Whether a name has a known price."""
        return name in self._catalog or self._names.find(name) is not None

    def canonical(self, name: str) -> str:
        """The one name for every spelling of a model, by which budgets count; a fine-tune counts in its base's.

        Raises:
            UnknownModelError: it has no known price.
        """
        return self._known(name).canonical

    def text_rates(self, name: str) -> TextRates:
        """The prices of a model for calls of which only the size is known. The same object for the same name.

        Raises:
            UnknownModelError: it has no known price.
        """
        return self._known(name).rates

    def maxima(self, name: str) -> Maxima | None:
        """Context and longest answer of a model, where a table knows them.

        Raises:
            UnknownModelError: it has no known price.
        """
        return maxima_of(self._names.resolve(self._catalog.get(name, name)).canonical)

    def output_maximum(self, name: str) -> int | None:
        """The longest answer of a model in tokens, else the configured default.

        Raises:
            UnknownModelError: it has no known price.
        """
        known = self.maxima(name)
        return known.output_tokens if known else self._output_default

    def price(self, usage: Usage, at: datetime | None = None) -> int:
        """The exact cost of a usage in nano-dollars, rounded up once for each source of prices.

        Args:
            usage: what was consumed; a cost that the provider states counts alone.
            at: when, for prices that change with the hour or the day; default: now.

        Raises:
            UnknownModelError: the model has no known price.
            InvalidRequestError: a tier, a speed, a place or a hosted tool has none, with the code ``unpriced``.
        """
        if usage.stated_cost_usd is not None:
            return to_nanos(usage.stated_cost_usd, "stated_cost_usd")
        when = at or self._clock()
        terms = Terms(usage.service_tier, usage.speed, usage.inference_geo)
        pricing = self._at(usage.model, terms, when)
        for name in TOOL_FIELDS:
            if getattr(usage, name):
                _check_fee(pricing, name, usage.model)
        total = pricing.most(lambda card: card.cost(usage))
        return total + sum(self._pass(each, terms, when) for each in usage.iterations)

    def bound(self, bound: Bound) -> int:
        """The most, in nano-dollars, that a call costs at any time from now on.

        Raises:
            UnknownModelError: the model has no known price.
            InvalidRequestError: something has no price (``unpriced``), or nothing caps the answer (``unbounded``).
        """
        output = self.output_maximum(bound.model) if bound.output_tokens is None else bound.output_tokens
        if output is None:
            raise InvalidRequestError(
                f"max_output_tokens: {bound.model} has no known longest answer; give the request a cap",
                code="unbounded",
                field="max_output_tokens",
                problem="has no known maximum",
            )
        return self.bounds(bound, [output])[0]

    def bounds(self, bound: Bound, outputs: Sequence[int]) -> list[int]:
        """The bound for each of several caps on all output, in nano-dollars.

        Raises:
            UnknownModelError, InvalidRequestError: as of `bound`.
        """
        pricing = self._pricing(bound.model, Terms(bound.service_tier, bound.speed, bound.inference_geo), None)
        for name, calls in bound.hosted.items():
            if calls:
                _check_fee(pricing, name, bound.model)
        return [pricing.most(lambda card, cap=output: card.bound(bound, cap)) for output in outputs]

    def rates(self, name: str, at: datetime | None = None) -> dict[str, tuple[tuple[int, Decimal], ...]]:
        """What a model costs at a moment, to be shown: dollars a million tokens by kind, and for calls of what size.

        Of the list and the operator's file the higher; each pair is a size and the rate for calls with more input.

        Raises:
            UnknownModelError: it has no known price.
        """
        pricing = self._at(name, Terms(), at or self._clock())
        cards = [*pricing.cards, *([pricing.own] if pricing.own else [])]
        return {kind: dearest([card.rates[kind] for card in cards], pricing.percent) for kind in cards[0].rates}

    def fees(self, name: str) -> dict[str, Decimal]:
        """Dollars for one call of each hosted tool that has a price with a model, by the field of `Usage`.

        Raises:
            UnknownModelError: it has no known price.
        """
        pricing = self._at(name, Terms(), self._clock())
        cards = [(card, pricing.percent) for card in pricing.cards] + ([(pricing.own, 100)] if pricing.own else [])
        kinds = sorted({kind for card, _ in cards for kind in card.fees})
        return {kind: to_usd(max(nanos(card.fees.get(kind, 0), share) for card, share in cards)) for kind in kinds}

    @property
    def stated_names(self) -> tuple[str, ...]:
        """The names in the operator's file, folded."""
        return tuple(self._stated.cards) if self._stated else ()

    def charge(
        self, reading: Reading, reserved: int, *, bound: Bound | None = None, at: datetime | None = None
    ) -> Charge:
        """What to settle a call at. Never raises for what a provider sent: the call was made and paid.

        Args:
            reading: what was read of the answer, after `bound.check`.
            reserved: nano-dollars that were reserved, which is charged where the truth is not known.
            bound: what the request allowed; with it, a whole stream without a count is charged by its text.
            at: when the call was made.
        """
        return charged(self, reading, reserved, bound, at)

    @property
    def _names(self) -> Resolver:
        if self._resolver is None:
            from genai_prices.data_snapshot import get_snapshot

            own = self._stated.cards if self._stated else ()
            self._resolver = Resolver(get_snapshot().providers, self._aliases, own)
        return self._resolver

    def _listed_name(self, found: Resolved) -> str:
        """The catalog's name for a model that the list calls otherwise."""
        if self._catalog_names is None:
            refs = [(self._names.find(ref), name) for name, ref in self._catalog.items()]
            self._catalog_names = {known.canonical: name for known, name in refs if known}
        return self._catalog_names.get(found.canonical, found.canonical)

    def _known(self, name: str) -> _Known:
        if found := self._of_catalog.get(name):
            return found
        if name not in self._catalog:
            return self._of_others(name)
        self._of_catalog[name] = found = self._look_up(name)
        return found

    def _look_up(self, name: str) -> _Known:
        resolved = self.resolve(name)
        ref = resolved.listed.ref if resolved.listed else folded(resolved.parsed.bare)
        return _Known(resolved.canonical, TextRates.of(ref, self._pricing(name, Terms(), None)))

    def _pass(self, each: CallTokens, terms: Terms, when: datetime) -> int:
        return self._at(each.model, terms, when).most(lambda card: card.tokens(each))

    def _at(self, name: str, terms: Terms, when: datetime) -> Pricing:
        """The cards of one moment."""
        resolved = self._names.resolve(self._catalog.get(name, name))
        moment = moment_of(resolved.listed.model, when) if resolved.listed else Moment(0, ())
        return self._pricing(name, terms, moment)

    def _priced(self, name: str, terms: Terms, moment: Moment | None) -> Pricing:
        """The cards of a moment, or of every moment from now on.

        Raises:
            UnknownModelError, InvalidRequestError: as of `price`.
        """
        target = self._catalog.get(name, name)
        resolved = self._names.resolve(target)
        own = self._own(target, resolved)
        listed = resolved.listed
        if listed is None or (own is not None and resolved.parsed.inferred):
            if terms != Terms() or own is None:
                raise unpriced("service_tier", f"the price file has only the standard price of {name}")
            return Pricing((), own, 100)
        percent = resolved.parsed.percent * share_of(listed, terms) // 100
        cards = cards_of(listed, terms, moment, self._clock())
        if not cards and own is None:
            raise self._names.unknown(name)
        return Pricing(cards, own, percent)

    def _own(self, name: str, resolved: Resolved) -> RateCard | None:
        """The operator's prices for a model: every spelling of an entry of the list is that entry, and of two
        statements the higher counts. What the list knows by a rule only has the statement on that very name."""
        if self._stated is None:
            return None
        exact = self._names.own_key(name, listed=resolved.listed is not None)
        keys = {exact} if exact else set[str]()
        if resolved.listed is not None and not resolved.parsed.inferred:
            keys |= {key for key in self._stated.cards if self._same(key, resolved.listed)}
        return reduce(dearer, (self._stated.cards[key] for key in sorted(keys))) if keys else None

    def _same(self, key: str, listed: Listed) -> bool:
        """Whether a name of the file is another spelling of an entry of the list."""
        found = self._names.find(key)
        return (
            found is not None
            and not found.parsed.inferred
            and found.listed is not None
            and found.listed.ref == listed.ref
        )


def _check_fee(pricing: Pricing, field: str, model: str) -> None:
    cards = [*pricing.cards, *([pricing.own] if pricing.own else [])]
    if not any(field in card.fees for card in cards):
        raise unpriced(field, f"{field.replace('_', ' ')} of {model} have no known price")
