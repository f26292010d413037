"""``contract_method``: the methods of contracts that may be called, or those that may not."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from aegis_core.policy.rules.base import Conditions
from aegis_core.policy.rules.chain_base import ChainRule, Seen
from aegis_core.protocol.accounts import EVM
from aegis_core.protocol.transactions import PLAIN_TRANSFER, TransactionFacts

_METHOD = re.compile(rf"(?:(?:0x[0-9a-f]{{40}}|\*):)?(?:0x[0-9a-f]{{8}}|\*|{PLAIN_TRANSFER})")
_PROGRAM = re.compile(r"([1-9A-HJ-NP-Za-km-z]{32,44}):(0x(?:[0-9a-f]{2}){1,8}|\*)")
_FUNCTION = re.compile(r"0x([0-9a-f]{1,64})::(?:([A-Za-z_]\w*)::([A-Za-z_]\w*|\*)|\*)")


def _method(value: str) -> str:
    if _PROGRAM.fullmatch(value):
        return value
    if found := _FUNCTION.fullmatch(value):
        return f"0x{found[1]:0>64}::" + (f"{found[2]}::{found[3]}" if found[2] else "*")
    if not _METHOD.fullmatch(value.lower()):
        raise ValueError(
            f"{value!r} is no method; give its first four bytes, such as 0xa9059cbb, {PLAIN_TRANSFER} for none, and "
            "before it the contract, if only one is meant: 0x…:0xa9059cbb or 0x…:*; on Solana PROGRAM:0x02000000 or "
            "PROGRAM:*, on Sui 0x2::pay::split, 0x2::pay::* or 0x2::*"
        )
    lower = value.lower()
    return lower if ":" in lower else f"*:{lower}"


Methods = Annotated[tuple[Annotated[str, AfterValidator(_method)], ...], Field(min_length=1, max_length=10_000)]


class ContractMethod(ChainRule, frozen=True):
    """A transaction that calls a method not in `allow`, or one in `deny`: ``0xa9059cbb`` of any contract,
    ``0x…:0xa9059cbb`` of one, ``0x…:*`` all of one. ``transfer`` is a transaction without data.

    With `allow`, a transaction that creates a contract matches, too. On Solana a method is a program and the first
    bytes of its data (``PROGRAM:0x02000000``), on Sui ``package::module::function``.
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
            if shown.family != EVM:
                return _several(shown, listed, allows)
            if shown.to is None:
                return allows, "the transaction creates a contract"
            forms = {f"{to}:{method}" for to in (shown.to, "*") for method in (shown.method, "*")}
            among = not forms.isdisjoint(listed)
            return among != allows, f"{shown.method} of {shown.to} is {'' if among else 'not '}listed"

        return self.compile_seen(look)


def _several(shown: TransactionFacts, listed: frozenset[str], allows: bool) -> Seen:
    """With `allows`, each call must be listed; else none may be."""
    plain = shown.method == PLAIN_TRANSFER
    if plain and f"*:{PLAIN_TRANSFER}" in listed:
        return not allows, "it is a transfer, which is listed"
    for call in shown.calls:
        if frozenset(_forms(call)).isdisjoint(listed) == allows:
            return True, f"{call} is {'not ' if allows else ''}listed"
    return allows and (shown.creates or not shown.calls), "it calls nothing that it may not"


def _forms(call: str) -> tuple[str, ...]:
    """What a call may be listed as: itself, or all of its program, package or module."""
    if "::" not in call:
        return call, call.partition(":")[0] + ":*"
    package, module, _ = call.split("::")
    return call, f"{package}::{module}::*", f"{package}::*"


RULE = ContractMethod
