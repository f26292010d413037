"""Where prices come from beside the installed list: one line each. Where sources disagree, the highest price counts."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from aegis_core.arbiter.price_file import StatedPrices, dearer
from aegis_core.settings import Settings

SOURCES = {
    "prices_file": "price_file",
}
"""The module beside this one that reads a source with its `READ`, by the setting that names the source's file."""

_READERS: dict[str, Callable[[Path], StatedPrices]] = {
    setting: import_module(f"aegis_core.arbiter.{module}").READ for setting, module in SOURCES.items()
}


def price_files(settings: Settings) -> tuple[Path, ...]:
    """The files of the sources that are configured, to be watched for changes."""
    return tuple(path for name in SOURCES if (path := getattr(settings, name)) is not None)


def read_prices(settings: Settings) -> StatedPrices | None:
    """What all configured sources state; None: there is none.

    Raises:
        ConfigurationError: a file cannot be read, or holds something that is not a price; names file and place.
    """
    found = [read(path) for name, read in _READERS.items() if (path := getattr(settings, name)) is not None]
    if len(found) < 2:
        return found[0] if found else None
    tariffs = dict(found[0].tariffs)
    for source in found[1:]:
        for ref, tariff in source.tariffs.items():
            tariffs[ref] = dearer(tariffs[ref], tariff) if ref in tariffs else tariff
    return StatedPrices(tariffs, ", ".join(source.version for source in found))
