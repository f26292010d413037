"""What rules about transactions share: which requests they are about, and how they compare accounts."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from aegis_core.policy.case import Case
from aegis_core.policy.rules.base import Conditions, Rule
from aegis_core.policy.ruling import RuleEffect
from aegis_core.protocol.accounts import account
from aegis_core.protocol.messages import ResourceType
from aegis_core.protocol.transactions import TransactionFacts

CHAIN_TYPES: frozenset[ResourceType] = frozenset({"gas_budget", "wallet_lock"})
"""What is asked for transactions."""

_CHAIN = re.compile(r"[a-z0-9-]{3,8}:[-_a-zA-Z0-9]{1,32}|[a-z0-9][a-z0-9-]{0,31}")

Seen = tuple[bool, str]
"""Whether a rule is about a transaction, and what it saw, in words."""


def _chain(value: str) -> str:
    if not _CHAIN.fullmatch(value):
        raise ValueError(f"{value!r} is no chain; give its name or its CAIP-2 id, such as monad or eip155:143")
    return value


ChainNames = Annotated[tuple[Annotated[str, AfterValidator(_chain)], ...], Field(min_length=1, max_length=1_000)]
Accounts = Annotated[tuple[Annotated[str, AfterValidator(account)], ...], Field(min_length=1, max_length=10_000)]


@dataclass(frozen=True, slots=True)
class AccountSet:
    """Accounts of a rule, on any chain or on the one that each names."""

    entries: frozenset[str]

    def holds(self, shown: TransactionFacts, account: str) -> bool:
        """Whether an account of the transaction's chain is among them."""
        return account in self.entries or f"{shown.chain}:{account}" in self.entries


class ChainRule(Rule, frozen=True):
    """A rule about transactions, on the `chains` that it names, or on all.

    A request for a wallet or for gas that shows no transaction may be about any, so it matches.
    """

    effect: RuleEffect = "deny"
    chains: ChainNames | None = None
    networks: Literal["main", "test"] | None = None

    def concerns(self, _shown: TransactionFacts) -> bool:
        """Whether it is about this chain."""
        if self.networks is not None and _shown.testnet != (self.networks == "test"):
            return False
        return self.chains is None or _shown.chain in self.chains or _shown.name in self.chains

    def compile_seen(self, look: Callable[[TransactionFacts], Seen]) -> Conditions:
        """Conditions by what `look` says of a transaction that the rule concerns."""

        def seen(case: Case) -> Seen:
            shown = case.transaction
            if shown is None:
                return True, "the request shows no transaction, and may be about any"
            if not self.concerns(shown):
                return False, f"the transaction is on {shown.name}"
            return look(shown)

        def test(case: Case) -> bool:
            return seen(case)[0]

        def told(case: Case) -> str:
            return seen(case)[1]

        return Conditions(resource_types=frozenset[str](CHAIN_TYPES), test=test, account=told)
