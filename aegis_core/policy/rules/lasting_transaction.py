"""``lasting_transaction``: transactions that stay valid without an end, so that nobody knows when they happen."""

from __future__ import annotations

from typing import Literal

from aegis_core.policy.rules.base import Conditions
from aegis_core.policy.rules.chain_base import ChainRule, Seen
from aegis_core.policy.ruling import RuleEffect
from aegis_core.protocol.transactions import TransactionFacts


class LastingTransaction(ChainRule, frozen=True):
    """A transaction of Solana with a durable nonce. Its money stays held until the nonce is used, or for ever."""

    type: Literal["lasting_transaction"] = "lasting_transaction"
    effect: RuleEffect = "escalate"

    def compile(self) -> Conditions:
        """A look at what it is valid by."""

        def look(shown: TransactionFacts) -> Seen:
            return shown.lasting, f"the transaction {'never expires' if shown.lasting else 'expires, or has a nonce'}"

        return self.compile_seen(look)


RULE = LastingTransaction
