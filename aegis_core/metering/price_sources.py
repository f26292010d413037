"""Where prices come from beside the installed list: the settings that are `ReadBy` a module beside this one.

Where sources disagree, the highest price counts.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from aegis_core.metering.price_file import StatedPrices, merged
from aegis_core.settings import ReadBy, Settings

_READERS: dict[str, Callable[[Path], StatedPrices]] = {
    setting: import_module(f"aegis_core.metering.{mark.module}").READ
    for setting, field in Settings.model_fields.items()
    for mark in field.metadata
    if isinstance(mark, ReadBy)
}


def price_files(settings: Settings) -> tuple[Path, ...]:
    """The files of the sources that are configured, to be watched for changes."""
    return tuple(path for name in _READERS if (path := getattr(settings, name)) is not None)


def read_prices(settings: Settings) -> StatedPrices | None:
    """What all configured sources state; None: there is none.

    Raises:
        ConfigurationError: a file cannot be read, or holds something that is not a price; names file and place.
    """
    found = [read(path) for name, read in _READERS.items() if (path := getattr(settings, name)) is not None]
    if len(found) < 2:
        return found[0] if found else None
    cards = merged(pair for source in found for pair in source.cards.items())
    return StatedPrices(cards, ", ".join(source.version for source in found))
