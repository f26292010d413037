"""``lasting_transaction``: transactions that stay valid without an end, so that nobody knows when they happen."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from aegis_core.policy.case import Case
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


class ImpliedLasting(LastingTransaction, frozen=True):
    """The same where the operator says nothing of it: a request that shows no transaction is none of these."""

    def compile(self) -> Conditions:
        """A look at the transaction, if there is one."""
        told = super().compile()

        def test(case: Case) -> bool:
            return case.transaction is not None and told.test(case)

        return replace(told, test=test)


RULE = LastingTransaction
