"""The families of chains that are known: one line for each."""

from __future__ import annotations

from aegis_core.chains.book import Chain, Chains
from aegis_core.chains.configuration import ChainSetup
from aegis_core.chains.solana.chain import SolanaChain
from aegis_core.chains.sui.chain import SuiChain
from aegis_core.protocol.accounts import EVM, SOLANA, SUI

FAMILIES: dict[str, type[Chain]] = {
    EVM: Chain,
    SOLANA: SolanaChain,
    SUI: SuiChain,
}


def open_chain(setup: ChainSetup, book: Chains) -> Chain:
    """A chain of the family that its id names."""
    return FAMILIES[setup.profile.family](setup, book)
