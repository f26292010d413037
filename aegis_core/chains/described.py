"""A transaction as the decision sees it, the same for every chain that is not of the EVM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aegis_core.chains.cost import NativeCost
from aegis_core.chains.simulation import Simulation


@dataclass(frozen=True, slots=True)
class DescribedTransaction:
    """What bytes say, and what a simulation adds to it. Amounts are in the smallest unit.

    Attributes:
        hash: what the grant is given for; `request`: the same for the same bytes, by which they are known again.
        core: a hash of all that it does.
        wallet: whose money it is; `cosigners`: who else signs.
        cost: the most that it takes of the coin, as far as anybody can say.
        to: the only account that it pays or program that it calls; None: there are several, or it is not known.
        calls: what it calls, by program or package.
        recipients: whom it pays; None among them: somebody that nobody can tell.
        plain: whether the bytes alone say all that leaves.
        creates: whether it puts code on the chain by itself; `delegates`: whether it gives the wallet to a program.
        lasting: whether it stays valid without an end.
        max_fee, priority_fee: for a unit of gas at most, and what it offers above the base.
        simulation: what it would do; None: nobody can say, for `problem`.
        until: the height after which it cannot happen any more; 0: no such is known.
        shown: what a person who is asked sees, and what is approved.
    """

    hash: str
    request: str
    core: str
    wallet: str
    cosigners: tuple[str, ...]
    cost: NativeCost
    to: str | None
    calls: tuple[str, ...]
    recipients: tuple[str | None, ...]
    plain: bool
    creates: bool
    delegates: bool
    lasting: bool
    max_fee: int
    priority_fee: int
    simulation: Simulation | None
    problem: str | None
    shown: Mapping[str, Any]
    until: int = 0
