"""``recipient``: the accounts that a transaction may call or pay, or those that it may not."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from aegis_core.policy.rules.base import Conditions
from aegis_core.policy.rules.chain_base import Accounts, AccountSet, ChainRule, Seen
from aegis_core.protocol.accounts import EVM
from aegis_core.protocol.transactions import TransactionFacts


class Recipient(ChainRule, frozen=True):
    """A transaction to an account that is not in `allow`, or that is in `deny`: with its chain (``eip155:143:0x…``), or
    on every one. With `allow`, a transaction that creates a contract matches, too. On Solana and Sui those that it pays
    count, on Solana also the programs that it calls."""

    type: Literal["recipient"] = "recipient"
    allow: Accounts | None = None
    deny: Accounts | None = None

    @model_validator(mode="after")
    def _one_list(self) -> Recipient:
        if (self.allow is None) == (self.deny is None):
            raise ValueError("allow: give allow or deny")
        return self

    def compile(self) -> Conditions:
        """A look-up."""
        allows = self.allow is not None
        listed = AccountSet(frozenset(self.allow or self.deny or ()))

        def look(shown: TransactionFacts) -> Seen:
            if shown.family != EVM:
                return _several(shown, listed, allows)
            if shown.to is None:
                return allows, "the transaction creates a contract"
            among = listed.holds(shown, shown.to)
            return among != allows, f"{shown.to} is {'' if among else 'not '}listed"

        return self.compile_seen(look)


def _several(shown: TransactionFacts, listed: AccountSet, allows: bool) -> Seen:
    """With `allows`, each must be listed; else none may be, and none may be unknown."""
    for each in shown.recipients:
        if each is None:
            return True, "nobody can tell whom it pays"
        if listed.holds(shown, each) != allows:
            return True, f"{each} is {'not ' if allows else ''}listed"
    return allows and shown.creates, "it pays nobody that it may not"


RULE = Recipient
