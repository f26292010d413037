"""The bodies of events about windows of budgets that lie ahead, and about what begins anew."""

from __future__ import annotations

from typing import Literal, NamedTuple

from aegis_core.store.records import Text


class BudgetAhead(NamedTuple):
    """A budget counts in a window that is still to come, because a clock was ahead. It begins anew at `ends` (ms)."""

    at: int
    owner: str
    agent: Text
    session: Text
    kind: str | int
    limit: int
    used: int
    spent: int
    ends: int


class BudgetReset(NamedTuple):
    """The present window of a budget began anew. `spent` and `held` are what they were; `until`: when it would have
    begun anew by itself (ms), where that lay ahead."""

    at: int
    owner: str
    agent: Text
    session: Text
    kind: str | int
    limit: int
    spent: int
    held: int
    until: int | Literal[False]
    author: str


class LossAccepted(NamedTuple):
    """Redis had lost the records of so many agents and shared budgets, or the `whole` tenant, which begin anew."""

    at: int
    agents_lost: int
    budgets_lost: int
    whole: bool
    author: str
