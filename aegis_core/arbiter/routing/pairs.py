"""Which two models of a file a router is to choose between, and what one costs beside the other."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from aegis_core.arbiter.catalog import Catalog
from aegis_core.arbiter.routing.gain import GainModel
from aegis_core.arbiter.routing.outcomes import Pair, Row
from aegis_core.metering.price_book import PriceBook
from aegis_core.protocol.errors import ConfigurationError, InvalidRequestError, UnknownModelError

LIST_PRICES = {
    "mixtral-8x7b-instruct-v0.1": Decimal("0.24"),
    "gpt-4-1106-preview": Decimal("24.7"),
    "gemma-2-9b-it": Decimal("0.1"),
    "llama-3.1-nemotron-51b-instruct": Decimal("0.9"),
}
"""Dollars a million tokens as published with comparisons of these models, whose prices no list carries any more."""

_MIX = (1_000, 250)


def pair_of(
    rows: Sequence[Row],
    prices: PriceBook,
    *,
    weak: str | None = None,
    strong: str | None = None,
    ratio: float | None = None,
) -> Pair:
    """The pair to route between.

    What is not given is found: the strong model is the best by mean score, the weak one the cheapest of the others
    whose price is known, or the best of the others where no price is known.

    Args:
        rows: the outcomes, at least one.
        prices: what models cost.
        weak, strong: names as in the rows.
        ratio: what a call of the weak model costs as a share of one of the strong model.

    Raises:
        InvalidRequestError: a model that no row has a score of, fewer than two models, or a ratio that is none.
    """
    if ratio is not None and not 0 <= ratio <= 1:
        problem = f"is {ratio:g}; give what a weak call costs as a share of a strong one, 0 to 1"
        raise InvalidRequestError(f"--ratio: {problem}", field="--ratio", problem=problem)
    means = _means(rows)
    for option, name in (("--weak", weak), ("--strong", strong)):
        if name is not None and name not in means:
            problem = f"{name!r} has no score in this file; it has {', '.join(sorted(means))}"
            raise InvalidRequestError(f"{option}: {problem}", field=option, problem=problem)
    if len(means) < 2 or (weak is not None and weak == strong):
        problem = f"two models are needed to choose between; there is {', '.join(means)}"
        raise InvalidRequestError(f"scores: {problem}", field="scores", problem=problem)
    best_first = sorted(means, key=lambda name: (-means[name], name))
    strong = strong or next(name for name in best_first if name != weak)
    others = [name for name in best_first if name != strong]
    known = {name: price for name in (*others, strong) if (price := price_of(name, prices)) is not None}
    if weak is None:
        weak = min((name for name in others if name in known), key=known.__getitem__, default=others[0])
    if ratio is None and weak in known and known.get(strong):
        ratio = float(min(known[weak] / known[strong], Decimal(1)))  # never below what is really paid
    return Pair(weak, strong, ratio)


def price_of(name: str, prices: PriceBook) -> Decimal | None:
    """What a model costs for comparison, in the unit of `LIST_PRICES`, or None.

    The prices of comparisons come first, because they are those of the time; the two kinds are never mixed in a pair
    that both know.
    """
    if name in LIST_PRICES:
        return LIST_PRICES[name]
    try:
        rates = prices.text_rates(name)
    except UnknownModelError:
        return None
    return Decimal(rates.expected(*_MIX)) / Decimal(sum(_MIX)) / 1_000


def refuse_unpaired(path: Path, fitted: GainModel, models: set[str]) -> None:
    """Say which of the two models of a fitted one a file lacks altogether.

    Raises:
        InvalidRequestError: one of the two has no score in any row.
    """
    for model in (fitted.weak, fitted.strong):
        if model not in models:
            problem = f"has no scores of {model}, which the model was fitted for; it has {', '.join(sorted(models))}"
            raise InvalidRequestError(f"{path}: {problem}", field=f"scores.{model}", problem=problem)


def refuse_unlisted(path: Path, fitted: GainModel, catalog: Catalog) -> None:
    """Say why a fitted model could never speak for a choice among the models of a catalog, rather than let it be mute.

    Raises:
        ConfigurationError: the catalog lacks one of its two models, or has the strong one in no higher tier.
    """
    weak, strong = catalog.find(fitted.weak), catalog.find(fitted.strong)
    if weak is None or strong is None:
        missing = fitted.weak if weak is None else fitted.strong
        problem = f"was fitted for {fitted.weak} and {fitted.strong}, and the catalog has no {missing}"
    elif weak.tier >= strong.tier:
        problem = f"would choose between {weak.name} of tier {weak.tier} and {strong.name} of tier {strong.tier}"
    else:
        return
    advice = "fit one for two models of the catalog, of which the strong one is in a higher tier"
    raise ConfigurationError(f"routing model, {path}: {problem}; {advice}", file=str(path), problem=problem)


def _means(rows: Sequence[Row]) -> dict[str, float]:
    """The mean score of each model, over the rows that have one."""
    counts: dict[str, int] = {}
    totals: dict[str, float] = {}
    for row in rows:
        for model, score in row.scores.items():
            counts[model] = counts.get(model, 0) + 1
            totals[model] = totals.get(model, 0.0) + score
    return {model: total / counts[model] for model, total in totals.items()}
