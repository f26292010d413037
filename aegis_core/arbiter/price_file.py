"""Prices that an operator states in a file, beside the installed list: news, contracts, models of one's own.

``{"openai:gpt-4o": {"input_usd": "2.50", "cached_input_usd": "1.25", "output_usd": "10"}}``, dollars a million tokens.
"""

from __future__ import annotations

import json
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from aegis_core.arbiter.rates import MILLION, Step, Tariff
from aegis_core.protocol.errors import ConfigurationError
from aegis_core.protocol.parsing import Message, invalid, without_repeats

_Usd = Annotated[Decimal, Field(ge=0, le=1_000_000, decimal_places=9, allow_inf_nan=False)]
_Ref = Annotated[str, Field(pattern=r"^[^:]+:.+$")]


class _Stated(Message):
    model_config = ConfigDict(frozen=True, extra="forbid")

    input_usd: _Usd
    output_usd: _Usd
    cached_input_usd: _Usd | None = None

    def tariff(self) -> Tariff:
        """These prices as whole numbers."""
        return stated_tariff(self.input_usd, self.output_usd, self.cached_input_usd)


class StatedPrices(NamedTuple):
    """The tariffs of a file by ``provider:model``, and a short digest of its content."""

    tariffs: dict[str, Tariff]
    version: str


def read_price_file(path: Path) -> StatedPrices:
    """Read a file of prices.

    Raises:
        ConfigurationError: it cannot be read, or holds something that is not a price; names file and place.
    """
    try:
        data = path.read_bytes()
        stated = TypeAdapter(dict[_Ref, _Stated]).validate_python(_content(data))
    except OSError as error:
        raise _refusal(path, f"cannot be read: {error.strerror}") from None
    except ValidationError as error:
        problem = invalid(error)
        raise _refusal(path, f"{problem.field} {problem.facts['problem']}") from None
    except (ValueError, RecursionError) as error:
        raise _refusal(path, f"is not valid JSON: {error}") from None
    return stated_prices({ref: prices.tariff() for ref, prices in stated.items()}, data)


def stated_prices(tariffs: dict[str, Tariff], content: bytes) -> StatedPrices:
    """The tariffs of a file with that content."""
    return StatedPrices(tariffs, sha256(content).hexdigest()[:12])


def stated_tariff(input_usd: Decimal, output_usd: Decimal, cached_input_usd: Decimal | None = None) -> Tariff:
    """A tariff from dollars a million tokens, nine decimals at most; cached input costs as much unless it is said."""
    fresh, output = int(input_usd.scaleb(9)), int(output_usd.scaleb(9))
    cached = fresh if cached_input_usd is None else int(cached_input_usd.scaleb(9))
    return Tariff((Step(-1, fresh, cached, max(fresh, cached), output),), MILLION)


def dearer(one: Tariff, other: Tariff) -> Tariff:
    """What two statements on the same model come to: each rate is the higher one."""
    (mine,), (yours,) = one.steps, other.steps
    return Tariff((Step(*map(max, mine, yours)),), MILLION)


def _content(data: bytes) -> object:
    return json.loads(data, parse_float=Decimal, object_pairs_hook=without_repeats)


def _refusal(path: Path, problem: str) -> ConfigurationError:
    return ConfigurationError(f"price file, {path}: {problem}", file=str(path), problem=problem)


READ = read_price_file
