"""``contract_method``: the methods of contracts that may be called, or those that may not."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from aegis_core.policy.rules.base import Conditions
from aegis_core.policy.rules.chain_base import ChainRule, Seen
from aegis_core.protocol.transactions import PLAIN_TRANSFER, TransactionFacts

_METHOD = re.compile(rf"(?:(?:0x[0-9a-f]{{40}}|\*):)?(?:0x[0-9a-f]{{8}}|\*|{PLAIN_TRANSFER})")


def _method(value: str) -> str:
    if not _METHOD.fullmatch(value.lower()):
        raise ValueError(
            f"{value!r} is no method; give its first four bytes, such as 0xa9059cbb, {PLAIN_TRANSFER} for none, and "
            "before it the contract, if only one is meant: 0x…:0xa9059cbb or 0x…:*"
        )
    lower = value.lower()
    return lower if ":" in lower else f"*:{lower}"


Methods = Annotated[tuple[Annotated[str, AfterValidator(_method)], ...], Field(min_length=1, max_length=10_000)]


class ContractMethod(ChainRule, frozen=True):
    """A transaction that calls a method not in `allow`, or one in `deny`: ``0xa9059cbb`` of any contract,
    ``0x…:0xa9059cbb`` of one, ``0x…:*`` all of one. ``transfer`` is a transaction without data.

    With `allow`, a transaction that creates a contract matches, too.
    """

    type: Literal["contract_method"] = "contract_method"
    allow: Methods | None = None
    deny: Methods | None = None

    @model_validator(mode="after")
    def _one_list(self) -> ContractMethod:
        if (self.allow is None) == (self.deny is None):
            raise ValueError("allow: give allow or deny")
        return self

    def compile(self) -> Conditions:
        """A look-up."""
        allows, listed = self.allow is not None, frozenset(self.allow or self.deny or ())

        def look(shown: TransactionFacts) -> Seen:
            if shown.to is None:
                return allows, "the transaction creates a contract"
            forms = {f"{to}:{method}" for to in (shown.to, "*") for method in (shown.method, "*")}
            among = not forms.isdisjoint(listed)
            return among != allows, f"{shown.method} of {shown.to} is {'' if among else 'not '}listed"

        return self.compile_seen(look)


RULE = ContractMethod
