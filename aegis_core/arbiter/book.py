"""The prices of a catalog's models, and of all that the list and the operator know beside them."""

from __future__ import annotations

from aegis_core.arbiter.catalog import Catalog
from aegis_core.metering.price_book import PriceBook
from aegis_core.metering.price_sources import read_prices
from aegis_core.settings import Settings


def price_book(catalog: Catalog, settings: Settings | None = None) -> PriceBook:
    """A book that knows the models of a catalog by its names; with settings also what they say of prices.

    Raises:
        ConfigurationError: a file of prices cannot be read, or holds something that is not a price.
    """
    refs = {model.name: model.price_ref for model in catalog.models}
    spelt = {f"{model.provider}/{model.name}": model.price_ref for model in catalog.models}
    if settings is None:
        return PriceBook(catalog=refs, aliases=spelt)
    return PriceBook(
        catalog=refs,
        aliases=spelt | settings.models,
        stated=read_prices(settings),
        output_default=settings.output_tokens,
    )
