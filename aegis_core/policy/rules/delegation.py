"""``delegation``: transactions that let an account run somebody's code from then on."""

from __future__ import annotations

from typing import Literal

from aegis_core.policy.rules.base import Conditions
from aegis_core.policy.rules.chain_base import ChainRule, Seen
from aegis_core.protocol.transactions import TransactionFacts


class Delegation(ChainRule, frozen=True):
    """A transaction of type 4, which carries such an authorization (EIP-7702), of whatever account; on Solana one that
    gives the wallet itself to a program."""

    type: Literal["delegation"] = "delegation"

    def compile(self) -> Conditions:
        """A look at its type."""

        def look(shown: TransactionFacts) -> Seen:
            return shown.delegates, f"the transaction delegates {'an account' if shown.delegates else 'nothing'}"

        return self.compile_seen(look)


RULE = Delegation
