"""Rates of models as detectors need them."""

from __future__ import annotations

from aegis_core.kaizen.facts import Rates
from aegis_core.metering.price_book import PriceBook
from aegis_core.protocol.errors import UnknownModelError
from aegis_core.protocol.money import to_nanos


def rates_of(prices: PriceBook, model: str) -> Rates | None:
    """What a model costs now, for calls of the smallest size; None where nobody knows."""
    try:
        found = prices.rates(model)
    except UnknownModelError:
        return None
    by_kind = {kind: to_nanos(steps[0][1]) for kind, steps in found.items() if steps}
    return Rates(by_kind.get("input", 0), by_kind.get("output", 0), by_kind.get("cached"))
