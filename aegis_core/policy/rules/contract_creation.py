"""``contract_creation``: transactions that put code on a chain."""

from __future__ import annotations

from typing import Literal

from aegis_core.policy.rules.base import Conditions
from aegis_core.policy.rules.chain_base import ChainRule, Seen
from aegis_core.protocol.transactions import PLAIN_TRANSFER, TransactionFacts


class ContractCreation(ChainRule, frozen=True):
    """A transaction that creates a contract, itself or by what it calls; or calls something, and no node says whether
    that creates any."""

    type: Literal["contract_creation"] = "contract_creation"

    def compile(self) -> Conditions:
        """A look at whom it calls, and at what that does."""

        def look(shown: TransactionFacts) -> Seen:
            if shown.creates:
                return True, "the transaction creates a contract"
            creates = shown.simulation and shown.simulation.creates
            if creates is None and shown.method != PLAIN_TRANSFER:
                return True, "no node says whether what it calls creates a contract"
            return bool(creates), f"what it calls creates {'a' if creates else 'no'} contract"

        return self.compile_seen(look)


RULE = ContractCreation
