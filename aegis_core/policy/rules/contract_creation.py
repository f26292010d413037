"""``contract_creation``: transactions that put code on a chain."""

from __future__ import annotations

from typing import Literal

from aegis_core.policy.rules.base import Conditions
from aegis_core.policy.rules.chain_base import ChainRule, Seen
from aegis_core.protocol.transactions import TransactionFacts


class ContractCreation(ChainRule, frozen=True):
    """A transaction that itself creates a contract. One that calls a contract which creates others is not seen by this
    rule: allow the contracts that may be called (`recipient`)."""

    type: Literal["contract_creation"] = "contract_creation"

    def compile(self) -> Conditions:
        """A look at whom it calls: nobody."""

        def look(shown: TransactionFacts) -> Seen:
            return shown.creates, f"the transaction {'creates a' if shown.creates else 'creates no'} contract"

        return self.compile_seen(look)


RULE = ContractCreation
