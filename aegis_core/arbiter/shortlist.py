"""The models that satisfy a logic density and meet requirements, in the order of preference, before sizes are known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from aegis_core.arbiter.catalog import Catalog, Model
from aegis_core.arbiter.forecast import FORECAST_INPUT, FORECAST_OUTPUT
from aegis_core.metering.price_book import PriceBook
from aegis_core.metering.text_rates import Floor, TextRates
from aegis_core.protocol.errors import UnknownModelError


class Needs(NamedTuple):
    """The requirements that do not depend on the size of a request."""

    tools: bool = False
    vision: bool = False
    min_context_tokens: int = 0
    providers: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    or_strongest: bool = False
    permitted: tuple[str, ...] = ()
    """The models that the policy permits here, best first, whatever the logic density; none: it does not say."""


class PricedModel(NamedTuple):
    """A model with its prices, and its position in the catalog, which decides between equal costs."""

    model: Model
    rates: TextRates
    position: int


@dataclass(frozen=True, slots=True, eq=False)
class Shortlist:
    """Models by ascending tier, within a tier by expected cost of the default mix.

    Attributes:
        tiers: the models of each tier that has any.
        names: all their names, the cheapest first, then in the same order; empty: nothing meets the requirements.
        note: why these, or why none.
        fixed: the order is that of the policy, whatever the models cost.
        ranked: the same as `names`.
        strongest: those of the highest tier among them.
        floors: for each tier, what none of its models costs less than.
    """

    tiers: tuple[tuple[PricedModel, ...], ...]
    names: tuple[str, ...]
    note: str
    fixed: bool = False
    ranked: tuple[PricedModel, ...] = field(init=False)
    strongest: tuple[PricedModel, ...] = field(init=False)
    floors: tuple[Floor, ...] = field(init=False)

    def __post_init__(self) -> None:
        every = [entry for tier in self.tiers for entry in tier]
        by_name = {entry.model.name: entry for entry in every}
        object.__setattr__(self, "ranked", tuple(by_name[name] for name in self.names))
        top = max((entry.model.tier for entry in every), default=0)
        object.__setattr__(self, "strongest", tuple(entry for entry in every if entry.model.tier == top))
        object.__setattr__(self, "floors", tuple(Floor.of(entry.rates for entry in tier) for tier in self.tiers))


def select(catalog: Catalog, prices: PriceBook, logic_density: int, needs: Needs | None, tier: int = 0) -> Shortlist:
    """Shortlist the models of the lowest tier that satisfies a density, and of the tiers above it.

    `tier`, where it is not 0, is the one that outcomes call for instead.

    Raises:
        UnknownModelError: the requirements name a model that is not in the catalog.
    """
    permitted = needs.permitted if needs else ()
    asked = catalog.tier_for(logic_density)
    tier = tier or asked
    called = (
        f"Outcomes call for tier {tier}" if tier != asked else f"Logic density {logic_density} asks for tier {tier}"
    )
    if (
        needs
        and needs.or_strongest
        and needs.models
        and not permitted
        and (top := _top_tier(catalog, needs.models)) < tier
    ):
        tier, called = top, f"{called}, and the strongest of requirements.models is of tier {top}"
    entries = _permitted(catalog, prices, permitted) if permitted else _of_tier(catalog, prices, tier)
    if not entries:
        note = f"The policy permits only {_some(permitted)} here, and the catalog has none of them."
        return Shortlist((), (), note)
    asks = f"logic density {logic_density} asks for"
    for what, meets in _tests(catalog, needs) if needs else ():
        left = [entry for entry in entries if meets(entry.model)]
        if not left:
            which = f"of tier {tier} or above, which {asks if tier == asked else 'outcomes call for'}"
            which = "of those that the policy permits here" if permitted else which
            note = f"{what} leaves no model {which}; without it the cheapest is {entries[0].model.name}."
            return Shortlist((), (), note)
        entries = left
    if permitted:  # the order is the policy's, so each stands alone
        names = tuple(entry.model.name for entry in entries)
        note = f"The policy permits {_some(permitted)} here."
        return Shortlist(tuple((entry,) for entry in entries), names, note, fixed=True)
    cheapest = min(entries, key=lambda entry: entry.rates.expected(FORECAST_INPUT, FORECAST_OUTPUT))
    names = tuple(dict.fromkeys([cheapest.model.name, *(entry.model.name for entry in entries)]))
    note = f"{called} or above."
    if called.startswith("Outcomes"):
        note = f"{called} or above, where {asks} tier {asked}."
    tiers = tuple(tuple(group) for _, group in groupby(entries, key=lambda entry: entry.model.tier))
    return Shortlist(tiers, names, note)


def _of_tier(catalog: Catalog, prices: PriceBook, tier: int) -> list[PricedModel]:
    """The models of a tier or above, by tier and expected cost."""
    found = (
        PricedModel(model, prices.text_rates(model.name), position)
        for position, model in enumerate(catalog.models)
        if model.tier >= tier and model.healthy
    )
    return sorted(
        found,
        key=lambda entry: (entry.model.tier, entry.rates.expected(FORECAST_INPUT, FORECAST_OUTPUT), entry.position),
    )


def _permitted(catalog: Catalog, prices: PriceBook, names: tuple[str, ...]) -> list[PricedModel]:
    """The models of the catalog among these names, in their order."""
    found = dict.fromkeys(model for name in names if (model := catalog.find(name)) and model.healthy)
    return [PricedModel(model, prices.text_rates(model.name), position) for position, model in enumerate(found)]


def _top_tier(catalog: Catalog, names: tuple[str, ...]) -> int:
    return max((model.tier for name in names if (model := _listed(catalog, name)).healthy), default=0)


def _tests(catalog: Catalog, needs: Needs) -> Iterable[tuple[str, Callable[[Model], bool]]]:
    """Each requirement that was made, in words and as a test."""
    if needs.models:
        wanted = {_listed(catalog, name).name for name in needs.models}
        yield f"requirements.models ({_some(needs.models)})", lambda model: model.name in wanted
    if needs.providers:
        yield f"requirements.providers ({_some(needs.providers)})", lambda model: model.provider in needs.providers
    if needs.tools:
        yield "requirements.tools", lambda model: model.tools
    if needs.vision:
        yield "requirements.vision", lambda model: model.vision
    if needs.min_context_tokens:
        least = needs.min_context_tokens
        yield f"requirements.min_context_tokens ({least:,})", lambda model: model.context_tokens >= least


def _listed(catalog: Catalog, name: str) -> Model:
    if model := catalog.find(name):
        return model
    nearest = catalog.nearest(name)
    hint = f"the nearest are {', '.join(nearest)}" if nearest else f"it has {_some(tuple(catalog.by_name))}"
    raise UnknownModelError(
        f"requirements.models: {name!r} is not in the catalog; {hint}", kind="model", name=name, nearest=nearest
    )


def _some(names: Sequence[str]) -> str:
    """The first few names; a refusal is a sentence, not a listing."""
    return ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
