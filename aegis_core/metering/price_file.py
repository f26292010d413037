"""Prices that an operator states in a file, beside the installed list: news, contracts, models of one's own.

``{"openai:gpt-4o": {"input_usd": "2.50", "cached_input_usd": "1.25", "output_usd": "10"}}``, dollars a million tokens.
A name is ``provider:model`` or the name as agents say it; either sign may stand after the provider.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, TypeAdapter

from aegis_core.metering.fees import HOUR_WRITE_PERCENT
from aegis_core.metering.names import folded
from aegis_core.metering.rates import RateCard, Steps, fill, flat
from aegis_core.protocol.errors import ConfigurationError
from aegis_core.protocol.json_file import read_json_file
from aegis_core.protocol.parsing import Message

_Usd = Annotated[Decimal, Field(ge=0, le=1_000_000, decimal_places=9, allow_inf_nan=False)]
_Name = Annotated[str, Field(min_length=1, max_length=2_048)]

_RATES = {
    "input": "input_usd",
    "output": "output_usd",
    "cached": "cached_input_usd",
    "write": "cache_write_usd",
    "write_1h": "cache_write_1h_usd",
    "audio": "audio_input_usd",
    "audio_out": "audio_output_usd",
    "image": "image_input_usd",
    "image_out": "image_output_usd",
}
_FEES = {
    "web_searches": "web_search_usd",
    "file_searches": "file_search_usd",
    "code_sessions": "code_session_usd",
    "map_searches": "map_search_usd",
}


class _Stated(Message):
    model_config = ConfigDict(frozen=True, extra="forbid")

    input_usd: _Usd
    output_usd: _Usd
    cached_input_usd: _Usd | None = None
    cache_write_usd: _Usd | None = None
    cache_write_1h_usd: _Usd | None = None
    audio_input_usd: _Usd | None = None
    audio_output_usd: _Usd | None = None
    image_input_usd: _Usd | None = None
    image_output_usd: _Usd | None = None
    web_search_usd: _Usd | None = None
    file_search_usd: _Usd | None = None
    code_session_usd: _Usd | None = None
    map_search_usd: _Usd | None = None


@dataclass(frozen=True, slots=True)
class StatedPrices:
    """The cards of a file by their folded names, and a short digest of its content."""

    cards: dict[str, RateCard]
    version: str


def read_price_file(path: Path) -> StatedPrices:
    """Read a file of prices. Fees of hosted tools are dollars for one call.

    Raises:
        ConfigurationError: it cannot be read, or holds something that is not a price; names file and place.
    """
    stated, data = read_json_file(path, TypeAdapter(dict[_Name, _Stated]), partial(_refusal, path))
    return stated_prices([(name, _card(prices)) for name, prices in stated.items()], data)


def stated_prices(cards: Iterable[tuple[str, RateCard]], content: bytes) -> StatedPrices:
    """The prices of a file with that content; where it speaks of a model twice, the higher count."""
    return StatedPrices(merged(cards), sha256(content).hexdigest()[:12])


def stated_card(input_usd: Decimal, output_usd: Decimal, cached_input_usd: Decimal | None = None) -> RateCard:
    """Prices from dollars a million tokens, nine decimals at most; cached input costs as much unless it is said.

    Raises:
        ValueError: an amount that is no price.
    """
    return _card(_Stated(input_usd=input_usd, output_usd=output_usd, cached_input_usd=cached_input_usd))


def merged(cards: Iterable[tuple[str, RateCard]]) -> dict[str, RateCard]:
    """The cards by their folded names; of two for the same name each price is the higher one."""
    found: dict[str, RateCard] = {}
    for name, card in cards:
        key = folded(name)
        found[key] = dearer(found[key], card) if key in found else card
    return found


def dearer(one: RateCard, other: RateCard) -> RateCard:
    """What two statements on the same model come to: each price is the higher one."""
    rates = {name: _higher(steps, other.rates[name]) for name, steps in one.rates.items()}
    fees = {name: max(one.fees.get(name, 0), other.fees.get(name, 0)) for name in {*one.fees, *other.fees}}
    return RateCard(rates, fees, max(one.request, other.request))


def _higher(one: Steps, other: Steps) -> Steps:
    return ((-1, max(one[0][1], other[0][1])),)


def _card(prices: _Stated) -> RateCard:
    said = {name: getattr(prices, key) for name, key in _RATES.items()}
    rates = {name: flat(price) for name, price in said.items() if price is not None}
    fill(rates, HOUR_WRITE_PERCENT)
    fees = {name: getattr(prices, key) for name, key in _FEES.items()}
    return RateCard(rates, {name: flat(fee)[0][1] * 10**6 for name, fee in fees.items() if fee is not None})


def _refusal(path: Path, problem: str) -> ConfigurationError:
    return ConfigurationError(f"price file, {path}: {problem}", file=str(path), problem=problem)


READ = read_price_file
