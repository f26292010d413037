"""Prices of models by name, from the price list of ``genai-prices``, which is installed, not fetched.

Covered: text tokens at the standard service tier, cached input, steps by prompt size, prices that change with the hour
or on an announced day, fees per call. Not covered, because a `Usage` does not report them: cache writes kept for an
hour, audio, paid searches, priority service; such calls are settled with their cost in dollars.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING

from aegis_core.arbiter.catalog import Catalog, Model, split_provider
from aegis_core.arbiter.price_file import StatedPrices, dearer
from aegis_core.arbiter.rates import MILLION, Rates, Step, Tariff
from aegis_core.protocol.errors import ConfigurationError, UnknownModelError
from aegis_core.protocol.messages import Usage

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ConditionalPrice, ModelInfo, ModelPrice, Provider, TieredPrices

    Price = Decimal | TieredPrices

_KNOWN_NAMES = 2_048
_NANO_DIGITS = 9


def _now() -> datetime:
    return datetime.now(UTC)


class Prices:
    """Rates, upper bounds and exact costs by model name.

    A name is one of the catalog, or any that the price list knows, with or without its provider before it
    (``gpt-4o``, ``openai/gpt-4o``, ``anthropic:claude-sonnet-4-5``). Prices stay the same until `restate`.
    """

    def __init__(
        self,
        catalog: Catalog | None = None,
        clock: Callable[[], datetime] = _now,
        stated: StatedPrices | None = None,
    ) -> None:
        """Nothing is loaded yet.

        Args:
            catalog: its names resolve to their `price_ref`.
            clock: the present time with its zone, for prices that depend on it.
            stated: what an operator's file says; where the list disagrees, the higher counts.
        """
        self._catalog = catalog
        self._clock = clock
        self._stated = stated
        self._own: dict[str, Tariff] | None = None
        self._listed: dict[str, Rates] = {}
        self._names: dict[str, str] | None = None
        self._providers: list[Provider] | None = None
        # Names come from agents: both caches are bounded, and the library's own, which is not, is never filled.
        self._others = lru_cache(maxsize=_KNOWN_NAMES)(self._search)
        self._near = lru_cache(maxsize=_KNOWN_NAMES)(self._nearest)

    def warm(self) -> None:
        """Load the price list and price the whole catalog now, so that no request waits a quarter of a second for it.

        Raises:
            ConfigurationError: a model of the catalog whose `price_ref` is not in the price list.
        """
        for model in self._catalog.models if self._catalog else ():
            self.rates(model.name)
        self._load()

    def rates(self, name: str) -> Rates:
        """The prices of a model.

        Raises:
            UnknownModelError: no such model, or no price per token for it; `nearest` lists similar names.
            ConfigurationError: a model of the catalog whose `price_ref` is not in the price list.
        """
        if listed := self._listed.get(name):
            return listed
        if model := self._catalog.find(name) if self._catalog else None:
            # Kept outside the bounded cache: there are as many as the catalog has, under a few spellings each.
            self._listed[name] = rates = self._of_catalog(model)
            return rates
        if found := self._others(name):
            return found
        raise self._unknown(name)

    def canonical(self, name: str) -> str:
        """The one name for every spelling of a model: ``openai/gpt-4o``, ``GPT-4o``, a dated release.

        Raises:
            UnknownModelError: the model has no known price.
        """
        bare = self.rates(name).ref.partition(":")[2]
        if self._names is None:
            listed = self._catalog.models if self._catalog else ()
            self._names = {self.rates(model.name).ref.partition(":")[2]: model.name for model in listed}
        return self._names.get(bare, bare)

    @property
    def version(self) -> str:
        """What the prices are from, for verdicts and reports."""
        return f"{_list_version()}, file {self._stated.version}" if self._stated else _list_version()

    def restate(self, stated: StatedPrices) -> bool:
        """Count by another content of the operator's file; answers whether it is another.

        Raises:
            ConfigurationError: it lacks a price that the catalog needs; nothing was changed.
        """
        if self._stated and self._stated.version == stated.version:
            return False
        trial = Prices(self._catalog, self._clock, stated)
        trial.warm()
        self._stated, self._own, self._listed, self._names = stated, trial._own, trial._listed, None
        self._others.cache_clear()
        self._near.cache_clear()
        return True

    def bound(self, name: str, input_tokens: int, output_tokens: int) -> int:
        """The most, in nano-dollars, that a call of a model costs with at most so many tokens.

        Holds for any share of cached input, at any hour, on any price step up to this size.

        Raises:
            UnknownModelError: the model has no known price.
        """
        return self.rates(name).bound(input_tokens, output_tokens)

    def cost(self, usage: Usage) -> int:
        """The exact cost of reported usage in nano-dollars, rounded up once, by the prices of this moment.

        Raises:
            UnknownModelError: the model has no known price.
        """
        rates = self.rates(usage.model)
        return rates.cost(usage.input_tokens, usage.cached_input_tokens, usage.output_tokens, self._clock())

    def _load(self) -> list[Provider]:
        if self._providers is None:
            from genai_prices.data_snapshot import get_snapshot

            self._providers = get_snapshot().providers
        return self._providers

    def _of_catalog(self, model: Model) -> Rates:
        rates = self._look_up(*split_provider(model.price_ref))
        if rates is None:
            raise ConfigurationError(
                f"model catalog: {model.name} has the price_ref {model.price_ref!r}, which has no known price",
                name=model.name,
                price_ref=model.price_ref,
            )
        return rates

    def _search(self, name: str) -> Rates | None:
        from genai_prices.data_snapshot import find_provider_by_id

        provider, bare = split_provider(name)
        if provider and find_provider_by_id(self._load(), provider):
            return self._look_up(provider, bare)  # and nowhere else: another provider may charge less
        return self._look_up(None, name if provider else bare)

    def _look_up(self, provider_id: str | None, model_ref: str) -> Rates | None:
        from genai_prices.data_snapshot import DataSnapshot

        # The lookup remembers every name it was ever asked, hit or miss, so it gets an object to throw away.
        book = DataSnapshot(self._load(), from_auto_update=False)
        try:
            provider, model = book.find_provider_model(model_ref, None, provider_id, None)
        except LookupError:
            ref = f"{provider_id}:{model_ref}" if provider_id else model_ref
            own = self._stated_by_entry(book).get(ref)
            return Rates.of(ref, (own,)) if own else None
        ref = f"{provider.id}:{model.id}"
        return _compile(ref, model, self._clock(), self._stated_by_entry(book).get(ref))

    def _stated_by_entry(self, book: DataSnapshot) -> dict[str, Tariff]:
        """The operator's prices by the entry of the list that they are about: every spelling of a model is one model,
        here as everywhere else. What the list does not have keeps the name that it was given."""
        if self._own is None:
            found: dict[str, Tariff] = {}
            for name, tariff in self._stated.tariffs.items() if self._stated else ():
                provider_id, _, model_ref = name.partition(":")
                try:
                    provider, model = book.find_provider_model(model_ref, None, provider_id, None)
                    ref = f"{provider.id}:{model.id}"
                except LookupError:
                    ref = name
                found[ref] = dearer(found[ref], tariff) if ref in found else tariff
            self._own = found
        return self._own

    def _unknown(self, name: str) -> UnknownModelError:
        nearest = self._near(name)
        hint = f"the nearest known are {', '.join(nearest)}" if nearest else "no known name is near"
        return UnknownModelError(
            f"no price is known for the model {name!r}, so it cannot be allowed; {hint}",
            kind="model",
            name=name,
            nearest=list(nearest),
        )

    def _nearest(self, name: str) -> tuple[str, ...]:
        """Similar names: of the whole list only those that begin alike, because comparing all takes milliseconds."""
        bare = split_provider(name)[1].lower()
        catalog = [model.name for model in self._catalog.models] if self._catalog else []
        listed = {model.id for provider in self._load() for model in provider.models if model.id.startswith(bare[:3])}
        return tuple(difflib.get_close_matches(bare, sorted(listed.union(catalog)), 3, 0.5))


@lru_cache(maxsize=1)
def _list_version() -> str:
    return f"genai-prices {version('genai-prices')}"


def _compile(ref: str, model: ModelInfo, now: datetime, stated: Tariff | None) -> Rates | None:
    tariffs: list[Tariff] = []
    for active, prices in _possible(model, now):
        tariff = _tariff(prices, active)
        if tariff is None:
            return None
        tariffs.append(tariff)
    return Rates.of(ref, tuple(tariffs), stated) if tariffs else None


def _possible(model: ModelInfo, now: datetime) -> Iterable[tuple[Callable[[datetime], bool] | None, ModelPrice]]:
    """The entries that can apply from now on, strongest first; one that has begun for good hides those before it."""
    if not isinstance(model.prices, list):
        yield None, model.prices
        return
    entries: list[ConditionalPrice] = model.prices
    for position, entry in reversed(list(enumerate(entries))):
        if position == 0 or _for_good(entry, now):
            yield None, entry.prices
            return
        assert entry.constraint is not None
        yield entry.constraint.active, entry.prices


def _for_good(entry: ConditionalPrice, now: datetime) -> bool:
    from genai_prices.types import StartDateConstraint

    constraint = entry.constraint
    return constraint is None or (isinstance(constraint, StartDateConstraint) and constraint.active(now))


def _tariff(prices: ModelPrice, active: Callable[[datetime], bool] | None) -> Tariff | None:
    """Read one entry; None when it has no price for input tokens (speech, pages, or a name without any price)."""
    fresh = prices.input_mtok
    if fresh is None:
        return None
    cached = fresh if prices.cache_read_mtok is None else prices.cache_read_mtok
    written = [price for price in (prices.cache_write_mtok, prices.cache_write_5m_mtok) if price is not None]
    output = Decimal(0) if prices.output_mtok is None else prices.output_mtok  # embeddings have no output
    digits = max(_decimals(price) for price in (fresh, cached, output))

    def step(above: int) -> Step:
        inputs = _scaled(_at(fresh, above), digits), _scaled(_at(cached, above), digits)
        dearest = max(*inputs, *(_scaled(_at(price, above), digits) for price in written))
        return Step(above, *inputs, dearest, _scaled(_at(output, above), digits))

    per = MILLION * 10 ** (digits - _NANO_DIGITS)
    call = prices.requests_kcount
    request = 0 if call is None else _ceiling(_at(call, -1) * MILLION * per)  # dollars a thousand, as nano-dollars each
    starts = {start for price in (fresh, cached, output, *written) for start in _starts(price)}
    return Tariff(tuple(step(above) for above in sorted(starts | {-1})), per, request, active)


def _starts(price: Price) -> list[int]:
    return [] if isinstance(price, Decimal) else [tier.start for tier in price.tiers]


def _at(price: Price, above: int) -> Decimal:
    """The price of the step that begins above so many input tokens."""
    if isinstance(price, Decimal):
        return price
    return next((tier.price for tier in reversed(price.tiers) if above >= tier.start), price.base)


def _decimals(price: Price) -> int:
    """Decimals needed to write a price exactly, at least those of a nano-dollar."""
    values = [price] if isinstance(price, Decimal) else [price.base, *(tier.price for tier in price.tiers)]
    return max(_NANO_DIGITS, *(-int(value.as_tuple().exponent) for value in values))


def _scaled(price: Decimal, digits: int) -> int:
    return _ceiling(price.scaleb(digits))


def _ceiling(value: Decimal) -> int:
    return -int(-value // 1)
