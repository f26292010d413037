"""In what each kind of chain counts its coin, and the price of gas."""

from __future__ import annotations

from decimal import Decimal

from aegis_core.protocol.accounts import EVM, SOLANA, SUI

COIN_UNITS = {EVM: "wei", SOLANA: "lamports", SUI: "MIST"}
"""The smallest part of a coin, by the family of the chain."""
GAS_UNITS = {EVM: "wei", SOLANA: "micro-lamports", SUI: "MIST"}
"""In what gas is priced."""
_GWEI = 10**9


def gas_words(family: str, price: int) -> str:
    """A price of gas for a person: ``100 gwei``, ``1,000 MIST``."""
    return f"{Decimal(price) / _GWEI:,.9g} gwei" if family == EVM else f"{price:,} {GAS_UNITS[family]}"
