"""``gas_price_ceiling``: while gas costs more than that, nothing is sent. Judged by the script, on the price there."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from aegis_core.policy.rules.base import Conditions
from aegis_core.policy.rules.chain_base import ChainRule, Seen
from aegis_core.protocol.accounts import EVM, SOLANA, SUI
from aegis_core.protocol.transactions import TransactionFacts

_WEI = 10**9


def _whole(value: Decimal) -> Decimal:
    if value * _WEI % 1:
        raise ValueError("is finer than a wei (0.000000001 gwei)")
    return value


class GasPriceCeiling(ChainRule, frozen=True):
    """Gas at more than `max_gwei` (10^9 wei) for a unit: the base fee of the newest block that was seen, and what the
    transaction offers above it, as far as it would pay that now. On Solana `max_micro_lamports` for a compute unit:
    what it offers, or what others lately paid to write the same accounts, if that is more. On Sui `max_mist`.

    A rule is about the chains that have its unit. A request that shows no transaction matches whatever gas costs.
    """

    type: Literal["gas_price_ceiling"] = "gas_price_ceiling"
    max_gwei: Annotated[Decimal, Field(gt=0, le=9_000_000, allow_inf_nan=False), AfterValidator(_whole)] | None = None
    max_micro_lamports: Annotated[int, Field(ge=0, le=2**53 - 1, strict=True)] | None = None
    max_mist: Annotated[int, Field(gt=0, le=2**53 - 1, strict=True)] | None = None

    @model_validator(mode="after")
    def _one_unit(self) -> GasPriceCeiling:
        if sum(each is not None for each in (self.max_gwei, self.max_micro_lamports, self.max_mist)) != 1:
            raise ValueError("max_gwei: give one of max_gwei, max_micro_lamports (Solana) and max_mist (Sui)")
        return self

    def compile(self) -> Conditions:
        """A ceiling, where the rule concerns the chain."""
        if self.max_gwei is not None:
            family, most, words = EVM, int(self.max_gwei * _WEI), f"{self.max_gwei.normalize():f} gwei"
        elif self.max_mist is not None:
            family, most, words = SUI, self.max_mist, f"{self.max_mist:,} MIST"
        else:
            family, most = SOLANA, self.max_micro_lamports or 0
            words = f"{most:,} micro-lamports"

        def look(shown: TransactionFacts) -> Seen:
            return shown.family == family, f"gas on {shown.name} may cost {words} at most"

        return replace(self.compile_seen(look), gas_above=most, gas_words=words)


RULE = GasPriceCeiling
