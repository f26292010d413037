"""``chain_allowlist``: transactions on the chains that are listed, and on no others."""

from __future__ import annotations

from typing import Literal

from pydantic import StrictBool, model_validator

from aegis_core.policy.rules.base import Conditions
from aegis_core.policy.rules.chain_base import ChainRule, Seen
from aegis_core.protocol.transactions import TransactionFacts


class ChainAllowlist(ChainRule, frozen=True):
    """A transaction on a chain that is not among `chains`, by name or CAIP-2; with `testnets`, any test network is."""

    type: Literal["chain_allowlist"] = "chain_allowlist"
    testnets: StrictBool = False

    @model_validator(mode="after")
    def _listing(self) -> ChainAllowlist:
        if self.chains is None and not self.testnets:
            raise ValueError("chains: list those that are allowed, or say testnets")
        if self.networks is not None:
            raise ValueError("networks: is for other rules; list chains, or say testnets")
        return self

    def concerns(self, _shown: TransactionFacts) -> bool:
        """It is about every chain."""
        return True

    def compile(self) -> Conditions:
        """A look-up."""
        listed = frozenset(self.chains or ())

        def look(shown: TransactionFacts) -> Seen:
            among = shown.chain in listed or shown.name in listed or (self.testnets and shown.testnet)
            return not among, f"{shown.name} ({shown.chain}) is {'' if among else 'not '}among the chains"

        return self.compile_seen(look)


RULE = ChainAllowlist
